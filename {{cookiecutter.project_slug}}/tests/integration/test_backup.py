"""Backup and restore on the services: into an empty catalog and bucket, every table at every snapshot compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.lake import GREEN, Lake

from lakehouse.history.backup import backup, restore
from lakehouse.iceberg.catalog import table_names
from lakehouse.iceberg.identity import in_catalog
from lakehouse.iceberg.refs import tag


def contents(lake: Lake) -> dict[str, Any]:
    """Every table at every snapshot, with its names, and the landed files."""
    found: dict[str, Any] = {}
    for name in table_names(lake.catalog):
        table = lake.catalog.load_table(name)
        found[name] = (table.metadata.table_uuid, table.metadata.current_snapshot_id, dict(table.metadata.refs))
        for snapshot in table.snapshots():
            rows = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow().to_pylist()
            found[f"{name}@{snapshot.snapshot_id}"] = sorted(map(repr, rows))
    found["landed"] = [(one.file.key, one.sha256, one.origin) for one in lake.landing.listing()]
    found["identity"] = in_catalog(lake.catalog)
    return found


def lose_everything(lake: Lake) -> None:
    """Catalog and bucket are empty, as on a new stack."""
    lake.empty()
    for namespace in lake.catalog.list_namespaces():
        lake.catalog.drop_namespace(namespace)
    for key in (*lake.keys("iceberg/"), *lake.keys("raw_data/")):
        lake.s3.delete_object(Bucket=lake.settings.s3_bucket, Key=key)
    assert lake.catalog.list_namespaces() == []


def test_a_restored_stack_answers_at_every_snapshot_as_before(lake: Lake, tmp_path: Path) -> None:
    lake.load("zones", None)
    lake.load("green", "2023-01", 300)
    lake.load("green", "2023-01", 301, seed=1)
    lake.load("green", "2023-02", 200)
    tag(lake.catalog, GREEN, "kept", lake.catalog.load_table(GREEN).snapshots()[0].snapshot_id)
    before = contents(lake)

    made = backup(lake.settings, tmp_path / "backup")
    lose_everything(lake)
    restore(lake.settings, tmp_path / "backup")

    assert contents(lake) == before
    assert sum("@" in name for name in before) == made.snapshots == 4
    lake.load("green", "2023-03", 10)  # it goes on, as the same lakehouse
    assert lake.scan(GREEN).num_rows == 511
