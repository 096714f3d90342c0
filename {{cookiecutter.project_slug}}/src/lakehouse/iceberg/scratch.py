"""Scratch schemas: tables that a command makes beside the lakehouse's own and drops at its end.

Nothing else sees them: they are left out of every list of tables. The name tells their age, so maintenance drops those
of a killed command.
"""

from __future__ import annotations

import shutil
import uuid
from datetime import UTC, datetime, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

from lakehouse.iceberg.catalog import settings_of
from lakehouse.iceberg.publication import SCRATCH

_TIME = "%Y%m%dt%H%M%S"


def new_prefix() -> str:
    """What the names of a command's scratch schemas begin with: `lakehouse_scratch_20240101t120000_1a2b3c_`."""
    return f"{SCRATCH}{datetime.now(UTC):{_TIME}}_{uuid.uuid4().hex[:6]}_"


def drop(catalog: Catalog, prefix: str) -> list[str]:
    """Drop the scratch schemas whose names begin with `prefix`, with their tables and files. Gives their names."""
    names = [space[0] for space in catalog.list_namespaces() if space[0].startswith(prefix)]
    for name in names:
        for identifier in catalog.list_tables(name):
            try:
                catalog.purge_table(identifier)
            except (NoSuchTableError, FileNotFoundError):
                continue  # another maintenance was quicker
        try:
            catalog.drop_namespace(name)
        except NoSuchNamespaceError:
            continue
        shutil.rmtree(settings_of(catalog).warehouse_dir / name, ignore_errors=True)
    return names


def drop_old(catalog: Catalog, age: timedelta) -> list[str]:
    """Drop the scratch schemas that were begun longer ago than `age`. Gives their names."""
    limit = datetime.now(UTC) - age
    old = []
    for name, *_ in catalog.list_namespaces():
        begun = name.removeprefix(SCRATCH).partition("_")[0]
        if name.startswith(SCRATCH) and datetime.strptime(begun, _TIME).replace(tzinfo=UTC) <= limit:
            old += drop(catalog, name)
    return old
