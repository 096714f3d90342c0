"""Tables with a key: a file's rows are merged in one snapshot, and what did not change is not written again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lake import Lake
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Parquet
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import CommitError, RefusedError
from lakehouse.history.diff import diff
from lakehouse.iceberg.merge import Merged
from lakehouse.loading import file_rows
from lakehouse.loading import load as loading
from lakehouse.loading.file_rows import FileRows
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

TABLE = "raw.customers"
FILE = DatasetFile("customers")
CUSTOMERS = Dataset(
    name="customers",
    title="Customers",
    table=TABLE,
    files="customers.csv",
    parts=Whole(complete=False),
    format=Csv(),
    key=("id",),
    columns=(
        Column("id", "long", required_since=BEGINNING),
        Column("name", "string"),
        Column("changed", "timestamp"),
    ),
)


@pytest.fixture
def customers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "customers", CUSTOMERS)


def landed(lake: Lake, *rows: str) -> None:
    lake.scratch.mkdir(parents=True, exist_ok=True)
    file = lake.scratch / "customers.csv"
    file.write_text("\n".join(("id,name,changed", *rows)) + "\n", "utf-8")
    lake.landing.put(FILE, file, "test")


def merged(lake: Lake, *rows: str, **options: Any) -> LoadResult:
    landed(lake, *rows)
    return load(lake.catalog, lake.landing, FILE, **options)


def names(lake: Lake, as_of: str | None = None) -> dict[int, str]:
    return {row["id"]: row["name"] for row in lake.rows(f"select id, name from {TABLE}", as_of)}


def data_files(lake: Lake) -> set[str]:
    return {task.file.file_path for task in lake.table(TABLE).scan().plan_files()}


@pytest.mark.usefixtures("customers")
def test_a_file_of_changes_adds_and_replaces_rows_and_removes_none(lake: Lake) -> None:
    merged(lake, "1,Ann,", "2,Bob,", "3,Cy,")

    result = merged(lake, "2,Bobby,", "3,Cy,", "4,Di,")

    assert result.merged == Merged(inserted=1, updated=1, unchanged=1, removed=0)
    assert result.counts == "3 rows (1 inserted, 1 updated, 1 unchanged, 0 removed)"
    assert names(lake) == {1: "Ann", 2: "Bobby", 3: "Cy", 4: "Di"}
    first, second = lake.history(TABLE)
    assert names(lake, f"{TABLE}@{first.snapshot_id}") == {1: "Ann", 2: "Bob", 3: "Cy"}
    assert (second.inserted, second.updated, second.unchanged, second.removed) == (1, 1, 1, 0)
    found = diff(lake.engine, lake.catalog, TABLE, str(first.snapshot_id), str(second.snapshot_id))
    assert found.changed_rows == ({"id": 2, "name": ["Bob", "Bobby"]},)


def test_a_complete_file_removes_what_it_lacks(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "customers", replace(CUSTOMERS, parts=Whole()))
    merged(lake, "1,Ann,", "2,Bob,", "3,Cy,")

    result = merged(lake, "1,Ann,", "3,Cyd,")

    assert result.merged == Merged(inserted=0, updated=1, unchanged=1, removed=1)
    assert names(lake) == {1: "Ann", 3: "Cyd"}
    with pytest.raises(RefusedError, match=r"customers\.csv has 0 rows, fewer than 50% of the 2"):
        merged(lake)
    assert merged(lake, allow_shrink=True).merged == Merged(inserted=0, updated=0, unchanged=0, removed=2)
    assert names(lake) == {}


@pytest.mark.usefixtures("customers")
def test_a_data_file_without_a_changed_row_is_not_written_again(lake: Lake) -> None:
    merged(lake, "1,Ann,", "2,Bob,")
    (first,) = data_files(lake)
    merged(lake, "3,Cy,")
    (second,) = data_files(lake) - {first}

    merged(lake, "3,Cyd,", "1,Ann,")

    assert first in data_files(lake)
    assert second not in data_files(lake)
    assert lake.history(TABLE)[-1].added_rows == 1


@pytest.mark.usefixtures("customers")
def test_the_same_rows_in_other_bytes_write_no_data_and_are_noted(lake: Lake) -> None:
    merged(lake, "1,Ann,", "2,Bob,")
    files = data_files(lake)

    result = merged(lake, "2,Bob,", "1,Ann,")
    repeated = load(lake.catalog, lake.landing, FILE)

    assert (result.action, result.merged) == ("loaded", Merged(inserted=0, updated=0, unchanged=2, removed=0))
    assert data_files(lake) == files
    assert lake.history(TABLE)[-1].source_sha256 == result.source_sha256
    assert (repeated.action, repeated.merged) == ("unchanged", None)


@pytest.mark.usefixtures("customers")
def test_a_file_of_changes_may_have_no_rows(lake: Lake) -> None:
    merged(lake, "1,Ann,")

    result = merged(lake)

    assert result.merged == Merged(inserted=0, updated=0, unchanged=0, removed=0)
    assert names(lake) == {1: "Ann"}


@pytest.mark.usefixtures("customers")
def test_a_key_that_stands_twice_is_refused(lake: Lake) -> None:
    with pytest.raises(RefusedError, match=r"customers\.csv: more than one row has 'id' = 1, .* needs an `order`"):
        merged(lake, "1,Ann,", "1,Ann,")

    assert lake.history(TABLE) == []


def test_of_rows_with_one_key_the_last_in_the_declared_order_counts(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "customers", replace(CUSTOMERS, order="changed"))

    result = merged(lake, "1,Ann,2024-01-02 00:00:00", "1,Anna,2024-01-03 00:00:00", "1,A,", "2,Bob,")

    assert result.merged == Merged(inserted=2, updated=0, unchanged=0, removed=0, outdated=2)
    assert result.counts.endswith("0 removed, 2 outdated)")
    assert names(lake) == {1: "Anna", 2: "Bob"}
    with pytest.raises(RefusedError, match="'id' = 1, which is the table's key, and the same greatest 'changed'"):
        merged(lake, "1,Ann,2024-01-02 00:00:00", "1,Anna,2024-01-02 00:00:00")


@pytest.mark.usefixtures("customers")
def test_a_merge_begins_again_where_others_changed_the_table(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    merged(lake, "1,Ann,")
    compare = FileRows.compare
    others: Iterator[int] = iter([1])

    def compare_then_others(self: FileRows, *args: Any, **options: Any) -> Any:
        found = compare(self, *args, **options)
        if next(others, None):
            with lake.table(TABLE).transaction() as transaction:
                transaction.delete("id = 1")
        return found

    monkeypatch.setattr(FileRows, "compare", compare_then_others)

    result = merged(lake, "1,Ann,", "2,Bob,")

    assert result.merged == Merged(inserted=2, updated=0, unchanged=0, removed=0)
    assert names(lake) == {1: "Ann", 2: "Bob"}


@pytest.mark.usefixtures("customers")
def test_a_table_that_others_never_leave_alone_is_named(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    merged(lake, "1,Ann,")
    compare = FileRows.compare

    def compare_then_others(self: FileRows, *args: Any, **options: Any) -> Any:
        found = compare(self, *args, **options)
        table = lake.table(TABLE)
        table.append(table.scan().to_arrow().slice(0, 0))
        return found

    monkeypatch.setattr(FileRows, "compare", compare_then_others)
    monkeypatch.setattr(loading, "ATTEMPTS", 2)

    with pytest.raises(CommitError, match="customers could not be merged, because others changed the table"):
        merged(lake, "2,Bob,")

    assert names(lake) == {1: "Ann"}


@pytest.mark.usefixtures("customers")
def test_a_table_that_has_a_key_twice_is_named_and_mended_by_again(lake: Lake) -> None:
    merged(lake, "1,Ann,", "2,Bob,")
    table = lake.table(TABLE)
    table.append(table.scan("id = 1").to_arrow())

    with pytest.raises(RefusedError, match=r"raw\.customers has two rows with the same id.*--again"):
        merged(lake, "1,Anna,")

    load(lake.catalog, lake.landing, FILE, again=True)
    assert sorted(row["name"] for row in lake.rows(f"select name from {TABLE}")) == ["Anna", "Bob"]


@pytest.mark.usefixtures("customers")
def test_a_disk_that_does_not_hold_the_rows_is_an_error_in_words(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    def full(*_: Any, **__: Any) -> None:
        raise duckdb.IOException("No space left on device\nand more")

    monkeypatch.setattr(FileRows, "compare", full)

    with pytest.raises(CommitError, match=r"raw\.customers: No space left on device\. .* disk of .*/tmp has room\."):
        merged(lake, "1,Ann,")

    assert list((lake.settings.home / "tmp").iterdir()) == []


@pytest.mark.usefixtures("customers")
def test_a_database_that_memory_does_not_hold_is_an_error_in_words(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_rows, "MEMORY", "1KB")

    with pytest.raises(CommitError, match=r"could not be compared .* DuckDB may use 1KB of memory here\."):
        merged(lake, "1,Ann,")


def test_a_file_without_the_column_of_the_key_names_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (replace(CUSTOMERS.columns[0], required_since=None), *CUSTOMERS.columns[1:])
    monkeypatch.setitem(DATASETS, "customers", replace(CUSTOMERS, columns=columns))
    path = lake.scratch / "customers.csv"
    lake.scratch.mkdir(parents=True, exist_ok=True)
    path.write_text("name\nAnn\n", encoding="utf-8")
    lake.landing.put(FILE, path, "test")

    with pytest.raises(RefusedError, match=r"customers\.csv has no column 'id', which belongs to the table's key\. "):
        load(lake.catalog, lake.landing, FILE)


@pytest.mark.usefixtures("customers")
@pytest.mark.parametrize("complete", [True, False])
def test_only_a_file_of_all_rows_may_do_without_a_key(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, *, complete: bool
) -> None:
    declared = replace(DATASETS["customers"], order=None, parts=Whole(complete=complete))
    monkeypatch.setitem(DATASETS, "customers", declared)

    with pytest.raises(RefusedError, match="needs an `order` in its declaration") as refused:
        merged(lake, "1,Ann,", "1,Bob,")

    assert ("declare no key" in str(refused.value)) == complete


@pytest.mark.usefixtures("customers")
def test_what_a_merge_did_is_told_everywhere(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lake.settings.home))
    monkeypatch.setenv("LAKEHOUSE_TARGET", "embedded")
    merged(lake, "1,Ann,", "2,Bob,")
    landed(lake, "1,Anna,", "3,Cy,")

    loaded = json.loads(CliRunner().invoke(app, ["load", "customers", "--json"]).stdout)
    history = json.loads(CliRunner().invoke(app, ["history", TABLE, "--json"]).stdout)
    shown = CliRunner().invoke(app, ["history", TABLE]).stdout

    counts = {"inserted": 1, "updated": 1, "unchanged": 0, "removed": 0}
    assert counts.items() <= loaded[0].items()
    assert counts.items() <= history[1].items()
    assert "inserted" in shown
    assert "deleted" not in shown


def test_a_wide_key_of_several_types_and_odd_names_merges(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (
        Column('odd "name"', "string", required_since=BEGINNING),
        Column("at", "timestamp", required_since=BEGINNING),
        Column("select", "double"),
    )
    monkeypatch.setitem(DATASETS, "customers", replace(CUSTOMERS, columns=columns, key=('odd "name"', "at")))
    lake.scratch.mkdir(parents=True, exist_ok=True)

    def file(*rows: str) -> Path:
        path = lake.scratch / "customers.csv"
        path.write_text("\n".join(('"odd ""name""",at,select', *rows)) + "\n", "utf-8")
        return path

    lake.landing.put(FILE, file("x,2024-01-01 00:00:00,1.5", "x,2024-01-02 00:00:00,"), "test")
    load(lake.catalog, lake.landing, FILE)
    lake.landing.put(FILE, file("x,2024-01-02 00:00:00,0.1", "X,2024-01-02 00:00:00,-0.0"), "test")
    result = load(lake.catalog, lake.landing, FILE)

    assert result.merged == Merged(inserted=1, updated=1, unchanged=0, removed=0)


def test_values_of_every_type_are_compared_and_kept_exactly(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: dict[str, tuple[Any, str, list[Any]]] = {
        "paid": (pa.bool_(), "boolean", [True, False, None]),
        "due": (pa.date32(), "date", [date(1, 1, 1), date(9999, 12, 31), None]),
        "price": (pa.decimal128(38, 9), "decimal(38,9)", [Decimal("12345678901234567890123456789.123456789"), 0, None]),
        "at": (
            pa.timestamp("us"),
            "timestamp",
            [*map(datetime.fromisoformat, ("0001-01-01", "9999-12-31T23:59")), None],
        ),
        "moment": (pa.timestamp("us", tz="UTC"), "timestamptz", [datetime(2024, 1, 1, 0, 0, 0, 1, UTC), None, None]),
        "photo": (pa.binary(), "binary", [b"\x00\xff", b"", None]),
        "share": (pa.float64(), "double", [0.1, -1.5e-300, None]),
    }
    columns = (Column("id", "long", required_since=BEGINNING), *(Column(name, kind[1]) for name, kind in kinds.items()))
    declared = replace(CUSTOMERS, files="customers.parquet", format=Parquet(), columns=columns)
    monkeypatch.setitem(DATASETS, "customers", declared)
    rows = pa.table({"id": [1, 2, 3], **{name: pa.array(values, kind) for name, (kind, _, values) in kinds.items()}})

    def load_rows(table: pa.Table) -> LoadResult:
        lake.scratch.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, lake.scratch / "customers.parquet")
        lake.landing.put(FILE, lake.scratch / "customers.parquet", "test")
        return load(lake.catalog, lake.landing, FILE)

    load_rows(rows)
    same = load_rows(rows.take([2, 0, 1]))
    for name, (kind, _, values) in kinds.items():  # each alone makes a row another one
        other = pa.array([values[2], *values[1:]], kind)
        changed = load_rows(rows.set_column(rows.column_names.index(name), name, other))
        assert changed.merged == Merged(inserted=0, updated=1, unchanged=2, removed=0), name
        assert load_rows(rows.slice(0, 1)).merged == Merged(inserted=0, updated=1, unchanged=0, removed=0)

    assert same.merged == Merged(inserted=0, updated=0, unchanged=3, removed=0)
    held = lake.table(TABLE).scan().to_arrow().sort_by("id").select(rows.column_names)
    assert held.to_pylist() == rows.to_pylist()
