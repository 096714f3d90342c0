"""What every DuckDB of the project is opened with."""

from __future__ import annotations

from lakehouse.settings import Settings


def duckdb_config(settings: Settings) -> dict[str, str | bool | int | float | list[str]]:
    """No downloads, bounded memory, spilling into `LAKEHOUSE_HOME`."""
    spill = settings.home / "tmp"
    spill.mkdir(parents=True, exist_ok=True)
    return {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "memory_limit": settings.duckdb_memory_limit,
        "temp_directory": str(spill),
    }
