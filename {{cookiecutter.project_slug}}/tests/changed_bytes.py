"""Files with a few bytes changed: the rows they are made from, the damage, and what Python itself reads in them."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from openpyxl import Workbook

from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import Column, Dataset, normalised
from lakehouse.datasets.parts import Whole

Rows = list[dict[str, Any]]
ODD = Dataset(
    name="odd",
    title="Odd",
    table="raw.odd",
    files="odd.xlsx",
    parts=Whole(),
    columns=(
        Column("id", "long"),
        Column("at", "timestamp"),
        Column("price", "double"),
        Column("note", "string"),
    ),
)
ROWS: Rows = [
    {"id": n, "at": datetime.fromisoformat(f"2024-01-{n:02} 10:00:00"), "price": n / 8, "note": f"note {n}"}
    for n in range(1, 9)
]
SIGNS = b'0123456789eE.-+"{}[],: \n\\tnfaN'
PIECES = (b"null", b"1e400", b'"', b"\xff", b"NaN", b"{}", b",", b"9" * 20)


def changed(content: bytes, chance: random.Random) -> bytes:
    """A few bytes replaced, removed, added or doubled, or the end cut off."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randrange(len(found))
        match chance.randrange(6):
            case 0:
                found[place] ^= 1 << chance.randrange(8)
            case 1:
                found[place : place + 1] = chance.choice(SIGNS).to_bytes()
            case 2:
                del found[place : place + chance.randrange(1, 4)]
            case 3:
                found[place:place] = chance.choice(PIECES)
            case 4:
                found[place:place] = found[max(0, place - 30) : place]
            case _:
                del found[place:]
        if not found:
            break
    return bytes(found)


def rows_of_csv(content: bytes, declared: Csv) -> Rows | None:
    """What Python's own module reads, with numbers in their usual spelling; None if these are no even rows."""
    try:
        text = content.decode("utf-8-sig" if declared.encoding == "utf-8" else declared.encoding)
        for _ in range(declared.junk_rows):
            text = re.split(r"\r\n|\r|\n", text, maxsplit=1)[1]
        found = csv.reader(
            io.StringIO(text, newline=""), delimiter=declared.delimiter, quotechar=declared.quote, strict=True
        )
        names, *rows = [row for row in found if row]
    except (csv.Error, IndexError, UnicodeError, ValueError):
        return None
    if any(len(row) != len(names) for row in rows):
        return None
    written = [dict(zip(map(normalised, names), row, strict=True)) for row in rows]
    for row in written:
        try:
            for name in row.keys() & {"id", "price"}:
                row[name] = _usual(row[name], declared)
            if declared.times and row.get("at", "").strip():
                row["at"] = str(datetime.strptime(row["at"].strip(), declared.times))  # noqa: DTZ007 - local times
        except ValueError:
            return None
    return written


def _usual(number: str, declared: Csv) -> str:
    """A number with a point, and no sign between thousands.

    Raises:
        ValueError: the sign is in another place.
    """
    if declared.thousands and declared.thousands in number:
        whole = re.split(re.escape(declared.decimal), number)[0].strip()
        if not re.fullmatch(rf"[+-]?\d{{1,3}}({re.escape(declared.thousands)}\d{{3}})+", whole):
            raise ValueError(number)
    return number.replace(declared.thousands, "").replace(declared.decimal, ".")


def agrees(column: str, found: Any, written: Any) -> bool:
    """Whether a loaded value is the written one."""
    if isinstance(written, str) and column != "note":
        written = written.strip() or None
    if found is None or written is None:
        return found is written or (found is None and str(written).lower().strip("+-") == "nan")
    match column:
        case "id":
            return Decimal(found) == Decimal(written)
        case "price":
            return bool(found == float(written))
        case "at":
            return bool(found == (datetime.fromisoformat(written) if isinstance(written, str) else written))
        case _:
            return isinstance(written, str | Decimal | bool) and (not isinstance(written, str) or found == written)


def agree(found: Rows, written: Rows) -> bool:
    """Whether all loaded rows are the written ones. What a file does not have is null."""
    return len(found) == len(written) and all(
        agrees(name, value, row.get(name))
        for loaded, row in zip(found, written, strict=True)
        for name, value in loaded.items()
    )


def rows_of_json(content: bytes) -> Rows:
    """What Python reads, with numbers as decimals."""

    def number(text: str) -> Decimal:
        return Decimal(text)

    rows: Rows = []
    for line in content.split(b"\n"):
        if line.strip():
            row = json.loads(line, parse_float=number, parse_int=number)
            rows.append({normalised(name): value for name, value in row.items()})
    return rows


def workbook() -> bytes:
    """The rows as an Excel file."""
    book, out = Workbook(), io.BytesIO()
    sheet = book.worksheets[0]
    sheet.append(list(ROWS[0]))
    for row in ROWS:
        sheet.append(list(row.values()))
    book.save(out)
    return out.getvalue()
