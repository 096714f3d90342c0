"""The files that a table needs: data, manifests, metadata."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot


def referenced(table: Table, snapshots: Iterable[Snapshot] | None = None) -> Iterator[str]:
    """The address of every file that these snapshots (all unless given) need, and of the table's metadata.

    Reads each manifest once, however many snapshots share it.
    """
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    yield from (statistics.statistics_path for statistics in table.metadata.statistics)
    read: set[str] = set()
    for snapshot in table.snapshots() if snapshots is None else snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in read:
                continue
            read.add(manifest.manifest_path)
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path
