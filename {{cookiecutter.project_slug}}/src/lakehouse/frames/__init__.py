"""Tables as data frames: `read`, `read_batches`, `scan` and `write`, for notebooks and for Dagster's assets."""

from __future__ import annotations

from lakehouse.frames.reading import read, read_batches, scan
from lakehouse.frames.writing import Written, write

__all__ = ["Written", "read", "read_batches", "scan", "write"]
