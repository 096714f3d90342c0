"""The SQL engines behind one small interface: DuckDB over planned files (`embedded`) and Trino (`trino`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.engines.protocol import Engine, PartFiles, check_names
from lakehouse.errors import ServiceError
from lakehouse.iceberg.versions import Ref, Snapshot, Timeline

if TYPE_CHECKING:
    from lakehouse.settings import Settings

__all__ = ["Engine", "PartFiles", "Ref", "Snapshot", "Timeline", "check_names", "engine_lost", "open_engine"]


def open_engine(settings: Settings) -> Engine:
    """The engine of the target."""
    if settings.target == "trino":
        from lakehouse.engines.trino import TrinoEngine  # noqa: PLC0415 - one target needs one engine

        return TrinoEngine(settings)
    from lakehouse.engines.duckdb import DuckDBEngine  # noqa: PLC0415

    return DuckDBEngine(settings)


def engine_lost(settings: Settings) -> ServiceError | None:
    """What to say if the target's engine is a service that no longer answers; None if all is well."""
    if settings.target != "trino":
        return None
    from lakehouse.engines.trino import is_up  # noqa: PLC0415 - one target needs one engine

    if is_up(settings):
        return None
    return ServiceError(
        f"Trino at {settings.trino_url} went away during the build. Each table holds all that its model made, or is as "
        "it was. Start Trino (`make stack-up`) and build again."
    )
