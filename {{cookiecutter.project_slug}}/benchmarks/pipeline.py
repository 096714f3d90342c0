"""`python -m benchmarks.pipeline`: `lakehouse load --build` of two months, then of a third, each against a bare script.

The bare script makes the same silver and gold from the same published files: dbt's compiled SQL, one COPY a table, no
catalog, no snapshots, no checks. The command is counted with its start-up, dbt's tests are not.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pyarrow.parquet as pq

from benchmarks.figures import Sizes, spread
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.engines.duckdb import literal
from lakehouse.settings import project_dir
from lakehouse.synthetic.generate import write_month, write_zones

MONTHS, THIRD = ("2024-01", "2024-02"), ("2024-03",)
TWO_MONTHS = "two months to gold against a bare DuckDB script"
ONE_MORE = "a third month to gold against a bare script of it"
MODELS = (
    "staging/stg_taxi_zones",
    "staging/stg_green_trips",
    "staging/stg_yellow_trips",
    "intermediate/int_trips_by_hour",
    "intermediate/int_trips_by_route",
    "marts/dim_zones",
    "marts/fct_daily_trips",
    "marts/fct_hourly_revenue",
    "marts/fct_monthly_quality",
    "marts/fct_trip_distance_stats",
)
TYPES = {"long": "bigint", "double": "double", "string": "varchar", "timestamp": "timestamp"}
YELLOW = DATASETS["yellow"]


def generate(folder: Path, rows: int) -> None:
    """Full-size months and the lookup, as a publisher's folder."""
    for month in (*MONTHS, *THIRD):
        write_month(
            folder / YELLOW.file_name(Month.parse(month)), "yellow", Month.parse(month), rows, seed=int(month[-1])
        )
    write_zones(folder / "taxi_zone_lookup.csv")


def bare(folder: Path, compiled: Path, out: Path, *months: str) -> None:
    """The tables of these months as parquet files, by DuckDB alone."""
    connection = duckdb.connect()
    for schema in ("raw", "silver", "gold"):
        connection.execute(f"create schema {schema}")
    connection.execute(f"create view raw.yellow_trips as {' union all '.join(_published(folder, m) for m in months)}")
    nothing = ", ".join(f"cast(null as {TYPES[c.type]}) as {c.name}" for c in DATASETS["green"].columns)
    keys = "null::date as file_month, null::bigint as file_row, null::varchar as source_sha256"
    connection.execute(f"create view raw.green_trips as select {keys}, {nothing} where false")
    lookup = literal(str(folder / "taxi_zone_lookup.csv"))
    connection.execute(
        "create view raw.taxi_zones as select LocationID::bigint as location_id, Borough as borough, Zone as zone,"
        f" service_zone, '' as source_sha256 from read_csv({lookup})"
    )
    for seed in (project_dir() / "dbt" / "seeds").glob("*.csv"):
        connection.execute(f"create table silver.{seed.stem} as from read_csv({literal(str(seed))})")
    for model in MODELS:
        schema, name = ("gold" if model.startswith("marts") else "silver"), Path(model).name
        select = (compiled / f"{model}.sql").read_text("utf-8").replace('"memory".', "")
        file = literal(str(out / f"{name}.parquet"))
        connection.execute(f"copy ({select}) to {file} (format parquet, compression zstd, compression_level 1)")
        connection.execute(f"create view {schema}.{name} as from read_parquet({file})")


def _published(folder: Path, month: str) -> str:
    file = folder / YELLOW.file_name(Month.parse(month))
    spelled = {name.lower(): name for name in pq.read_schema(file).names}
    columns = []
    for column in YELLOW.columns:
        name = spelled.get(column.published_name(Month.parse(month)).lower())
        columns.append(f"cast({name or 'null'} as {TYPES[column.type]}) as {column.name}")
    keys = f"date '{month}-01' as file_month, file_row_number as file_row, '{month}' as source_sha256"
    return f"select {keys}, {', '.join(columns)} from read_parquet({literal(str(file))}, file_row_number = true)"


def timed(*command: str) -> tuple[float, float]:
    """Seconds and seconds of processor of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, cpu


def once(rows: int) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """Of each measure, seconds and seconds of processor of the command, and of the bare script."""
    with tempfile.TemporaryDirectory() as scratch:
        home, folder, out = (Path(scratch) / name for name in ("home", "published", "bare"))
        folder.mkdir()
        generate(folder, rows)
        os.environ |= {"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(home), "TLC_SOURCE": str(folder)}
        compiled = home / "dbt" / "embedded" / "compiled" / "lakehouse" / "models"
        found = {}
        for name, months in ((TWO_MONTHS, MONTHS), (ONE_MORE, THIRD)):
            ours = timed("benchmarks.without_tests", "load", "yellow", *months, "--build")
            out.mkdir()
            found[name] = ours, timed("benchmarks.pipeline", "bare", str(folder), str(compiled), str(out), *months)
            shutil.rmtree(out)
    return found


def measured(rows: int, count: int) -> dict[str, dict[str, Any]]:
    """The command against the bare script, so many times, as the other measures."""
    runs = [once(rows) for _ in range(count)]
    return {
        name: {
            "seconds": median(run[name][0][0] for run in runs),
            "against": median(run[name][1][0] for run in runs),
            **spread([run[name][0][0] / run[name][1][0] for run in runs]),
            "cpu_ratio": median(run[name][0][1] / run[name][1][1] for run in runs),
        }
        for name in (TWO_MONTHS, ONE_MORE)
    }


def main() -> None:
    """Print seconds, seconds of processor and the ratios of one run."""
    for name, (ours, alone) in once(Sizes.of(os.environ).rows).items():
        sys.stdout.write(f"{name}\n")
        for what, (wall, used) in (("the command", ours), ("the bare script", alone)):
            sys.stdout.write(f"  {what:16}{wall:8.1f} s{used:8.1f} s of processor\n")
        sys.stdout.write(f"  {'ratio':16}{ours[0] / alone[0]:8.2f}  {ours[1] / alone[1]:8.2f}\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bare", source, sql, target, *words]:
            bare(Path(source), Path(sql), Path(target), *words)
        case _:
            main()
