"""The IO manager `iceberg`: assets that return and take data frames, whole or by partition, one commit a run."""

# No postponed annotations here: Dagster reads them while it decorates.

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
from tests.lake import Lake
from tests.pages import code_on_page

import lakehouse
from lakehouse.defs.io_manager import cells_of
from lakehouse.errors import RefusedError, UnconfirmedError
from lakehouse.settings import Settings

# Outside of Dagster's own loading, which keeps quiet about the first; the second is Dagster's own, of resources that
# have resources.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning"),
]
DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")
ONE_RUN = dg.BackfillPolicy.single_run()
KEY = dg.AssetKey(["features", "daily"])
TABLE = "features.daily"


def run(lake: Lake, assets: Sequence[Any], partition: str | None = None, success: bool = True, **options: Any) -> Any:
    """Materialize, with the IO manager of this lakehouse."""
    from lakehouse.defs.io_manager import iceberg_io_manager

    settings: Settings = lake.settings
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            assets,
            partition_key=partition,
            resources={"iceberg": iceberg_io_manager(settings)},
            instance=instance,
            raise_on_error=False,
            **options,
        )
        assert result.success == success
    return result


def span(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def error_of(result: Any) -> str:
    (failure,) = [e for e in result.all_events if e.event_type == dg.DagsterEventType.STEP_FAILURE]
    return str(failure.event_specific_data.error) + str(failure.event_specific_data.user_failure_data)


@pytest.fixture
def daily() -> dg.AssetsDefinition:
    """An asset of one row a day, and of two on the 5th."""

    @dg.asset(key=KEY, partitions_def=DAYS, io_manager_key="iceberg", backfill_policy=ONE_RUN, code_version="7")
    def daily(context: dg.AssetExecutionContext) -> pd.DataFrame:
        days = [key for key in context.partition_keys for _ in range(2 if key.endswith("05") else 1)]
        frame = pd.DataFrame({"n": range(len(days)), "kind": "a"})
        return frame if len(context.partition_keys) == 1 else frame.assign(day=pd.to_datetime(days))

    return daily


@pytest.mark.parametrize("kind", [None, pa.Table, pa.RecordBatchReader, pd.DataFrame, pl.DataFrame, pl.LazyFrame])
@pytest.mark.parametrize("given", [pa.table, pd.DataFrame, pl.DataFrame, pl.LazyFrame])
def test_every_kind_of_frame_goes_in_and_comes_out(lake: Lake, kind: Any, given: Any) -> None:
    taken: list[Any] = []

    @dg.asset(key=["features", "one"], io_manager_key="iceberg")
    def one() -> Any:
        return given({"id": [1, 2]})

    def take(rows: Any) -> None:
        taken.append(rows.read_all() if kind is pa.RecordBatchReader else rows)

    take.__annotations__ = {"return": None} | ({"rows": kind} if kind else {})
    two = dg.asset(name="two", ins={"rows": dg.AssetIn(["features", "one"])})(take)
    run(lake, [one, two])

    (rows,) = taken
    found = rows.collect() if kind is pl.LazyFrame else rows
    assert kind in (None, pa.RecordBatchReader) or isinstance(rows, kind)
    assert list(found["id"].to_pylist() if isinstance(found, pa.Table) else found["id"]) == [1, 2]


def test_a_run_is_one_commit_and_says_where_its_rows_came_from(lake: Lake, daily: dg.AssetsDefinition) -> None:
    result = run(lake, [daily], "2024-01-05")

    (row,) = lake.history(TABLE)
    (event,) = result.asset_materializations_for_node("features__daily")
    said = {name: value.value for name, value in event.metadata.items()}
    (snapshot,) = lake.engine.timeline(TABLE).snapshots
    assert {k: v for k, v in snapshot.summary.items() if k.startswith("lakehouse.")} == {
        "lakehouse.source": "data frame",
        "lakehouse.source-rows": "2",
        "lakehouse.run-id": result.run_id,
        "lakehouse.asset-key": "features/daily",
        "lakehouse.code-version": "7",
        "lakehouse.partition": "day=2024-01-05",
    }
    assert (said["table"], said["rows"], said["dagster/partition_row_count"]) == (TABLE, 2, 2)
    assert said["snapshot_id"] == str(row.snapshot_id)
    assert [column.name for column in said["dagster/column_schema"].columns] == ["day", "n", "kind"]
    assert said["preview"].count("2024-01-05") == 2


def test_a_run_of_several_days_is_one_commit_and_again_replaces_them(lake: Lake, daily: dg.AssetsDefinition) -> None:
    run(lake, [daily], "2024-01-03")
    run(lake, [daily], tags=span("2024-01-04", "2024-01-06"))
    run(lake, [daily], tags=span("2024-01-04", "2024-01-06"))

    days: list[Any] = lakehouse.read(TABLE)["day"].to_pylist()
    assert sorted(days) == [date(2024, 1, day) for day in (3, 4, 5, 5, 6)]
    assert len(lake.history(TABLE)) == 3


def test_a_weekly_asset_reads_exactly_its_days(lake: Lake, daily: dg.AssetsDefinition) -> None:
    taken: list[pa.Table] = []

    @dg.asset(
        partitions_def=dg.WeeklyPartitionsDefinition(start_date="2024-01-01", day_offset=1),
        ins={"days": dg.AssetIn(KEY, partition_mapping=dg.TimeWindowPartitionMapping(), metadata={"columns": ["day"]})},
    )
    def weekly(days: pa.Table) -> None:
        taken.append(days)

    run(lake, [daily], tags=span("2024-01-01", "2024-01-20"))
    run(lake, [daily, weekly], "2024-01-08", selection=[weekly])

    (rows,) = taken
    days: list[Any] = rows["day"].to_pylist()
    assert rows.column_names == ["day"]
    assert sorted(days) == [date(2024, 1, day) for day in range(8, 15)]


def test_an_input_chooses_columns_rows_and_a_version(lake: Lake) -> None:
    first = lakehouse.write("features.one", pa.table({"id": [1, 2], "x": ["a", "b"]}))
    lakehouse.write("features.one", pa.table({"id": [3]}))
    taken: list[pd.DataFrame] = []
    asked = {"columns": ["x"], "where": "id = 2", "as_of": str(first.snapshot_id)}

    @dg.asset(ins={"rows": dg.AssetIn(["features", "one"], metadata=asked, input_manager_key="iceberg")})
    def two(rows: pd.DataFrame) -> None:
        taken.append(rows)

    run(lake, [dg.AssetSpec(["features", "one"]), two])

    assert taken[0].to_dict("list") == {"x": ["b"]}


def test_a_raw_month_is_an_input(lake: Lake) -> None:
    from lakehouse.defs.partitions import MONTHS
    from lakehouse.defs.raw.assets import raw_assets

    for month, count in (("2024-01", 30), ("2024-02", 20)):
        lake.load("green", month, lake.generate("green", month, count))
    trips = dg.AssetIn(["raw", "green_trips"], input_manager_key="iceberg", metadata={"columns": ["file_row"]})

    @dg.asset(key=["features", "counts"], partitions_def=MONTHS, io_manager_key="iceberg", ins={"trips": trips})
    def counts(trips: pl.DataFrame) -> pl.DataFrame:
        return trips.select(pl.len().alias("trips"))

    specs = [asset.get_asset_spec() for asset in raw_assets if asset.key.path[-1] == "green_trips"]
    run(lake, [*specs, counts], "2024-02-01")

    assert lakehouse.read("features.counts").to_pylist() == [{"month": date(2024, 2, 1), "trips": 20}]


def test_a_partition_of_day_and_region_is_replaced_alone(lake: Lake) -> None:
    both = dg.MultiPartitionsDefinition({"day": DAYS, "region": dg.StaticPartitionsDefinition(["north", "south"])})
    taken: list[pa.Table] = []

    @dg.asset(
        key=["features", "regions"],
        partitions_def=both,
        io_manager_key="iceberg",
        metadata={"partition_expr": {"region": "area"}},
    )
    def regions(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return pl.DataFrame({"run": [context.run.run_id]})

    @dg.asset(partitions_def=both, ins={"regions": dg.AssetIn(["features", "regions"])})
    def after(regions: pa.Table) -> None:
        taken.append(regions)

    for region in ("north", "south", "south"):
        run(lake, [regions, after], dg.MultiPartitionKey({"day": "2024-01-05", "region": region}))

    rows = lakehouse.read("features.regions").to_pylist()
    assert sorted((row["day"], row["area"]) for row in rows) == [
        (date(2024, 1, 5), area) for area in ("north", "south")
    ]
    assert [table["area"].to_pylist() for table in taken] == [["north"], ["south"], ["south"]]


def test_one_column_for_two_dimensions_is_refused() -> None:
    region = dg.StaticPartitionsDefinition(["north", "south"])
    both = dg.MultiPartitionsDefinition({"day": DAYS, "region": region})

    with pytest.raises(RefusedError, match=r'2 dimensions.*Name the column of each: \{"day": "column", "region"'):
        cells_of(both, ["2024-01-05|north"], "region", missing="")


def test_hours_are_times_and_named_partitions_are_text(lake: Lake) -> None:
    hours = dg.HourlyPartitionsDefinition(start_date="2024-01-01-00:00", timezone="America/New_York")

    @dg.asset(key_prefix="features", partitions_def=hours, io_manager_key="iceberg")
    def hourly() -> pa.Table:
        return pa.table({"n": [1]})

    @dg.asset(
        key_prefix="features",
        partitions_def=dg.StaticPartitionsDefinition(["2024"]),
        metadata={"partition_expr": "year"},
        io_manager_key="iceberg",
    )
    def named() -> pa.Table:
        return pa.table({"n": [1]})

    @dg.asset(key_prefix="features", partitions_def=dg.StaticPartitionsDefinition(["a"]), io_manager_key="iceberg")
    def unnamed() -> pa.Table:
        return pa.table({"n": [1]})

    run(lake, [hourly], "2024-01-01-05:00")
    run(lake, [named], "2024")

    assert str(lakehouse.read("features.hourly")["hour"][0]) == "2024-01-01 10:00:00"
    assert lakehouse.read("features.named")["year"].to_pylist() == ["2024"]
    message = (
        "The asset features/unnamed has partitions, but nothing says which column has their keys. Nothing was written. "
        'Give it metadata={"partition_expr": "region"}, with your column\'s name.'
    )
    assert message in error_of(run(lake, [unnamed], "a", success=False))


def test_an_asset_that_fails_while_its_rows_are_written_commits_nothing(lake: Lake, daily: dg.AssetsDefinition) -> None:
    run(lake, [daily], "2024-01-05")

    @dg.asset(key=KEY, partitions_def=DAYS, io_manager_key="iceberg")
    def broken() -> pa.RecordBatchReader:
        batch = pa.RecordBatch.from_pydict({"n": [1], "kind": ["b"]})

        def rows() -> Iterator[pa.RecordBatch]:
            yield batch
            raise ZeroDivisionError

        return pa.RecordBatchReader.from_batches(batch.schema, rows())

    run(lake, [broken], "2024-01-05", success=False)

    assert lakehouse.read(TABLE)["kind"].to_pylist() == ["a", "a"]
    assert len(lake.history(TABLE)) == 1


def test_a_frame_is_not_written_again_after_a_lost_answer(
    lake: Lake, daily: dg.AssetsDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells whether the table has it, and others may have written since."""
    asked = []

    def lost(*_: Any, **__: Any) -> int:
        asked.append(1)
        raise UnconfirmedError("The answer was lost.")

    monkeypatch.setattr("lakehouse.frames.writing.commit", lost)

    assert "The answer was lost." in error_of(run(lake, [daily], "2024-01-05", success=False))
    assert asked == [1]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (["hourly"], pa.table({"n": [1]}), "its key needs two parts"),
        (["gold", "mine"], pa.table({"n": [1]}), "dbt's models make it"),
        (["features", "none"], None, "returned None, which is no table"),
        (["features", "text"], "a text", r"A builtins.str can't be written"),
    ],
)
def test_what_cannot_be_a_table_fails_with_one_message(lake: Lake, key: list[str], value: Any, message: str) -> None:
    @dg.asset(key=key, io_manager_key="iceberg")
    def wrong() -> Any:
        return value

    assert message in error_of(run(lake, [wrong], success=False))


def test_an_input_that_cannot_be_read_fails_with_one_message(lake: Lake) -> None:
    def take(rows: Any) -> None: ...

    for kind, message in (
        (dict, "The asset two takes features.there as <class 'dict'>, which"),
        (pa.Table, "There is no table features.missing"),
    ):
        take.__annotations__ = {"rows": kind, "return": None}
        if kind is dict:
            lakehouse.write("features.there", pa.table({"id": [1]}))
        key = ["features", "there" if kind is dict else "missing"]
        asset = dg.asset(name="two", ins={"rows": dg.AssetIn(key, input_manager_key="iceberg")})(take)

        assert message in error_of(run(lake, [dg.AssetSpec(key), asset], success=False))


def test_metadata_of_the_asset_itself_stays(lake: Lake) -> None:
    @dg.asset(key=["features", "one"], io_manager_key="iceberg")
    def one() -> dg.Output[pa.Table]:
        return dg.Output(pa.table({"id": [1]}), metadata={"preview": "mine"})

    (event,) = run(lake, [one]).asset_materializations_for_node("features__one")

    assert event.metadata["preview"].value == "mine"
    assert event.metadata["rows"].value == 1


def test_the_page_s_own_assets_run_by_month(lake: Lake) -> None:
    from lakehouse.defs.raw.assets import raw_assets

    for month, count in (("2024-01", 300), ("2024-02", 200)):
        lake.load("green", month, lake.generate("green", month, count))
    names: dict[str, Any] = {}
    exec(code_on_page("dear_zones"), names)  # noqa: S102 - the page is ours
    specs = [asset.get_asset_spec() for asset in raw_assets if asset.key.path[-1] == "green_trips"]

    for month in ("2024-01-01", "2024-02-01"):
        run(lake, [*specs, names["mean_fares"], names["dear_zones"]], month)

    means, dear = lakehouse.read("features.mean_fares"), lakehouse.read("features.dear_zones")
    trips = lakehouse.read("raw.green_trips", partition="2024-02")
    assert set(means["month"].to_pylist()) == {date(2024, 1, 1), date(2024, 2, 1)}
    february = lakehouse.read("features.mean_fares", partition="2024-02")
    assert february.num_rows == len(set(trips["pu_location_id"].to_pylist()))
    assert dear.num_rows == sum(row["fare_amount"] > 50 for row in means.to_pylist())
