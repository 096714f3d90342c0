"""A lakehouse of New York's taxi trips on Apache Iceberg.

From a notebook:

>>> import lakehouse
>>> lakehouse.read("gold.fct_daily_trips", as_of="2024-03-01").to_pandas()  # doctest: +SKIP
>>> lakehouse.write("features.daily", frame)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.frames import Written, read, read_batches, scan, write

__all__ = ["Written", "__version__", "read", "read_batches", "scan", "write"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What `lakehouse.frames` has. It is imported when it is asked for: Arrow and Iceberg are slow to import."""
    if name in __all__:
        from lakehouse import frames  # noqa: PLC0415

        return getattr(frames, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
