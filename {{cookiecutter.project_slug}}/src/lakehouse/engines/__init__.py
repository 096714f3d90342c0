"""The SQL engines behind one small interface: DuckDB over planned files (`embedded`) and Trino (`trino`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.engines.protocol import Engine, MonthFiles, Ref, check_names
from lakehouse.iceberg.versions import Snapshot

if TYPE_CHECKING:
    from lakehouse.settings import Settings

__all__ = ["Engine", "MonthFiles", "Ref", "Snapshot", "check_names", "open_engine"]


def open_engine(settings: Settings) -> Engine:
    """The engine of the target."""
    if settings.target == "trino":
        from lakehouse.engines.trino import TrinoEngine  # noqa: PLC0415 - one target needs one engine

        return TrinoEngine(settings)
    from lakehouse.engines.duckdb import DuckDBEngine  # noqa: PLC0415

    return DuckDBEngine(settings)
