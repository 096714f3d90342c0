"""Data frames on the services: Trino reads what they write, at each of its versions; and the IO manager's tables."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import dagster as dg
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
from tests.integration.lake import GREEN, Lake

import lakehouse
from lakehouse.datasets.months import Month
from lakehouse.errors import RefusedError
from lakehouse.settings import load_settings

# Outside of Dagster's own loading, which keeps quiet about the first; the second is Dagster's own, of resources that
# have resources.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning"),
]
TABLE = "features.daily"


@pytest.fixture(autouse=True)
def _settings(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lakehouse.read` and `lakehouse.write` ask the environment."""
    for name, value in lake.stack.environment.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()


def test_trino_reads_what_was_written_and_travels_back(lake: Lake) -> None:
    data = {"id": [1, 2], "name": ["ü", None], "money": [Decimal("1.50"), None], "ok": [True, None]}
    first = lakehouse.write(TABLE, pa.table(data))

    second = lakehouse.write(TABLE, pd.DataFrame({"id": [0.5], "new": ["x"]}))

    assert lake.sql(f"select id, new from {TABLE}") == [(0.5, "x")]
    assert lake.sql(f"select id, name, money, ok from {TABLE} for version as of {first.snapshot_id} order by id") == [
        (1, "ü", Decimal("1.50"), True),
        (2, None, None, None),
    ]
    assert lakehouse.read(TABLE, as_of=first.snapshot_id).to_pydict() == data
    assert [s.snapshot_id for s in lake.engine.timeline(TABLE).snapshots] == [first.snapshot_id, second.snapshot_id]


def test_a_month_is_replaced_alone_and_trino_prunes_by_it(lake: Lake) -> None:
    for month, values in (("2024-01", [1]), ("2024-02", [2]), ("2024-01", [3, 4])):
        lakehouse.write(TABLE, pl.DataFrame({"id": values}), partition=Month.parse(month))

    lakehouse.write(TABLE, pl.LazyFrame({"id": [5], "extra": ["x"]}), partition="2024-03")

    assert lake.sql(f"select id, extra from {TABLE} order by id") == [(2, None), (3, None), (4, None), (5, "x")]
    assert lake.value(f"select count(*) from {TABLE} where month = date '2024-01-01'") == 2
    assert lakehouse.scan(TABLE, partition="2024-01").collect()["id"].to_list() == [3, 4]


def test_trino_rows_are_replaced_as_any(lake: Lake) -> None:
    lakehouse.write(TABLE, pa.table({"id": [1]}), partition="2024-01")
    lake.sql(f"insert into {TABLE} (month, id) values (date '2024-01-01', 9), (date '2024-02-01', 8)")

    lakehouse.write(TABLE, pa.table({"id": [2]}), partition="2024-01")

    assert lake.sql(f"select id from {TABLE} order by id") == [(2,), (8,)]


def test_a_table_partitioned_otherwise_is_refused(lake: Lake) -> None:
    lake.sql("create schema if not exists features")
    lake.sql(f"create table {TABLE} (id bigint) with (partitioning = array['bucket(id, 4)'])")

    with pytest.raises(
        RefusedError, match="Only a partition that is a value of a column can be read or replaced alone"
    ):
        lakehouse.write(TABLE, pa.table({"id": [1]}))


def test_an_asset_takes_a_raw_month_and_gives_a_table(lake: Lake) -> None:
    from lakehouse.defs.io_manager import iceberg_io_manager
    from lakehouse.defs.partitions import MONTHS
    from lakehouse.defs.raw.assets import raw_assets

    lake.load("green", "2024-01", 300)
    lake.load("green", "2024-02", 200)
    trips = dg.AssetIn(GREEN.split("."), input_manager_key="iceberg", metadata={"columns": ["file_row"]})

    def counts(trips: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"trips": [len(trips)]})

    counts.__annotations__ = {"trips": pd.DataFrame, "return": pd.DataFrame}
    asset = dg.asset(key=TABLE.split("."), partitions_def=MONTHS, io_manager_key="iceberg", ins={"trips": trips})(
        counts
    )
    specs = [one.get_asset_spec() for one in raw_assets if one.key.path == GREEN.split(".")]
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [*specs, asset],
            partition_key="2024-02-01",
            resources={"iceberg": iceberg_io_manager(lake.settings)},
            instance=instance,
        )

    assert done.success
    assert lake.sql(f"select month, trips from {TABLE}") == [(date(2024, 2, 1), 200)]
