"""`lakehouse.write` and `lakehouse.read`: data frames in and out, whole or by partition, each write one commit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.exceptions import BadRequestError, NoSuchTableError
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import MonthTransform
from pyiceberg.types import LongType, NestedField
from tests.lake import Lake

import lakehouse
from lakehouse.datasets.days import Day
from lakehouse.datasets.months import Month
from lakehouse.errors import BoundaryError, CommitError, QueryError, RefusedError, ServiceError, SettingsError
from lakehouse.frames import writing
from lakehouse.frames.columns import fields_of
from lakehouse.frames.partitions import spec_for
from lakehouse.frames.reading import Selection
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.publication import BRANCH

TABLE = "features.hourly"
ROWS: dict[str, list[Any]] = {"id": [1, 2], "name": ["a", None]}
NOON = datetime.fromisoformat("2024-01-05T12:00")
JANUARY, FEBRUARY = Month(2024, 1), Month(2024, 2)


def rows(table: str = TABLE, **options: Any) -> list[dict[str, Any]]:
    """What a reader sees, sorted."""
    found = lakehouse.read(table, **options).to_pylist()
    return sorted(found, key=lambda row: str(row.get("id", row)))


def stream(*batches: dict[str, list[Any]], error: Exception | None = None) -> pa.RecordBatchReader:
    """Batches as they come, and an error at the end."""
    made = [pa.RecordBatch.from_pydict(batch) for batch in batches]

    def them() -> Iterator[pa.RecordBatch]:
        yield from made
        if error:
            raise error

    return pa.RecordBatchReader.from_batches(made[0].schema, them())


@pytest.mark.parametrize(
    "data",
    [
        pa.table(ROWS),
        pa.RecordBatch.from_pydict(ROWS),
        pa.table(ROWS).to_reader(),
        pd.DataFrame(ROWS),
        pl.DataFrame(ROWS),
        pl.LazyFrame(ROWS),
        pl.DataFrame(ROWS, schema_overrides={"name": pl.Categorical}).lazy(),
    ],
    ids=["table", "batch", "reader", "pandas", "polars", "lazy", "categories"],
)
def test_what_is_written_is_read_in_each_kind_of_frame(lake: Lake, data: Any) -> None:
    made = lakehouse.write(TABLE, data)

    expected = [{"id": 1, "name": "a"}, {"id": 2, "name": None}]
    assert (made.table, made.rows, made.partitions) == (TABLE, 2, ())
    assert rows() == expected
    assert lakehouse.read_batches(TABLE).read_all().to_pylist() == expected
    assert lakehouse.read(TABLE).to_pandas()["id"].tolist() == [1, 2]
    assert pl.DataFrame(lakehouse.read(TABLE)).rows() == [(1, "a"), (2, None)]
    assert lakehouse.scan(TABLE).collect().to_dicts() == expected
    assert lake.rows(f"select * from {TABLE} order by id") == expected
    assert [row.snapshot_id for row in lake.history(TABLE)] == [made.snapshot_id]
    assert not list((lake.settings.home / "tmp").iterdir())


def test_each_type_of_iceberg_comes_back_as_it_was(lake: Lake) -> None:
    values: dict[str, tuple[list[Any], pa.DataType]] = {
        "truth": ([True, False, None], pa.bool_()),
        "small": ([1, None, -3], pa.int16()),
        "whole": ([2**62, None, -1], pa.int64()),
        "unsigned": ([1, 2, None], pa.uint32()),
        "half": ([0.5, None, -2.0], pa.float32()),
        "broken": ([0.1, None, -2.0], pa.float64()),
        "money": ([Decimal("1.50"), None, Decimal("-12345678901234567890.25")], pa.decimal128(30, 2)),
        "day": ([date(2024, 1, 5), None, date(1969, 1, 1)], pa.date32()),
        "clock": ([time(1, 2, 3), None, time(23, 59)], pa.time64("us")),
        "at": ([NOON, None, datetime.fromisoformat("1969-01-01")], pa.timestamp("ns")),
        "moment": ([datetime(2024, 1, 5, 1, tzinfo=UTC), None, None], pa.timestamp("ms", "America/New_York")),
        "text": (["ü", None, ""], pa.string_view()),
        "raw": ([b"\x00", None, b""], pa.binary()),
    }
    data = pa.table({name: pa.array(column, kind) for name, (column, kind) in values.items()})

    lakehouse.write(TABLE, data)

    found = lakehouse.read(TABLE)
    assert {name: found[name].to_pylist() for name in values} == {name: column for name, (column, _) in values.items()}
    assert lake.engine.query(f"select * from {TABLE}").num_rows == 3


def test_a_changed_value_of_each_type_is_found_when_a_file_is_read_back() -> None:
    pairs: list[tuple[list[Any], list[Any], pa.DataType]] = [
        ([True], [False], pa.bool_()),
        ([1], [2], pa.int32()),
        ([0.5], [0.25], pa.float32()),
        ([Decimal("1.5")], [Decimal("1.6")], pa.decimal128(20, 1)),
        ([2**64], [2**65], pa.decimal128(30, 0)),
        ([b"a"], [b"b"], pa.large_binary()),
        ([time(1)], [time(2)], pa.time64("us")),
    ]
    for one, other, kind in pairs:
        first, second, again = (writing_totals(pa.array(values, kind)) for values in (one, other, one))
        assert first.differences(second) == ["x: values differ"], kind
        assert first.differences(again) == [], kind


def writing_totals(array: Any) -> Any:
    from lakehouse.iceberg.data_file import Totals

    totals = Totals(["x"])
    totals.add([pa.concat_arrays([array, array]).slice(1)])  # an offset, as a batch of a larger one has
    return totals


def test_a_named_index_of_pandas_is_a_column_and_a_plain_one_is_not(lake: Lake) -> None:
    frame = pd.DataFrame({"kind": ["a", "b", "a"], "value": [1, 2, 3]})

    lakehouse.write("features.plain", frame[frame.value > 1])
    lakehouse.write("features.sums", frame.groupby("kind").sum())

    assert rows("features.plain") == [{"kind": "a", "value": 3}, {"kind": "b", "value": 2}]
    assert rows("features.sums") == [{"kind": "a", "value": 4}, {"kind": "b", "value": 2}]


def test_a_second_write_replaces_the_rows_and_the_old_ones_stay_readable(lake: Lake) -> None:
    first = lakehouse.write(TABLE, pa.table({"id": [1], "gone": ["x"]}))
    lake.table(TABLE).manage_snapshots().create_tag(first.snapshot_id, "audited").commit()
    between = datetime.now(UTC)

    second = lakehouse.write(TABLE, pa.table({"id": [0.5], "new": [True]}))

    assert rows() == [{"id": 0.5, "new": True}]
    for version in (first.snapshot_id, str(first.snapshot_id), f"{TABLE}@{first.snapshot_id}", "audited", between):
        assert rows(as_of=version) == [{"id": 1, "gone": "x"}]
        assert rows(as_of=version, where="id = 1") == [{"id": 1, "gone": "x"}]
    assert lakehouse.scan(TABLE, as_of="audited").collect().to_dicts() == [{"id": 1, "gone": "x"}]
    assert [row.snapshot_id for row in lake.history(TABLE)] == [first.snapshot_id, second.snapshot_id]


def test_a_month_is_replaced_alone_and_twice_is_not_doubled(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table({"id": [1]}), partition=JANUARY)
    lakehouse.write(TABLE, pa.table({"id": [2]}), partition="2024-02")
    lakehouse.write(TABLE, pa.table({"id": [3, 4]}), partition=JANUARY)
    made = lakehouse.write(TABLE, pa.table({"id": [3, 4]}), partition={"month": JANUARY})

    expected = [{"id": i, "month": m.first_day} for i, m in ((2, FEBRUARY), (3, JANUARY), (4, JANUARY))]
    assert rows() == expected
    assert rows(partition="2024-02") == expected[:1]
    assert lakehouse.read(TABLE, columns=["id"], partition=JANUARY)["id"].to_pylist() == [3, 4]
    assert made.partitions == ("month=2024-01-01",)
    assert len(lake.history(TABLE)) == 4
    assert lake.rows(f"select count(*) as n from {TABLE} where month = date '2024-01-01'") == [{"n": 2}]


def test_a_partition_may_be_of_two_columns_that_the_data_has(lake: Lake) -> None:
    days = pd.to_datetime(["2024-01-05", "2024-01-05"])
    north: dict[str, Any] = {"day": Day(2024, 1, 5), "region": "north/ü"}

    lakehouse.write(TABLE, pd.DataFrame({"day": days, "n": [1, 2]}), partition=north)
    lakehouse.write(TABLE, pa.table({"n": [3]}), partition=north | {"region": "south"})

    assert [row["n"] for row in rows(partition=north)] == [1, 2]
    assert rows(partition={"region": "south"}) == [{"day": date(2024, 1, 5), "region": "south", "n": 3}]
    assert lake.rows(f"select count(*) as n from {TABLE}") == [{"n": 3}]


def test_a_partitioned_table_is_replaced_whole_by_data_that_has_the_column(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table({"id": [1]}), partition=JANUARY)
    months = [FEBRUARY.first_day, JANUARY.first_day, FEBRUARY.first_day]

    made = lakehouse.write(TABLE, stream({"id": [1, 2], "month": months[:2]}, {"id": [3], "month": months[2:]}))

    assert made.rows == 3
    assert [row["id"] for row in rows(partition="2024-02")] == [1, 3]
    assert len(list(lake.table(TABLE).scan().plan_files())) == 2
    with pytest.raises(RefusedError, match=r"partitioned by 'month', and the data has no such column.*Nothing was ch"):
        lakehouse.write(TABLE, pa.table({"id": [1]}))
    with pytest.raises(RefusedError, match="which has no value in at least 1 row"):
        lakehouse.write(TABLE, pa.table({"id": [1], "month": pa.array([None], pa.date32())}))


def test_no_rows_empty_the_partition(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table({"id": [1]}), partition=JANUARY)

    made = lakehouse.write(TABLE, pa.table({"id": pa.array([], pa.int64())}), partition=JANUARY)

    assert made.rows == 0
    assert rows() == []
    assert lakehouse.read_batches(TABLE).schema.names == ["month", "id"]


def test_a_partition_may_bring_a_new_column_in_the_same_commit(lake: Lake) -> None:
    first = lakehouse.write(TABLE, pa.table({"id": [1], "kind": ["a"]}), partition=JANUARY)
    data = pd.DataFrame({"kind": [None], "id": [2.0], "extra": [0.5]})  # whole numbers with a gap are floats in pandas
    metadata = lake.table(TABLE).metadata_location

    lakehouse.write(TABLE, data, partition=FEBRUARY)

    assert rows(columns=["id", "kind", "extra"]) == [
        {"id": 1, "kind": "a", "extra": None},
        {"id": 2, "kind": None, "extra": 0.5},
    ]
    assert lakehouse.read(TABLE, as_of=first.snapshot_id).column_names == ["month", "id", "kind"]
    assert lake.table(TABLE).metadata.metadata_log[-1].metadata_file == metadata


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": ["a"]}, "the data lacks 'id', which the table has"),
        ({"id": ["1"], "kind": ["a"]}, "the column 'id' is of type long in the table, and string in the data"),
        ({"id": [0.5], "kind": ["a"]}, "the column 'id' holds a value that does not fit int64"),
        ({"ID": [1], "id": [1], "kind": ["a"]}, "the column 'ID' twice"),
        ({"id": [1], "Kind": ["a"]}, "its column is called 'kind', and 'Kind' in the data"),
        ({"id": [1], "kind": ["a"], "month": [FEBRUARY.first_day]}, "rows of month=2024-02-01, and only month=2024-01"),
        ({"id": [1], "kind": ["a"], "month": [NOON]}, "2024-01-05 12:00:00 is a time, not a day"),
    ],
)
def test_data_that_does_not_fit_the_other_partitions_is_refused(lake: Lake, data: Any, message: str) -> None:
    lakehouse.write(TABLE, pa.table({"id": [1], "kind": ["a"]}), partition=JANUARY)

    with pytest.raises(RefusedError, match=message):
        lakehouse.write(TABLE, pa.table(data), partition=JANUARY)

    assert len(lake.history(TABLE)) == 1
    assert len(files_of(lake)) == 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.string(), 5),
        (pa.int32(), 2**40),
        (pa.int64(), 2**70),
        (pa.int64(), "x"),
        (pa.date32(), 5),
        (pa.timestamp("us"), JANUARY),
    ],
)
@pytest.mark.parametrize("has_column", [True, False])
def test_a_partition_s_value_must_fit_its_column(lake: Lake, kind: Any, value: Any, has_column: bool) -> None:
    catalog = lake.catalog
    catalog.create_namespace("features")
    schema = Schema(
        NestedField(1, "id", LongType()), NestedField(2, "part", fields_of(pa.schema({"p": kind}), "")[0].field_type)
    )
    catalog.create_table(TABLE, schema, partition_spec=spec_for(schema, ["part"]))
    data = {"id": pa.array([1]), **({"part": pa.nulls(1, kind)} if has_column else {})}

    with pytest.raises(RefusedError, match=r"which the partition's value .* does not fit\. Nothing was changed"):
        lakehouse.write(TABLE, pa.table(data), partition={"part": value})


def test_a_partition_that_is_no_value_is_neither_read_nor_replaced(lake: Lake) -> None:
    catalog = lake.catalog
    catalog.create_namespace("features")
    schema = Schema(*fields_of(pa.table({"id": [1], "day": [NOON.date()]}).schema, TABLE))
    spec = PartitionSpec(PartitionField(2, 1000, MonthTransform(), "month"))
    catalog.create_table(TABLE, schema, partition_spec=spec)

    for use in (lambda: lakehouse.read(TABLE, partition=JANUARY), lambda: lakehouse.write(TABLE, pa.table(ROWS))):
        with pytest.raises(RefusedError, match=r"can be read or replaced alone\. To read rows, give a condition"):
            use()


def test_a_new_table_s_column_must_be_of_the_type_of_its_partition(lake: Lake) -> None:
    with pytest.raises(RefusedError, match="'region' is of type long by the partition's value, and string in the data"):
        lakehouse.write(TABLE, pa.table({"region": ["5"]}), partition={"region": 5})
    with pytest.raises(RefusedError, match="does not fit"):
        lakehouse.write(TABLE, pa.table({"id": [1]}), partition={"region": 2**70})
    with pytest.raises(RefusedError, match="The partition names no column"):
        lakehouse.write(TABLE, pa.table(ROWS), partition={})

    assert TABLE not in lake.engine.tables()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"the data has no columns\. Nothing was changed\."),
        (["x", ""], r"column 1 \(from 0\) has no name\. Nothing was changed\. Name it\."),
        (["x", "X"], r"has the column 'x' twice .*\. Nothing was changed\. Rename one\."),
    ],
)
def test_columns_that_no_table_can_have_are_refused(lake: Lake, names: list[str], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        lakehouse.write(TABLE, pa.table([pa.array([1])] * len(names), names=names))

    assert TABLE not in lake.engine.tables()


def test_a_table_without_partitions_takes_none(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table(ROWS))

    with pytest.raises(
        RefusedError,
        match=r"no partitions\. The given partition names month\. Nothing was changed\. Write all its rows",
    ):
        lakehouse.write(TABLE, pa.table(ROWS), partition=JANUARY)


def test_a_partition_names_the_columns_that_the_table_has(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table(ROWS), partition=JANUARY)

    with pytest.raises(
        RefusedError,
        match=r"partitioned by month\. The given partition names day\. Nothing was changed\. .* ALL rows of the",
    ):
        lakehouse.write(TABLE, pa.table(ROWS), partition={"day": Day(2024, 1, 5)})


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"kind": ["a", 1]}),
        pd.DataFrame([[1, 2]], columns=["id", "id"]),
        pd.DataFrame({"id": [2**70]}),
        pd.DataFrame({"id": [1]}, index=pd.Index([1], name="id")),
    ],
    ids=["several types", "two of one name", "a large number", "an index of that name"],
)
def test_a_frame_of_pandas_that_is_no_arrow_table_is_refused(lake: Lake, frame: Any) -> None:
    with pytest.raises(RefusedError, match=r"DataFrame can't be made an Arrow table: .*\. Nothing was written\. If"):
        lakehouse.write(TABLE, frame)

    assert TABLE not in lake.engine.tables()


@pytest.mark.parametrize("frame", [pl.DataFrame, pl.LazyFrame])
def test_a_frame_of_polars_with_a_type_that_arrow_lacks_is_refused(lake: Lake, frame: Any) -> None:
    with pytest.raises(RefusedError, match=r"Frame can't be made an Arrow table: .* such as Int128"):
        lakehouse.write(TABLE, frame({"id": [1]}, schema={"id": pl.Int128}))

    assert TABLE not in lake.engine.tables()


def test_a_home_that_is_no_folder_is_one_message_of_a_write(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table(ROWS))
    spill = lake.settings.home / "tmp"
    shutil.rmtree(spill)
    spill.write_text("a file", "utf-8")

    with pytest.raises(ServiceError, match="is a folder that you may read and write"):
        lakehouse.write(TABLE, pa.table(ROWS))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1]]), "can't hold the column 'x' of type list<.*no nested columns"),
        (pa.array([{"a": 1}]), "'x' of type struct"),
        (pa.nulls(1), "'x' of type null; it has no value"),
        (pa.array([1], pa.duration("s")), "'x' of type duration.*a number of seconds"),
        (pa.array([1], pa.decimal256(50, 0)), "'x' of type decimal256.*at most 38 digits"),
        (pa.array([1], pa.timestamp("ns")), "'x' holds a value that does not fit timestamp"),
        (pa.array([2**63], pa.uint64()), "'x' holds a value that does not fit int64"),
    ],
)
def test_what_iceberg_cannot_hold_is_refused_by_column(lake: Lake, column: Any, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        lakehouse.write(TABLE, pa.table({"ok": [1], "x": column}))

    with pytest.raises(QueryError, match="There is no table"):
        lakehouse.read(TABLE)


@pytest.mark.parametrize("data", [pd.DataFrame({"x": [1, "a"]}), [1, 2], pa.table({}), pa.table({"": [1]})])
def test_what_is_no_table_is_refused(lake: Lake, data: Any) -> None:
    with pytest.raises(RefusedError, match=r"written"):
        lakehouse.write(TABLE, data)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("raw.green_trips", "`lakehouse load` makes it"),
        ("raw.mine", "`lakehouse load` makes it"),
        ("silver.stg_green_trips", "dbt's models make it"),
        ("gold.mine", "dbt's models make it"),
        ("published.dim_zones", "`lakehouse publish` shows"),
        ("information_schema.x", "a schema information_schema of their own"),
        ("Features.Hourly", "in small letters"),
        ("hourly", "a table is called schema.name"),
    ],
)
def test_tables_with_other_owners_are_refused(lake: Lake, table: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        lakehouse.write(table, pa.table(ROWS))


def test_a_table_outside_of_this_lakehouse_is_refused(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table(ROWS))
    outside = (lake.scratch / "outside").as_uri()
    with suppress(BoundaryError):  # of the look at the new table
        lake.catalog.create_table("features.foreign", pa.schema({"id": pa.int64()}), location=outside)

    with pytest.raises(BoundaryError, match="outside this lakehouse"):
        lakehouse.write("features.foreign", pa.table({"id": [1]}))


def test_a_stream_that_fails_leaves_the_table_as_it_was(lake: Lake) -> None:
    broken = {"id": [9] * 1000}

    with pytest.raises(FileNotFoundError, match="the caller's own"):
        lakehouse.write(TABLE, stream(broken, error=FileNotFoundError("the caller's own")))
    with pytest.raises(NoSuchTableError):
        lake.table(TABLE)

    lakehouse.write(TABLE, pa.table({"id": [1]}))
    with pytest.raises(ZeroDivisionError):
        lakehouse.write(TABLE, stream(broken, error=ZeroDivisionError()))

    assert rows() == [{"id": 1}]
    assert len(files_of(lake)) == 1


def test_a_commit_that_is_refused_leaves_no_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lakehouse.write(TABLE, pa.table({"id": [1]}))

    with monkeypatch.context() as patch:
        patch.setattr("lakehouse.iceberg.catalog.SqliteCatalog.commit_table", refuse)
        with pytest.raises(CommitError, match=r"the table could not be committed to features\.hourly"):
            lakehouse.write(TABLE, pa.table({"id": [2]}))

    assert rows() == [{"id": 1}]
    assert len(files_of(lake)) == 1


def refuse(*_: Any) -> None:
    raise BadRequestError("no room")


def files_of(lake: Lake) -> list[Any]:
    return list((lake.settings.home / "warehouse").glob("features/*/data/**/*.parquet"))


def meanwhile(monkeypatch: pytest.MonkeyPatch, data: pa.Table, **options: Any) -> None:
    """Somebody else writes when this write is about to commit."""
    commit = vars(writing)["commit"]

    def late(*given: Any, **more: Any) -> Any:
        monkeypatch.undo()
        lakehouse.write(TABLE, data, **options)
        return commit(*given, **more)

    monkeypatch.setattr(writing, "commit", late)


@pytest.mark.parametrize("exists", [False, True])
def test_of_two_writers_at_once_the_later_replaces_the_other_whole(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lake.settings.home))
    if exists:
        lakehouse.write(TABLE, pa.table({"id": [0]}), partition=JANUARY)
    meanwhile(monkeypatch, pa.table({"id": [1, 1]}), partition=JANUARY)

    lakehouse.write(TABLE, pa.table({"id": [2]}), partition=JANUARY)

    assert [row["id"] for row in rows()] == [2]


def test_writers_of_two_partitions_at_once_both_stay(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lakehouse.write(TABLE, pa.table({"id": [0]}), partition=JANUARY)
    meanwhile(monkeypatch, pa.table({"id": [1]}), partition=JANUARY)

    lakehouse.write(TABLE, pa.table({"id": [2]}), partition=FEBRUARY)

    assert [row["id"] for row in rows()] == [1, 2]


@pytest.mark.parametrize("new", ["mine", "extra"])
def test_columns_that_change_meanwhile_are_not_mixed(lake: Lake, monkeypatch: pytest.MonkeyPatch, new: str) -> None:
    """Both would give their new column the same id."""
    lakehouse.write(TABLE, pa.table({"id": [0]}), partition=JANUARY)
    meanwhile(monkeypatch, pa.table({"id": [1], "extra": ["x"]}), partition=JANUARY)

    with pytest.raises(RefusedError, match="somebody else changed its columns meanwhile"):
        lakehouse.write(TABLE, pa.table({"id": [2], new: [5]}), partition=FEBRUARY)

    assert rows(columns=["id", "extra"]) == [{"id": 1, "extra": "x"}]
    assert len(files_of(lake)) == 2  # of the two snapshots


def test_the_snapshot_says_where_its_rows_came_from(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table({"id": [1]}), partition=JANUARY, summary={"note": "a try", "team.ticket": "7"})

    (snapshot,) = lake.engine.timeline(TABLE).snapshots
    said = {key: value for key, value in snapshot.summary.items() if "." in key}
    assert len(said.pop("lakehouse.run-id")) == 36
    assert said == {
        "lakehouse.source": "data frame",
        "lakehouse.source-rows": "1",
        "lakehouse.partition": "month=2024-01-01",
        "lakehouse.note": "a try",
        "team.ticket": "7",
    }


def test_a_raw_table_is_read_by_month_and_condition(lake: Lake) -> None:
    for month, count in (("2024-01", 30), ("2024-02", 20)):
        lake.load("green", month, lake.generate("green", month, count))

    assert lakehouse.read("raw.green_trips", partition="2024-02", columns=["file_row"]).num_rows == 20
    chosen = lakehouse.read("raw.green_trips", where="file_month = '2024-01-01' and file_row < 5")
    lazy = lakehouse.scan("raw.green_trips").filter(pl.col("file_row") < 5).select("file_month").head(7).collect()
    assert chosen["file_row"].to_pylist() == [0, 1, 2, 3, 4]
    assert lazy.shape == (7, 1)


def test_what_cannot_be_read_says_what_there_is(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table(ROWS))

    for options, message in (
        ({"columns": ["nope"]}, "has no column 'nope' in this version. It has: id, name"),
        ({"where": "nope = 1"}, "The table has: id, name"),
        ({"where": "id = "}, "can't be read where id = "),
        ({"as_of": "nope"}, "has no branch or tag 'nope'"),
        ({"as_of": 5}, "has no snapshot 5"),
        ({"as_of": "raw.green_trips@5"}, "a version of raw.green_trips, not of features.hourly"),
    ):
        with pytest.raises(QueryError, match=message):
            lakehouse.read(TABLE, **options)
    with pytest.raises(QueryError, match="is no table's name"):
        lakehouse.read("hourly")
    with pytest.raises(SettingsError, match=r"partition=\{'region': 'north'\}"):
        lakehouse.read(TABLE, partition="north")
    with pytest.raises(QueryError, match=r"Read gold\.dim_zones as of audited"):
        lakehouse.read("published.dim_zones", as_of="audited")


def test_published_is_what_readers_are_shown(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table({"id": [1]}))  # makes the namespaces' identity
    catalog = lake.catalog
    catalog.create_namespace_if_not_exists("gold")
    table = catalog.create_table("gold.dim_zones", pa.schema({"id": pa.int64()}))
    table.append(pa.table({"id": [1]}))
    first = table.current_snapshot()
    assert first is not None
    table.manage_snapshots().create_branch(first.snapshot_id, BRANCH).commit()
    table.append(pa.table({"id": [2]}))

    assert rows("published.dim_zones") == [{"id": 1}]
    assert rows("gold.dim_zones", as_of=BRANCH) == [{"id": 1}]
    assert rows("gold.dim_zones") == [{"id": 1}, {"id": 2}]


def test_a_stream_reads_one_file_at_a_time(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for month in (JANUARY, FEBRUARY):
        lakehouse.write(TABLE, pa.table({"id": [1] * 10}), partition=month)
    opened: list[str] = []
    new_input = PyArrowFileIO.new_input

    def noted(io: PyArrowFileIO, location: str) -> Any:
        if location.endswith(".parquet"):
            opened.append(location)
        return new_input(io, location)

    batches = Selection(lake.catalog, TABLE).batches()
    monkeypatch.setattr(PyArrowFileIO, "new_input", noted)
    next(batches)

    assert len(opened) == 1
    assert sum(len(batch) for batch in batches) == 10
    assert len(opened) == 2


def test_old_snapshots_of_a_named_table_expire(lake: Lake) -> None:
    for value in (1, 2):
        lakehouse.write(TABLE, pa.table({"id": [value]}))

    (done,) = maintain(lake.settings, [TABLE], keep=timedelta(0))

    assert (done.table, done.expired_snapshots) == (TABLE, 1)
    assert rows() == [{"id": 2}]
    assert maintain(lake.settings) == []


def test_importing_the_package_imports_neither_arrow_nor_pandas() -> None:
    script = "import sys, lakehouse; print(sorted({'pyarrow', 'pandas', 'polars', 'pyiceberg'} & set(sys.modules)))"

    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert found == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        lakehouse.nope  # noqa: B018
