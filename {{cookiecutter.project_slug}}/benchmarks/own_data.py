"""What a team's own data costs: a CSV file, an extract, rows merged by key. Run as the tasks of `tasks.py` are."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from benchmarks.process import fresh, lake_in, timed
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Parquet
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.landing import open_landing
from lakehouse.landing.land import land
from lakehouse.loading.load import load

COLUMNS = (
    Column("id", "long"),
    Column("changed_at", "timestamp"),
    Column("customer", "string"),
    Column("city", "string"),
    Column("amount", "double"),
    Column("pieces", "long"),
)
CHANGED = 0.01  # share of the rows that differ in the second file
ROWS = """
    select i as id, timestamp '2024-01-01' + interval (i % 31536000) second as changed_at,
        'customer ' || hash(i) % 1000000 as customer, 'city ' || hash(i + 1) % 500 as city,
        (hash(i + 2) % 1000000) / 100 + {more} as amount, (hash(i + 3) % 50)::bigint as pieces
    from range({first}, {rows}, {step}) as rows(i)
"""


def generate_csv(folder: Path, rows: str) -> None:
    """Write `orders.csv`: so many rows of six columns."""
    query = ROWS.format(first=0, rows=rows, step=1, more=0)
    duckdb.sql(f"copy ({query}) to '{folder / 'orders.csv'}' (header, delimiter ',')")


def csv_floor(folder: Path) -> None:
    """What any load of a CSV file must do at the least: pyarrow reads it with its types, and writes parquet."""
    types = dict(
        zip(
            [c.name for c in COLUMNS],
            (pa.int64(), pa.timestamp("us"), pa.string(), pa.string(), pa.float64(), pa.int64()),
            strict=True,
        )
    )
    with timed():
        table = csv.read_csv(folder / "orders.csv", convert_options=csv.ConvertOptions(column_types=types))
        pq.write_table(table, folder / "floor.parquet", compression="zstd")


def csv_load(folder: Path) -> None:
    """A load of the same file: the landed file to the commit, audit included."""
    DATASETS["orders"] = Dataset("orders", "Orders", "raw.orders", "orders.csv", Whole(), COLUMNS, format=Csv())
    settings = fresh(folder / "csv")
    landing, catalog = open_landing(settings), open_catalog(settings)
    landing.put(DatasetFile("orders"), folder / "orders.csv", "benchmark")
    with timed():
        load(catalog, landing, DatasetFile("orders"))


def extract(folder: Path) -> None:
    """An extract of the table `rental` of the database that RENTALS_URL names, to the file that is landed."""
    columns = (
        Column("rental_id", "long"),
        Column("rented_at", "timestamp"),
        Column("customer", "string"),
        Column("amount", "decimal(10,2)"),
        Column("returned", "boolean"),
    )
    source = Query("RENTALS_URL", table="rental")
    DATASETS["rentals"] = Dataset(
        "rentals", "Rentals", "raw.rentals", "rentals.parquet", Whole(), columns, source=source
    )
    landing = open_landing(lake_in(folder / "extract"))
    with timed():
        land(landing, "/nowhere", DatasetFile("rentals"), refresh=True)


def generate_merge(folder: Path, rows: str) -> None:
    """A table with a key that holds so many rows, and a file with a hundredth of them, changed."""
    _declare_keyed()
    step = int(1 / CHANGED)
    for name, query in (
        ("all", ROWS.format(first=0, rows=rows, step=1, more=0)),
        ("changed", ROWS.format(first=7, rows=rows, step=step, more=1)),
    ):
        duckdb.sql(f"copy ({query}) to '{folder / name}.parquet' (compression zstd)")
    settings = fresh(folder / "keyed")
    landing, catalog = open_landing(settings), open_catalog(settings)
    landing.put(DatasetFile("orders"), folder / "all.parquet", "benchmark")
    load(catalog, landing, DatasetFile("orders"))


def merge_floor(folder: Path) -> None:
    """What any merge must do at the least: DuckDB joins the two, and writes the data files that lose rows again."""
    held = f"read_parquet('{folder}/keyed/warehouse/raw/orders/data/*.parquet') as held"
    changed = f"read_parquet('{folder}/changed.parquet') as changed"
    merged = f"select * from {held} anti join {changed} using (id) union all by name select * from {changed}"
    with timed():
        duckdb.sql(f"copy ({merged}) to '{folder / 'floor.parquet'}' (compression zstd)")


def merge_load(folder: Path) -> None:
    """A load that merges the changed rows; into a copy of the table."""
    _declare_keyed()
    home = folder / "keyed"
    kept = folder / "kept"
    if not kept.exists():
        shutil.copytree(home, kept)
    shutil.rmtree(home)
    shutil.copytree(kept, home)
    settings = lake_in(home)
    landing, catalog = open_landing(settings), open_catalog(settings)
    landing.put(DatasetFile("orders"), folder / "changed.parquet", "benchmark")
    ensure_raw_tables(catalog)
    with timed():
        done = load(catalog, landing, DatasetFile("orders"))
    if done.merged is None or done.merged.updated != done.rows:
        raise SystemExit(f"merged otherwise than expected: {done.merged}")


def _declare_keyed() -> None:
    DATASETS["orders"] = Dataset(
        "orders",
        "Orders",
        "raw.orders",
        "orders.parquet",
        Whole(complete=False),
        COLUMNS,
        key=("id",),
        format=Parquet(),
    )
