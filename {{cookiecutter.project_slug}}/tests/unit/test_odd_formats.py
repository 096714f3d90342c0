"""Files with a few bytes changed: the rows that an independent reading finds, or a refusal that names the file."""

from __future__ import annotations

import io
import json
import os
import random
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import pyarrow as pa
import pytest
from tests.changed_bytes import ODD, ROWS, Rows, agree, changed, rows_of_json, workbook
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Excel, Format, JsonLines, Reader
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError
from lakehouse.formats import open_reader
from lakehouse.formats.protocol import ContentError
from lakehouse.loading.conform import Conformer, plan
from lakehouse.loading.load import load

FILES = int(os.environ.get("LAKEHOUSE_TEST_FLIPS", "60"))


def read(content: bytes, declared: Format) -> Rows | None:
    """The rows as the loader conforms them; None where it refuses the file."""
    try:
        with pa.BufferReader(content) as source:
            reader = open_reader(declared, source)
            match = plan(replace(ODD, format=declared), None, reader.schema, "odd.file")
            conformer = Conformer(replace(ODD, format=declared), None, match, "odd.file", reader.place)
            names = [name for name in match.sources.values() if name is not None]
            found: Rows = []
            for batch in reader.batches(names):
                columns = conformer.conform(batch)
                found += pa.table(columns, names=[column.name for column in ODD.columns]).to_pylist()
            conformer.finish()
    except (ContentError, RefusedError) as error:
        assert isinstance(error, ContentError) or str(error).startswith("odd.file: ")  # noqa: PT017 - one of many
        return None
    return found


def test_changed_json_lines_are_read_exactly_or_refused() -> None:
    chance = random.Random(4)  # noqa: S311 - places to damage
    whole = "".join(json.dumps(row, default=str) + "\n" for row in ROWS).encode()
    assert read(whole, JsonLines()) == ROWS
    outcomes = {True: 0, False: 0}

    for _ in range(FILES):
        content = changed(whole, chance)
        found = read(content, JsonLines())
        outcomes[found is None] += 1
        if found is not None:
            written = rows_of_json(content)
            assert agree(found, written), (content, found)

    assert min(outcomes.values()) > FILES // 20, outcomes


def numbers(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """A reader of one's own: a number a line."""
    for line in file:
        yield pa.record_batch({"id": [int(line)]})


def test_a_changed_file_of_ones_own_reader_is_read_exactly_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)  # noqa: S311 - places to damage
    module = ModuleType("readers")
    monkeypatch.setitem(vars(module), "numbers", numbers)
    monkeypatch.setitem(sys.modules, "readers", module)
    whole = b"".join(b"%d\n" % row["id"] for row in ROWS)
    outcomes = {True: 0, False: 0}

    for _ in range(FILES):
        content = changed(whole, chance)
        found = read(content, Reader("readers:numbers"))
        outcomes[found is None] += 1
        if found is not None:
            assert [row["id"] for row in found] == [int(line) for line in io.BytesIO(content)]

    assert min(outcomes.values()) > FILES // 20, outcomes


def test_a_changed_excel_file_is_read_exactly_or_refused() -> None:
    chance = random.Random(5)  # noqa: S311 - places to damage
    whole = workbook()
    assert read(whole, Excel()) == ROWS

    refused = 0
    for _ in range(FILES):
        # Each part of the file has a checksum, so what is read is what was written.
        found = read(changed(whole, chance), Excel())
        assert found in (None, ROWS)
        refused += found is None

    assert refused > FILES // 2


def test_a_changed_cell_of_an_excel_file_is_read_exactly_or_refused() -> None:
    chance = random.Random(6)  # noqa: S311 - values to write
    texts = ["1", "0.1", "1e400", "-7", "", "x", "9007199254740994", "2.50", "1E2", " 3", "45000.25", "nan", "#N/A"]
    with zipfile.ZipFile(io.BytesIO(workbook())) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (sheet,) = (name for name in parts if name.endswith("sheet1.xml"))

    for _ in range(FILES):
        row, text, kind = chance.randrange(8), chance.choice(texts), chance.choice(["n", "str", "e", "b", "d"])
        cell = rf'<c r="C{row + 2}"( t="n")?><v>[^<]*</v></c>'.encode()
        edited, count = re.subn(cell, f'<c r="C{row + 2}" t="{kind}"><v>{text}</v></c>'.encode(), parts[sheet])
        assert count == 1
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, edited if name == sheet else part)
        found = read(out.getvalue(), Excel())
        if found is not None:
            price = None if text in {"", "nan"} else float(text)
            assert found == [{**r, "price": price} if n == row else r for n, r in enumerate(ROWS)], (text, kind)


@pytest.mark.parametrize(("declared", "content"), [(JsonLines(), b'{"id": 1'), (Excel(), workbook()[:-9])])
def test_the_refusal_names_the_file(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: Format, content: bytes
) -> None:
    monkeypatch.setitem(DATASETS, "odd", replace(ODD, format=declared))
    (tmp_path / "odd.xlsx").write_bytes(content)
    lake.landing.put(DatasetFile("odd"), tmp_path / "odd.xlsx", "test")

    with pytest.raises(RefusedError, match=r"^odd\.xlsx: "):
        load(lake.catalog, lake.landing, DatasetFile("odd"))
