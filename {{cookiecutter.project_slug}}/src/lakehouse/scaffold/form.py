"""How a sample is written: its format, and for text the encoding, the delimiter, the quote and the line of names.

A guess counts only when all samples have been read by it; see guess.py.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from openpyxl import load_workbook

from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines, Parquet
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.datasets.sources import Query
from lakehouse.errors import RefusedError
from lakehouse.formats.compression import compression_of, decompressed
from lakehouse.formats.excel import Header, damage, header_of
from lakehouse.formats.protocol import ContentError

HEAD = 256 << 10  # bytes that the delimiter is guessed from
LONG_HEAD = 32 << 20  # where a row is longer than that
csv.field_size_limit(LONG_HEAD)
BLOCK = 1 << 20
MOST_JUNK = 100  # lines before the line of names
MOST_FOOTER = 20  # rows below the table, blank ones among them
TOTAL = re.compile(
    r"(grand |sub-?)?(totals?|sum|sums|summe|gesamt|gesamtsumme|insgesamt|totale|somme|suma|soma|totaal|celkem|razem)"
    r"( (19|20)\d\d)?:?",
    re.IGNORECASE,
)
DELIMITERS = (",", ";", "\t", "|")
QUOTES = ('"', "'", "")
# What can't be read, by its first bytes.
_OTHERS = {
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls), or one with a password",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database",
    b"\x89PNG": "a picture",
}
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Bytes that Windows' code page leaves undefined.
_NOT_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_VALUE = re.compile(r"[+-]?[\d.,' ]*\d[\d.,' ]*[%€$£]?|\d{1,4}([-./])\d{1,2}\1\d{1,4}([ T].*)?|\d{1,2}:\d\d(:\d\d)?")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
# A character of two bytes or more, as UTF-8 has it and hardly any other encoding.
_OF_UTF8 = re.compile(rb"[\xc3-\xf4][\x80-\xbf]")
_YEAR = re.compile(r"(19|20)\d\d")


@dataclass(frozen=True)
class Form:
    """How one sample is written. `is_ascii`: its bytes say nothing of the encoding. `notes` are for the person."""

    format: Format
    is_ascii: bool = False
    notes: tuple[str, ...] = ()


def form_of(path: Path) -> Form:
    """Guess how a file is written; text is read whole for its encoding, in blocks.

    Raises:
        RefusedError: it is empty, of a format that is not read, or has no line of names.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise RefusedError(f"{path} is empty: 0 bytes. Give a sample that has rows.")
    if head[:4] == b"PAR1":
        if path.suffix.lower() != ".parquet":
            raise RefusedError(f"{path} is a parquet file, and its name does not end in .parquet. Rename it.")
        return Form(Parquet())
    for mark, what in _OTHERS.items():
        if head.startswith(mark):
            raise RefusedError(f"{path} is {what}, which is not read. Save it as CSV or xlsx, and give that file.")
    if head[:2] == b"PK" and _is_workbook(path):
        return _workbook(path)
    declared = Csv(compression=compression_of(head))
    try:
        return _text(path, declared)
    except ContentError as error:
        whole = zipfile.is_zipfile(path)  # but not of one file, or with a password
        fix = "Unpack it, and give one of its files." if whole else "Give a sample that is whole."
        raise RefusedError(f"{path} can't be read: {error}. {fix}") from error
    except (pa.ArrowException, OSError, EOFError) as error:
        raise RefusedError(f"{path} can't be read: {error}. Give a sample that is whole.") from error


def same_form(forms: dict[Path, Form]) -> Form:
    """The one form of all samples; pure ASCII goes with any encoding.

    Raises:
        RefusedError: two samples are written in different ways.
    """
    first = next((path for path, form in forms.items() if not form.is_ascii), next(iter(forms)))
    found = forms[first]
    for path, form in forms.items():
        written = form.format
        if form.is_ascii and isinstance(written, Csv | JsonLines) and isinstance(found.format, Csv | JsonLines):
            written = replace(written, encoding=found.format.encoding)
        if written != found.format:
            raise RefusedError(
                f"{first} and {path} are written in different ways: {as_declared(found.format)} and "
                f"{as_declared(written)}. A dataset has one "
                "form. Give samples of one form, or make two datasets."
            )
    return found


def as_declared(declared: Format | Monthly | Daily | Whole) -> str:
    """A format, or parts, as a declaration has it: `Csv(delimiter=";")`, `Whole()`."""
    return f"{type(declared).__name__}({', '.join(settings_of(declared))})"


def settings_of(declared: Format | Monthly | Daily | Whole | Query) -> list[str]:
    """What differs from the usual."""
    named = [(one.name, getattr(declared, one.name), one.default) for one in fields(declared)]
    return [f"{name}={literal(value)}" for name, value, usual in named if value != usual]


def literal(value: object) -> str:
    """A value as Python has it; text in the quotes that the formatter prefers."""
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    written = repr(value)
    return f'"{written[1:-1]}"' if written[0] == "'" and '"' not in written else written


def _text(path: Path, declared: Csv) -> Form:
    with _opened(path, declared) as source:
        head = source.read(HEAD)
    if not head:
        raise RefusedError(f"{path} is empty. Give a sample that has rows.")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"<":
        raise RefusedError(f"{path} is a web page or XML: it begins with {head[:40]!r}. Export the data as CSV.")
    if start[:1] == b"[":
        raise RefusedError(
            f"{path} is a JSON list: it begins with {head[:40]!r}. Write one object per line, without the list's "
            "brackets, and without commas between objects."
        )
    encoding, is_ascii, notes = _encoding(path, declared, head)
    if start[:1] == b"{":
        return Form(JsonLines(encoding=encoding, compression=declared.compression), is_ascii, notes)
    if len(head) == HEAD and head.count(b"\n") + head.count(b"\r") < 3:
        with _opened(path, declared) as source:
            head = source.read(LONG_HEAD)
    try:
        text = codecs.getincrementaldecoder(_reads(encoding))().decode(head)
    except UnicodeDecodeError as error:  # where a mark says the encoding, its bytes were not read before
        found = error.object[max(0, error.start - 15) : error.start + 15]
        raise RefusedError(
            f"{path} begins with the mark of {encoding}, and other bytes are not written in it: {found!r}. Save all of "
            "it as UTF-8, and give that file."
        ) from error
    table = _table(path, text, is_cut=len(head) in (HEAD, LONG_HEAD))
    if table.blank:
        blank = (
            f"Line {table.blank} is blank, and rows follow. Look whether another table begins there: its rows count."
        )
        notes = (*notes, blank)
    return Form(
        replace(declared, encoding=encoding, delimiter=table.delimiter, quote=table.quote, junk_rows=table.junk),
        is_ascii,
        notes,
    )


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "[Content_Types].xml" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def _workbook(path: Path) -> Form:
    """The first sheet that is not hidden, and its first row that has only names, as many as the widest rows have."""
    try:
        with damage(), closing(load_workbook(path, read_only=True, data_only=True)) as book:
            sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
            found = sheets[0].iter_rows(values_only=True) if sheets else iter(())
            head = [_filled(row) for row in islice(found, MOST_JUNK * 2)]
            tail = deque(enumerate(head, 1), MOST_FOOTER)
            tail.extend(enumerate(map(_filled, found), len(head) + 1))
            names = [sheet.title for sheet in sheets]
    except ContentError as error:
        raise RefusedError(f"{path}: {error}, and give that file.") from error
    most = max(map(len, head), default=0)
    header = next(
        (
            number
            for number, row in enumerate(head, 1)
            if row and len(row) * 2 > most and all(isinstance(cell, str) and not _is_value(cell) for cell in row)
        ),
        None,
    )
    if header is None:
        raise RefusedError(_no_header(path, names, most))
    others = ", ".join(map(repr, names[1:]))
    notes = [f"The sheet {names[0]!r} was taken. For another, declare sheet=…: {others}."] if others else []
    form = Excel(sheet=names[0] if others else "", header_row=header)
    lower = _row_of_names(path, form, names[0])
    if lower > header:
        notes.append(
            f"The names of columns stand in more than one row: in row {header}, a merged cell names several columns at "
            f"once. The lowest is taken, as its names differ: header_row={lower}."
        )
    footer = _footer([row for number, row in tail if number > lower], most)
    if footer:
        what = f"the last {len(footer)} rows are" if len(footer) > 1 else "the last row is"
        notes.append(
            f"It is a guess that {what} no row of the table: {footer[0]!r}. Every file loses as many rows; if others "
            "have none such, correct footer_rows."
        )
    return Form(replace(form, header_row=lower, footer_rows=len(footer)), notes=tuple(notes))


def _row_of_names(path: Path, declared: Excel, sheet: str) -> int:
    """The row of names. Where a merged cell names several columns, it is the row below, which has other names.

    Raises:
        RefusedError: the row below does not.
    """
    row = declared.header_row
    with pa.OSFile(str(path), "r") as source:
        try:
            upper = header_of(declared, source)
        except ContentError as error:
            raise RefusedError(f"{path}: {error}. Correct the names of the columns.") from error
        while upper.shared:
            try:
                lower = header_of(replace(declared, header_row=row + 1), source)
            except ContentError:  # a blank row, or one with an error in a cell
                lower = None
            if lower is None or not _completes(lower, upper):
                twice = ", ".join(dict.fromkeys(repr(upper.names[place]) for place in sorted(upper.shared)))
                raise RefusedError(
                    f"{path}: the names of the columns seem to stand in two rows of the sheet {sheet!r}. Row {row} has "
                    f"one name for several columns: {twice}. Row {row + 1} does not name each column. Write each name "
                    f"into row {row + 1}, or merge its cell down to there, and run the same command again. If it is "
                    f"the row of names, try header_row={row + 1} by hand, as docs/your-own-dataset.md says."
                )
            upper, row = lower, row + 1
    return row


def _completes(lower: Header, upper: Header) -> bool:
    """Whether a row has a name for each column of merged cells above it, and the names above it of other columns."""
    names = dict(enumerate(lower.names))
    return all(
        names.get(place, "") not in ("", name) and not _is_value(names[place])
        if place in upper.shared
        else not name or names.get(place) == name
        for place, name in enumerate(upper.names)
    )


def _no_header(path: Path, sheets: Sequence[str], most: int) -> str:
    """The message of a workbook whose first sheet that is not hidden has no row of names; `most`: cells of a row."""
    if not sheets:
        return f"{path} has only hidden sheets. Show the sheet that has the rows, and save the file."
    if not most:
        return (
            f"The sheet {sheets[0]!r} of {path} is empty. Give a sample that has rows, and make "
            "the sheet that has them the first one."
        )
    return (
        f"{path}: no row of the sheet {sheets[0]!r} has only texts as names of columns. Write the "
        "names, as text, into the row above the first row of values."
    )


def _filled(row: Iterable[Any]) -> list[Any]:
    return [cell for cell in row if cell is not None and cell != ""]


def _footer(rows: Sequence[list[Any]], most: int) -> list[str]:
    """How each of the last rows begins that are no rows of the table: totals, and notes below a total or a blank row.

    A row that is wrongly taken for one would be lost, so a total has the word for it, and fewer cells than others.
    """
    found: list[str] = []
    notes: list[str] = []
    for row in reversed(rows):
        if not row or (TOTAL.fullmatch(str(row[0]).strip()) and len(row) < most):
            found = [*map(str, row[:1]), *notes, *found]
            notes = []
        elif len(row) == 1 and isinstance(row[0], str) and most > 2:
            notes.insert(0, row[0])
        else:
            break
    return found


def _opened(path: Path, declared: Csv) -> Any:
    return decompressed(pa.OSFile(str(path), "r"), declared.compression)


def _reads(encoding: str) -> str:
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _encoding(path: Path, declared: Csv, head: bytes) -> tuple[str, bool, tuple[str, ...]]:
    """The encoding, whether the bytes are ASCII only, and what to tell the person."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name, False, ()
    if (zeros := head[:4000].count(0)) > 0:
        even = head[:4000:2].count(0)
        if zeros < len(head[:4000]) // 4:
            raise RefusedError(f"{path} has a zero byte, so it is no text. Save it as UTF-8, or give another file.")
        name = "utf-16-be" if even > zeros // 2 else "utf-16-le"
        return name, False, (f"The encoding {name} is a guess: each second byte is zero.",)
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_ascii, is_utf8, is_windows, example = True, True, True, b""
    like_utf8 = b""
    for block in _blocks(path, declared):
        if 0 in block:
            raise RefusedError(f"{path} has a zero byte, so it is no text. Save it as UTF-8, or give another file.")
        is_ascii = is_ascii and block.isascii()
        if not like_utf8 and (found := _OF_UTF8.search(block)):
            like_utf8 = block[max(0, found.start() - 15) : found.end()]
        is_windows = is_windows and not _NOT_IN_CP1252.search(block)
        if is_utf8:
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                is_utf8 = False
                # of the block, or of it with the beginning of a character that the last block ended with
                example = error.object[max(0, error.start - 15) : error.start + 15]
    if is_utf8:
        return "utf-8", is_ascii, ()
    name = "cp1252" if is_windows else "latin-1"
    meant = _word(example, name)
    note = f"The bytes are no UTF-8. The encoding {name} is a guess: look whether {meant!r} is what was meant."
    if like_utf8:
        note += (
            f" Other bytes are as in UTF-8, and become {_word(like_utf8, name)!r}. If the file has two encodings, save "
            "it in one."
        )
    return name, False, (note,)


def _word(text: bytes, encoding: str) -> str:
    """The first word that is not ASCII."""
    words = re.split(r"[\s;,|\"]+", text.decode(encoding, errors="replace"))
    return next((word for word in words if not word.isascii()), "")


def _blocks(path: Path, declared: Csv) -> Iterator[bytes]:
    with _opened(path, declared) as source:
        while block := source.read(BLOCK):
            yield bytes(block)


@dataclass(frozen=True)
class _Table:
    """The text as rows, by one delimiter and quote. `rank`: the better, the greater."""

    delimiter: str
    quote: str
    junk: int
    names: list[str]
    before: list[str]
    rank: tuple[float, ...]
    blank: int = 0  # a blank line between rows, from 1


def _table(path: Path, text: str, *, is_cut: bool) -> _Table:
    """The delimiter and quote by which the text is a line of names, and then rows of as many values.

    Raises:
        RefusedError: there is no line of names, or nothing after it.
    """
    found = [
        table
        for order, (quote, delimiter) in enumerate((q, d) for q in QUOTES for d in DELIMITERS)
        if (table := _read(text, delimiter, quote, order, is_cut=is_cut))
    ]
    best = max(found, key=lambda table: table.rank) if found else _single_column(path, text, is_cut=is_cut)
    without_names = any(map(_is_value, best.names))
    if without_names and best.before and len(best.before) == len(best.names) - 1:
        raise RefusedError(
            f"{path} has {len(best.before)} names in line {best.junk}, but {len(best.names)} values in the lines below "
            f"it, such as {best.delimiter.join(best.names)[:80]!r}. Nothing was written. If each of these lines ends "
            f"with {best.delimiter!r} and nothing after it, add a {best.delimiter!r} at the end of the line of names. "
            "If not, a name is missing there: add it."
        )
    if without_names:
        shown = best.delimiter.join(best.names)[:80]
        raise RefusedError(
            f"{path} has no line of names: line {best.junk + 1} is {shown!r}, which looks like values. Write the names "
            "of the columns into a line above the first row."
        )
    return best


def _rows(text: str, delimiter: str, quote: str, *, is_cut: bool) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """The rows that are not blank, each with the number of lines before it; of a text that is cut, not the last."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    rows, before = [], 0
    try:
        for row in reader:
            if any(row) or len(row) > 1:
                rows.append((before, row))
            before = reader.line_num
    except csv.Error:
        return [], []
    if is_cut:
        rows = rows[:-1]
    return rows, [value for _, row in rows[1:] for value in row]


def _read(text: str, delimiter: str, quote: str, order: int, *, is_cut: bool) -> _Table | None:
    """The text by one delimiter and quote; None if that makes no table of two or more columns of it."""
    rows, values = _rows(text, delimiter, quote, is_cut=is_cut)
    widths = Counter(len(row) for _, row in rows)
    width = max((w for w in widths if w > 1), key=lambda w: (widths[w], w), default=0)
    start = _first_row(rows, width) if width else None
    if start is None or (start and _is_punctuation(delimiter, text)):
        return None
    junk, names = rows[start]
    later = [row for _, row in rows[start + 1 :]]
    even = sum(len(row) == width for row in later) / len(later) if later else 0.0
    if even < 0.5:
        return None
    # 'a';'b' read without quotes has the same widths, and so has a text without any quotes
    quoted = sum(len(v) > 1 and v[0] == v[-1] and v[0] in "'\"" for v in values) / max(1, len(values))
    named = not any(map(_is_value, names))
    before = rows[start - 1][1] if start else []
    return _Table(
        delimiter,
        quote,
        junk,
        names,
        before,
        (round(even, 2), named, -min(start, 1), quoted < 0.5, width, -order),
        _blank_line(rows[start:]),
    )


def _blank_line(rows: list[tuple[int, list[str]]]) -> int:
    """The number of a blank line between rows, from 1; 0 if there is none."""
    for (before, row), (next_before, _) in pairwise(rows):
        lines = 1 + sum(len(_LINE_ENDS.findall(value)) for value in row)
        if next_before > before + lines:
            return before + lines + 1
    return 0


def _first_row(rows: list[tuple[int, list[str]]], width: int) -> int | None:
    """The row that holds the names: the first of this width that is not mostly blank, as titles of a sheet are."""
    places = [place for place, (_, row) in enumerate(rows[:MOST_JUNK]) if len(row) == width]
    full = [place for place in places if sum(not value.strip() for value in rows[place][1]) * 2 < width]
    if full and not any(map(_is_value, rows[full[0]][1])):
        return full[0]
    return places[0] if places else None


def _is_punctuation(delimiter: str, text: str) -> bool:
    """Whether a blank follows each of these signs, as in sentences."""
    return delimiter in ",;" and not re.search(rf"{delimiter}(?! )", text)


def _single_column(path: Path, text: str, *, is_cut: bool) -> _Table:
    """A text of one column: by a delimiter that it does not hold."""
    delimiter = next((sign for sign in (*DELIMITERS, "\x1f") if sign not in text), None)
    if delimiter is None:
        raise RefusedError(
            f"{path}: no table was found in it. None of the delimiters {', '.join(map(repr, DELIMITERS))} gives each "
            "row as many values as one line has names. Declare it by hand, as docs/your-own-dataset.md says."
        )
    rows, _ = _rows(text, delimiter, '"', is_cut=is_cut)
    if not rows:
        raise RefusedError(f"{path} is blank. Give a sample that has rows.")
    return _Table(delimiter, '"', rows[0][0], rows[0][1], [], ())


def _is_value(name: str) -> bool:
    """Whether a name of a column is a number, a date or a time; a year may be a name."""
    return bool(_VALUE.fullmatch(name.strip())) and not _YEAR.fullmatch(name.strip())
