"""What is measured, each in a process of its own: `python -m benchmarks.tasks TASK FOLDER [ARGUMENT …]`.

It prints one JSON object: seconds of the work itself (start-up not counted) and the process's peak memory in MB.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog

from benchmarks import own_data, prompt, years
from benchmarks.process import fresh, lake_in, measured, peak_mb, run, timed
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.engines import open_engine
from lakehouse.history.history import history, loaded
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import open_landing
from lakehouse.loading.load import load
from lakehouse.synthetic.generate import write_month

DATASET = "yellow"
TABLE = "raw.yellow_trips"
MONTH = Month(2024, 1)


def generate(folder: Path, rows: str, groups: str) -> None:
    """A synthetic month: `rows` of them, in row groups of `groups` rows."""
    path = folder / f"{rows}-{groups}.parquet"
    if not path.exists():
        write_month(path, DATASET, MONTH, int(rows), row_group_rows=int(groups))


def floor(folder: Path, file: str) -> None:
    """What any load must do at the least: pyarrow reads the file and writes it again with zstd."""
    with timed():
        pq.write_table(pq.read_table(file), folder / "floor.parquet", compression="zstd")


def ours(folder: Path, file: str) -> None:
    """A load: the landed file to the commit, audit included."""
    settings = fresh(folder / "ours")
    landing = open_landing(settings)
    landing.put(DatasetFile(DATASET, MONTH), Path(file), "benchmark")
    catalog = open_catalog(settings)
    with timed():
        load(catalog, landing, DatasetFile(DATASET, MONTH))


def no_op(folder: Path, file: str) -> None:
    """The same load again."""
    ours(folder, file)
    settings = lake_in(folder / "ours")
    catalog, landing = open_catalog(settings), open_landing(settings)
    with timed():
        load(catalog, landing, DatasetFile(DATASET, MONTH))


def as_user(folder: Path, file: str, method: str) -> None:
    """What a user of PyIceberg would write: read, name, cast, `append` or `dynamic_partition_overwrite`."""
    catalog: Catalog = open_catalog(fresh(folder / method))
    table = catalog.load_table(TABLE)
    with timed():
        data = pq.read_table(file)
        names = {"VendorID": "vendor_id", "RatecodeID": "rate_code_id", "PULocationID": "pu_location_id"}
        names |= {"DOLocationID": "do_location_id", "Airport_fee": "airport_fee"}
        names |= {"tpep_pickup_datetime": "pickup_datetime", "tpep_dropoff_datetime": "dropoff_datetime"}
        data = data.rename_columns([names.get(name, name) for name in data.column_names])
        columns: dict[str, Any] = {
            "file_month": pa.array([MONTH.first_day] * len(data), pa.date32()),
            "file_row": pa.array(range(len(data)), pa.int64()),
            "source_sha256": pa.array(["0" * 64] * len(data)),
        }
        for field in table.schema().as_arrow():
            if field.name in data.column_names:
                columns[field.name] = data[field.name].cast(field.type)
            elif field.name not in columns:
                columns[field.name] = pa.nulls(len(data), field.type)
        conformed = (
            pa.table(columns).select([f.name for f in table.schema().as_arrow()]).cast(table.schema().as_arrow())
        )
        if method == "append":
            table.append(conformed)
        else:
            table.dynamic_partition_overwrite(conformed)


def eight_months(folder: Path, jobs: str, rows: str) -> None:
    """`lakehouse load` of eight landed months, so many at once, from its start to its end."""
    home = folder / f"eight-{jobs}"
    settings = fresh(home)
    landing = open_landing(settings)
    for m in range(1, 9):
        file = folder / f"eight-{m}.parquet"
        if not file.exists():
            write_month(file, DATASET, Month(2024, m), int(rows), seed=m)
        landing.put(DatasetFile(DATASET, Month(2024, m)), file, "benchmark")
    run(home, "-m", "lakehouse", "load", DATASET, "2024-01..2024-08", "--jobs", jobs)
    found = [row.rows for row in loaded(open_engine(settings))]
    if found != [int(rows)] * 8:
        raise SystemExit(f"the table holds {found}")


def look(folder: Path, what: str, snapshots: str) -> None:
    """`history` or `months` of a table with so many snapshots."""
    home = folder / f"look-{snapshots}"
    settings = lake_in(home)
    if not settings.catalog_file.exists():
        fresh(home)
        landing, catalog = open_landing(settings), open_catalog(settings)
        for turn in range(int(snapshots)):
            month = Month(2020 + turn % 60 // 12, turn % 12 + 1)
            file = folder / f"look-{month}.parquet"
            if not file.exists():
                write_month(file, DATASET, month, 100)
            landing.put(DatasetFile(DATASET, month), file, "benchmark")
            load(catalog, landing, DatasetFile(DATASET, month), again=True)
    engine = open_engine(settings)
    with timed():
        if what == "history":
            history(engine, TABLE)
        else:
            loaded(engine)


TASKS: dict[str, Callable[..., None]] = {
    task.__name__: task
    for task in (
        generate,
        floor,
        ours,
        no_op,
        as_user,
        eight_months,
        look,
        own_data.generate_csv,
        own_data.csv_floor,
        own_data.csv_load,
        own_data.extract,
        own_data.generate_merge,
        own_data.merge_floor,
        own_data.merge_load,
        prompt.generate_prompt,
        prompt.command,
        prompt.imports,
        years.years,
    )
}

if __name__ == "__main__":
    name, folder, *arguments = sys.argv[1:]
    TASKS[name](Path(folder), *arguments)
    measured.setdefault("peak_mb", peak_mb(resource.RUSAGE_SELF))
    print(json.dumps(measured))
