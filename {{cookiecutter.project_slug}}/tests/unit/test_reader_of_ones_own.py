"""A function of one's own reads a file: what it yields is conformed, and any fault of it is one refusal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Reader
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError
from lakehouse.loading.load import load

DEPOTS = DatasetFile("depots")


def whole(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """Two batches of one schema; the function seeks in the file, and reads all of it."""
    file.seek(-2, 2)
    assert file.read() == b"z\n"
    file.seek(0)
    numbers = pa.array([int(line.split()[0]) for line in file], pa.int32())
    yield pa.record_batch({"number": numbers[:1], "other": numbers[:1]})
    yield pa.record_batch({"number": numbers[1:], "other": numbers[1:]})


def fails(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"number": [1]})
    raise KeyError(file.readline().decode())


def changes(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"number": [len(file.read())]})
    yield pa.record_batch({"number": ["2"]})


def tables(file: BinaryIO) -> Iterator[Any]:
    yield pa.table({"number": [len(file.read())]})


def gap(file: BinaryIO) -> Iterator[Any]:
    """What a function yields that has forgotten to return a batch."""
    yield pa.record_batch({"number": [len(file.read())]})
    yield None
    yield pa.record_batch({"number": [2]})


def nothing(file: BinaryIO) -> list[pa.RecordBatch]:
    return [] if file.readable() else [pa.record_batch({"number": [1]})]


def forgets(file: BinaryIO) -> None:
    file.read()


def parses(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The error comes from another file."""
    yield pa.record_batch({"number": [json.loads(file.readline())]})


def closes_badly(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The load refuses the first batch, and ends the function."""
    try:
        yield pa.record_batch({"number": [float(len(file.read())) + 0.5]})
    finally:
        raise OSError("can't be closed")


def a_number(file: BinaryIO) -> int:
    return len(file.read())


def fractions(file: BinaryIO) -> list[pa.RecordBatch]:
    return [pa.record_batch({"number": [1.0, 2.5, float(len(file.read()))]})]


@pytest.fixture
def depots(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake in which a file of depots has landed."""
    module = ModuleType("readers")
    functions = (whole, fails, changes, tables, gap, nothing, a_number, forgets, parses, closes_badly, fractions)
    vars(module).update({f.__name__: f for f in functions})
    monkeypatch.setitem(sys.modules, "readers", module)
    (tmp_path / "depots.txt").write_bytes(b"1 x\n2 y\n3 z\n")
    declare(monkeypatch, "whole")
    lake.landing.put(DEPOTS, tmp_path / "depots.txt", "test")
    return lake


def declare(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    dataset = Dataset(
        name="depots",
        title="Depots",
        table="raw.depots",
        files="depots.txt",
        parts=Whole(),
        format=Reader(f"readers:{function}"),
        columns=(Column("number", "long", required_since=BEGINNING),),
    )
    monkeypatch.setitem(DATASETS, "depots", dataset)


def test_all_batches_are_loaded(depots: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, "whole")

    result = load(depots.catalog, depots.landing, DEPOTS)

    assert (result.rows, result.unknown_columns) == (3, ("other",))
    assert [row["number"] for row in depots.rows("select number from raw.depots order by file_row")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", r"the reader readers:fails failed in line \d+ of test_reader_of_ones_own.py: KeyError: '1 x"),
        (
            "changes",
            r"the reader readers:changes yields a batch of other columns: number \(string\); .* number \(int64\)",
        ),
        (
            "tables",
            r"the reader readers:tables yields a value of the type Table; .* write `yield from table.to_batches\(\)`",
        ),
        ("gap", r"the reader readers:gap yields a value of the type NoneType; expected a pyarrow.RecordBatch"),
        ("nothing", r"the reader readers:nothing yields nothing; expected at least one batch"),
        ("a_number", r"the reader readers:a_number returns a value of the type int; expected that it yields record"),
        ("forgets", r"the reader readers:forgets returns None; expected that it yields record batches"),
        (
            "parses",
            r"the reader readers:parses failed in line \d+ of test_reader_of_ones_own.py: JSONDecodeError: ",
        ),
        (
            "closes_badly",
            r"the column 'number' has 12.5 in row 0 \(counted from 0\); expected a whole number",  # the first of two
        ),
        ("missing", r"the reader readers:missing can't be called: there is no function missing in the module readers"),
        ("fractions", r"the column 'number' has 2.5 in row 1 \(counted from 0\); expected a whole number"),
    ],
)
def test_a_fault_of_the_function_is_one_refusal(
    depots: Lake, monkeypatch: pytest.MonkeyPatch, function: str, message: str
) -> None:
    declare(monkeypatch, function)

    with pytest.raises(RefusedError, match=rf"^depots\.txt: {message}") as refused:
        load(depots.catalog, depots.landing, DEPOTS)

    if function not in ("fractions", "closes_badly"):
        assert "Correct the function, or its name in `format` in the declaration" in str(refused.value)
        assert "the published file" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "error"), [("x = 1\ny = 1 / 0\n", "ZeroDivisionError"), ("x = 1\nx =\n", "SyntaxError")]
)
def test_a_module_that_fails_is_named_by_its_own_line(
    depots: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    name = f"broken_{error.lower()}"
    (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    declare(monkeypatch, "whole")
    monkeypatch.setitem(DATASETS, "depots", replace(DATASETS["depots"], format=Reader(f"{name}:rows")))

    with pytest.raises(RefusedError, match=rf"the reader {name}:rows failed in line 2 of {name}\.py: {error}: "):
        load(depots.catalog, depots.landing, DEPOTS)
