"""Files as a publisher has them: months of green that no mark calls generated, broken ones, and zone lookups."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
from tests.unit.misbehaving_publisher import as_published

from lakehouse.datasets.months import Month
from lakehouse.synthetic.generate import write_month

ZONES = "LocationID,Borough,Zone,service_zone\r\n"


def month_of(folder: Path, month: Month, rows: int) -> bytes:
    """A month of green as it is published. It is written into `folder` first."""
    return as_published(write_month(folder / "month.parquet", "green", month, rows))


def broken(content: bytes) -> bytes:
    """The same month without a column that it must have."""
    table = pq.read_table(BytesIO(content)).drop_columns(["PULocationID"])
    pq.write_table(table, less := BytesIO())
    return less.getvalue()


def zones_of(word: str) -> bytes:
    """A zone lookup in which each borough is called so."""
    return (ZONES + "".join(f'{i},"{word}","Zone {i}","Service"\r\n' for i in range(1, 266))).encode()
