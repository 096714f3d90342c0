"""`make bench-stack`: what the real services cost, measured on a stack of its own.

Prints one table: an extract from PostgreSQL against COPY; stack start to ready; a load through REST catalog and object
store against one on `embedded`; the same rows by INSERT … VALUES through Trino; silver and gold built by Trino for 1, 4
and 12 months, after a first build that warms Trino up.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from benchmarks.__main__ import task
from pyarrow import csv
from tests.integration.database import Database, postgres
from tests.integration.lake import Lake
from tests.integration.stack import started

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import parse_months
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.landing import open_landing
from lakehouse.loading.load import load
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month
from lakehouse.transform import build

ROWS = int(os.environ.get("LAKEHOUSE_BENCH_ROWS", "1000000"))
EXTRACTED = int(os.environ.get("LAKEHOUSE_BENCH_EXTRACTED", "5000000"))
FEW = 20_000
BUILDS = (1, 4, 12)
MONTH = Month(2024, 1)
# A statement has at most 1,000,000 characters.
ROWS_A_STATEMENT = 2_000


def timed(action: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def load_seconds(settings: Settings, file: Path) -> float:
    """Load a landed file into empty tables."""
    landing = open_landing(settings)
    landing.put(DatasetFile("yellow", MONTH), file, "bench")
    ensure_raw_tables(open_catalog(settings))
    return timed(lambda: load(open_catalog(settings), landing, DatasetFile("yellow", MONTH)))


def insert_values(lake: Lake) -> float:
    """The loaded rows again, into a table of the same columns, by statements that hold them as text."""
    lake.sql("create table raw.by_values as select * from raw.yellow_trips where false")
    rows = lake.scan("raw.yellow_trips").slice(0, FEW).to_pylist()

    def insert() -> None:
        for first in range(0, len(rows), ROWS_A_STATEMENT):
            part = rows[first : first + ROWS_A_STATEMENT]
            values = ", ".join("(" + ", ".join(literal(v) for v in row.values()) + ")" for row in part)
            lake.sql(f"insert into raw.by_values values {values}")

    seconds = timed(insert)
    assert lake.value("select count(*) from raw.by_values") == FEW
    return seconds


def literal(value: Any) -> str:
    """A value as Trino's SQL writes it."""
    kinds = {"date": "date '{}'", "datetime": "timestamp '{}'", "str": "'{}'", "float": "{}e0"}
    return "null" if value is None else kinds.get(type(value).__name__, "{}").format(value)


def fill(database: Database, rows: int) -> None:
    """A table of so many rows, of the types that such tables have."""
    database.run(
        "create table rental as select i::bigint as rental_id, "
        "timestamp '2024-01-01' + i * interval '1 s' as rented_at, "
        "'customer ' || i % 100000 as customer, (i % 100000 / 100.0)::numeric(10, 2) as amount, i % 7 = 0 as returned "
        f"from generate_series(1, {rows}) as rows(i)"
    )


def extract(database: Database, folder: Path) -> dict[str, float]:
    """Seconds of the extract of this table, and the peak memory of the process that makes it, in MB."""
    os.environ["RENTALS_URL"] = database.address
    try:
        return task(folder, "extract")
    finally:
        del os.environ["RENTALS_URL"]


def copy_seconds(database: Database, folder: Path) -> float:
    """What any extract must do at the least: COPY … TO a file, and pyarrow makes parquet of it."""
    types = [pa.int64(), pa.timestamp("us"), pa.string(), pa.decimal128(10, 2), pa.bool_()]
    names = ["rental_id", "rented_at", "customer", "amount", "returned"]
    options = csv.ConvertOptions(
        column_types=dict(zip(names, types, strict=True)), true_values=["t"], false_values=["f"]
    )

    def copy() -> None:
        connection: Any = sa.create_engine(database.address).raw_connection()
        with closing(connection), connection.cursor() as cursor, (folder / "copy.csv").open("wb") as file:
            cursor.copy_expert("copy rental to stdout (format csv)", file)
        table = csv.read_csv(folder / "copy.csv", csv.ReadOptions(column_names=names), convert_options=options)
        pq.write_table(table, folder / "copy.parquet", compression="zstd")

    return timed(copy)


def main() -> None:
    """Measure, and print as it goes."""

    def line(what: str, figure: str) -> None:
        sys.stdout.write(f"{what:<80} {figure:>16}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="bench-") as name, postgres() as database:
        fill(database, EXTRACTED)
        ours, floor = extract(database, Path(name)), copy_seconds(database, Path(name))
        line(f"extract of {EXTRACTED:,} rows from PostgreSQL", f"{ours['seconds']:.1f} s")
        line("its peak memory", f"{ours['peak_mb']:.0f} MB")
        line("COPY … TO, and parquet of it by pyarrow", f"{floor:.1f} s")
        line("ratio", f"{ours['seconds'] / floor:.2f}")

    with tempfile.TemporaryDirectory(prefix="bench-") as name, started(as_deployed=True) as stack:
        folder = Path(name)
        line("stack start to ready", f"{stack.seconds:.1f} s")
        lake = Lake(stack, folder)
        lake.empty()
        file = write_month(folder / "large", "yellow", MONTH, ROWS)
        embedded = load_seconds(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=folder / "embedded"), file)
        real = load_seconds(lake.settings, file)
        line(f"load of {ROWS:,} rows, embedded", f"{embedded:.2f} s")
        line(f"load of {ROWS:,} rows, REST catalog and object store", f"{real:.2f} s")
        line("ratio", f"{real / embedded:.2f}")

        lake.empty()
        few = load_seconds(lake.settings, write_month(folder / "few", "yellow", MONTH, FEW))
        slow = insert_values(lake)
        line(f"{FEW:,} rows by a load", f"{FEW / few:,.0f} rows/s")
        line(f"{FEW:,} rows by INSERT … VALUES through Trino", f"{FEW / slow:,.0f} rows/s")

        for builds, count in enumerate((BUILDS[0], *BUILDS)):
            cold = "" if builds else ", the first build after the start"
            lake.empty()
            lake.load("zones", None)
            for month in parse_months(["2024-01..2024-12"])[:count]:
                lake.load("green", str(month), rows=60_000, seed=month.month)
            seconds = timed(lambda: build(lake.settings, full_refresh=True))
            line(f"silver and gold on Trino, {count} x 60,000 green rows{cold}", f"{seconds:.1f} s")
        lake.close()


if __name__ == "__main__":
    main()
