"""Synthetic months, for every era: for tests, benchmarks, and the demo where the publisher can't be reached.

A generated file looks like a published one (names, types, order, shapes, dirt) and says that it is none: its parquet
metadata holds `lakehouse.synthetic = true`. The same arguments give the same rows.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.datasets.months import Month
from lakehouse.synthetic.eras import published_fields, published_schema
from lakehouse.synthetic.trips import AIRPORTS, MonthPlan, batches

SYNTHETIC_KEY = "lakehouse.synthetic"
ROW_GROUP = 1 << 20


def write_month(
    path: Path,
    dataset: str,
    month: Month,
    rows: int,
    *,
    seed: int = 0,
    dirt: bool = True,
    strays: bool = True,
    row_group_rows: int | None = None,
) -> Path:
    """Write a synthetic month of `rows` rows to `path`, in the columns and types published for that month.

    Args:
        path: where the parquet file goes.
        dataset: `yellow` or `green`.
        month: any month since the dataset's first.
        rows: how many, with rows of other months and reversals.
        seed: another seed gives other rows.
        dirt: negative reversals, absurd distances, endless trips, unknown zones. Without it, and without `strays`,
            silver accepts every row. The block of rows whose counts are null is always there, as in real files.
        strays: a few rows whose pickup lies outside the month, as every real file has them.
        row_group_rows: rows in one row group, 1,048,576 unless said. Memory grows with it, not with `rows`.

    Returns:
        `path`.
    """
    fields = published_fields(dataset, month)
    schema = published_schema(dataset, month).with_metadata({SYNTHETIC_KEY: "true", "lakehouse.seed": str(seed)})
    group = max(1, row_group_rows or ROW_GROUP)
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        waiting: list[pa.RecordBatch] = []
        count = 0
        for batch in batches(MonthPlan(dataset, month, rows, seed, dirt, strays), fields, schema):
            waiting.append(batch)
            count += batch.num_rows
            if count < group:
                continue
            table = pa.Table.from_batches(waiting, schema)
            whole = count - count % group
            writer.write_table(table.slice(0, whole), row_group_size=group)
            waiting, count = table.slice(whole).to_batches(), count - whole
        if count:
            writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=group)
    return path


def is_synthetic(path: Path) -> bool:
    """Whether a parquet file (or a zone lookup) says of itself that it was generated."""
    if path.suffix == ".csv":
        return "Generated zone" in path.read_text("utf-8", errors="replace")
    with pq.ParquetFile(path) as file:
        return (file.metadata.metadata or {}).get(SYNTHETIC_KEY.encode()) == b"true"


def write_zones(path: Path) -> Path:
    """Write a synthetic zone lookup of 265 rows, shaped as the published one; its zones are called `Generated …`."""
    boroughs = ("Manhattan", "Brooklyn", "Queens", "Bronx", "Staten Island")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerow(("LocationID", "Borough", "Zone", "service_zone"))
        for zone in range(1, 264):
            borough = boroughs[zone % len(boroughs)]
            service = "Airports" if zone in AIRPORTS else "Yellow Zone" if borough == "Manhattan" else "Boro Zone"
            writer.writerow((zone, borough, f"Generated zone {zone}", service))
        writer.writerow((264, "Unknown", "N/A", "N/A"))
        writer.writerow((265, "N/A", "Outside of NYC", "N/A"))
    return path
