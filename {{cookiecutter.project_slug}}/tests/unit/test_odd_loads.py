"""Files with a few bytes changed, loaded: the rows that another reader finds, or a refusal that names the file.

A refusal leaves the table as it was.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tests.changed_bytes import ODD, ROWS, Rows, agree, changed, rows_of_csv, rows_of_json, workbook
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines, Parquet
from lakehouse.datasets.model import normalised
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError, SourceError
from lakehouse.formats.bundle import entry
from lakehouse.landing.land import land
from lakehouse.loading.load import load

FILES = int(os.environ.get("LAKEHOUSE_TEST_FLIPS", "8"))
FILE = DatasetFile("odd")
PLAIN = Csv()
FOREIGN = Csv(
    delimiter=";",
    quote="'",
    encoding="cp1252",
    junk_rows=2,
    decimal=",",
    thousands=".",
    times="%d.%m.%Y %H:%M:%S",
)


def as_csv(rows: Rows) -> bytes:
    """Rows with quotes and a blank line among them."""
    lines = ["id,at,price,note"]
    for row in rows:
        note = f'"{row["note"]}"' if row["id"] in (2, 5) else row["note"]
        lines.append(f"{row['id']},{row['at']},{row['price']},{note}")
    return "\n".join([*lines[:3], "", *lines[3:], ""]).encode()


def as_foreign_csv() -> bytes:
    """The same rows as another country writes them, below two lines of a title."""
    lines = ["Überblick", "für alle", "id;at;price;'note'"]
    for row in ROWS:
        price = f"{row['price']:.3f}".replace(".", ",")
        lines.append(f"{row['id']};{row['at']:%d.%m.%Y %H:%M:%S};{price};'{row['note']}'")
    return "\r\n".join(lines).encode("cp1252")


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("odd.csv", (2024, 1, 1, 0, 0, 0)), content)
    return out.getvalue()


def as_parquet(**options: Any) -> bytes:
    kinds: list[Any] = [pa.int64(), pa.timestamp("us"), pa.float64(), pa.string()]
    schema = pa.schema([pa.field(name, kind) for name, kind in zip(ROWS[0], kinds, strict=True)])
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS, schema), out, row_group_size=5, **options)
    return out.getvalue()


def as_bundle(second: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        for name, content in (("odd_a.csv", as_csv(ROWS[:2])), ("odd_b.csv", second)):
            bundle.writestr(entry(name, len(content)), content)
    return out.getvalue()


def rows_of_gzip(path: Path) -> Rows | None:
    try:
        return rows_of_csv(gzip.decompress(path.read_bytes()), PLAIN)
    except (OSError, EOFError, zlib.error):
        return None


def rows_of_zstd(path: Path) -> Rows | None:
    try:
        with zstandard.open(path, "rb") as file:
            return rows_of_csv(file.read(), PLAIN)
    except zstandard.ZstdError:
        return None


def rows_of_parquet(path: Path) -> Rows | None:
    """What DuckDB reads."""
    try:
        with duckdb.connect() as connection:
            found = connection.execute("select * from read_parquet(?)", [str(path)])
            names = [normalised(column[0]) for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    except duckdb.Error:
        return None


def rows_of_zip(path: Path) -> Rows | None:
    """What Python reads of all files in a zip file, in the order of their names."""
    rows: Rows = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                found = rows_of_csv(archive.read(name), PLAIN)
                if found is None:
                    return None
                rows += found
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError, zlib.error):
        return None
    return rows


def as_json_lines() -> bytes:
    return "".join(json.dumps(row, default=str) + "\n" for row in ROWS).encode()


def rows_of_json_lines(path: Path) -> Rows | None:
    try:
        return rows_of_json(path.read_bytes())
    except ValueError:
        return None


def rows_of_workbook(_: Path) -> Rows | None:
    """Each part of the file has a checksum, so what is read is what was written."""
    return ROWS


@dataclass(frozen=True)
class Kind:
    """Files of one kind: how they are declared, what is in one, and a reader that the project does not have.

    `wrapped` makes the file of what is in it: in half of the files the damage is within.
    """

    files: str
    declared: Format
    content: bytes
    rows_of: Callable[[Path], Rows | None]
    wrapped: Callable[[bytes], bytes] = bytes

    def changed(self, chance: random.Random) -> bytes:
        if chance.randrange(2):
            return self.wrapped(changed(self.content, chance))
        return changed(self.wrapped(self.content), chance)


def text_of(declared: Csv) -> Callable[[Path], Rows | None]:
    return lambda path: rows_of_csv(path.read_bytes(), declared)


TEXT = as_csv(ROWS)
KINDS = {
    "csv": Kind("odd.csv", PLAIN, TEXT, text_of(PLAIN)),
    "a foreign csv": Kind("odd.csv", FOREIGN, as_foreign_csv(), text_of(FOREIGN)),
    "gzip": Kind("odd.csv.gz", Csv(compression="gzip"), TEXT, rows_of_gzip, partial(gzip.compress, mtime=0)),
    "zip": Kind("odd.csv.zip", Csv(compression="zip"), TEXT, rows_of_zip, zipped),
    "zstd": Kind("odd.csv.zst", Csv(compression="zstd"), TEXT, rows_of_zstd, zstandard.compress),
    "parquet": Kind("odd.parquet", Parquet(), as_parquet(), rows_of_parquet),
    "parquet with checksums": Kind("odd.parquet", Parquet(), as_parquet(write_page_checksum=True), rows_of_parquet),
    "json lines": Kind("odd.jsonl", JsonLines(), as_json_lines(), rows_of_json_lines),
    "excel": Kind("odd.xlsx", Excel(), workbook(), rows_of_workbook),
    "a bundle": Kind("odd_*.csv", PLAIN, as_csv(ROWS[2:]), rows_of_zip, as_bundle),
}


class Loads:
    """Changed files of one kind, loaded one after the other into one table."""

    def __init__(self, lake: Lake, name: str) -> None:
        self.lake, self.name = lake, name
        self.refused = self.loaded = 0

    def load(self) -> Rows | None:
        """The rows that are loaded; None if the file is refused, by its name, and the table is as it was."""
        before = self._snapshot()
        try:
            load(self.lake.catalog, self.lake.landing, FILE, allow_shrink=True, again=True)
        except RefusedError as error:
            assert self.name in str(error)  # noqa: PT017 - one of many
            assert self._snapshot() == before
            self.refused += 1
            return None
        self.loaded += 1
        return self.lake.rows('select id, "at", price, note from raw.odd order by file_row')

    def _snapshot(self) -> int | None:
        if "raw.odd" not in self.lake.engine.tables():
            return None
        return self.lake.table("raw.odd").metadata.current_snapshot_id


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_loaded_exactly_or_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    chance = random.Random(8)  # noqa: S311 - places to damage
    case = KINDS[kind]
    dataset = replace(ODD, files=case.files, format=case.declared)
    monkeypatch.setitem(DATASETS, "odd", dataset)
    loads, path = Loads(lake, dataset.file_name(None)), tmp_path / "odd"

    for n in range(FILES + 1):
        path.write_bytes(content := case.changed(chance) if n else case.wrapped(case.content))
        lake.landing.put(FILE, path, "test")
        found, written = loads.load(), case.rows_of(path)
        if found is not None:
            assert agree(found, ROWS if written is None else written), (content, found, written)

    assert min(loads.loaded, loads.refused) > FILES // 50


def test_a_changed_file_of_several_is_loaded_exactly_or_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(9)  # noqa: S311 - places to damage
    dataset = replace(ODD, files="odd_*.csv", format=PLAIN)
    monkeypatch.setitem(DATASETS, "odd", dataset)
    loads = Loads(lake, dataset.file_name(None))
    (folder := tmp_path / "source").mkdir()
    (folder / "odd_a.csv").write_bytes(as_csv(ROWS))

    for _ in range(FILES):
        content = changed(as_csv(ROWS), chance)
        (folder / "odd_b.csv").write_bytes(content)
        try:
            land(lake.landing, str(folder), FILE, refresh=True)
        except SourceError as error:  # it does not even begin as such a file
            assert "odd_b.csv" in str(error)  # noqa: PT017 - one of many
            loads.refused += 1
            continue
        found, written = loads.load(), rows_of_csv(content, PLAIN)
        if found is not None:
            assert written is not None
            assert agree(found, ROWS + written), (content, found)

    assert min(loads.loaded, loads.refused) > FILES // 50
