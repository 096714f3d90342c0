"""What a dbt process gets: the environment that dbt/profiles.yml, models and the plugin read; project and folder."""

from __future__ import annotations

import os
from pathlib import Path

from lakehouse import children, dbt_process
from lakehouse.settings import Settings, project_dir


def dbt_settings(settings: Settings) -> dict[str, str]:
    """The settings that dbt sees, by the names of their variables."""
    return {
        "LAKEHOUSE_TARGET": settings.target,
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_PROJECT_DIR": str(project_dir()),
        "DUCKDB_MEMORY_LIMIT": settings.duckdb_memory_limit,
        "TRINO_URL": settings.trino_url,
        "TRINO_USER": settings.trino_user,
        "TRINO_PASSWORD": settings.trino_password.get_secret_value() if settings.trino_password else "",
        "TRINO_CA_FILE": str(settings.trino_ca_file or ""),
    }


def dbt_environment(settings: Settings) -> dict[str, str]:
    """The whole environment of a dbt process: our settings, what the system needs, and whom it ends with."""
    named = dbt_settings(settings)
    if settings.trino_ca_file:  # dbt's client is requests', where this variable wins over the profile
        named["REQUESTS_CA_BUNDLE"] = str(settings.trino_ca_file)
    return children.environment(named | {dbt_process.PARENT: str(os.getpid())})


def project_options(settings: Settings) -> list[str]:
    """The options of dbt that say which project it is, and for which target."""
    folder = str(project_dir() / "dbt")
    return ["--project-dir", folder, "--profiles-dir", folder, "--target", settings.target]


def build_environment(settings: Settings) -> dict[str, str]:
    """The same of a dbt process that builds: it holds the lock of its own."""
    return dbt_environment(settings) | {dbt_process.LOCK: str(build_lock(settings))}


def build_lock(settings: Settings) -> Path:
    """The lock that dbt holds while it builds."""
    return target_path(settings) / "dbt.lock"


def target_path(settings: Settings) -> Path:
    """The folder of dbt's own files."""
    return settings.home / "dbt" / settings.target


def tested_file(settings: Settings) -> Path:
    """The notes of what was built and tested: see tested.py."""
    return target_path(settings) / "tested.json"
