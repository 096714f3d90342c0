"""PyIceberg's transaction and overwrite, without what makes each commit dearer than the one before it."""

from __future__ import annotations

from collections.abc import Mapping

from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _OverwriteFiles

MAIN = "main"


def begin(table: Table) -> Transaction:
    """A transaction on this state of the table."""
    return _Transaction(table)


def overwrite(transaction: Transaction, summary: Mapping[str, str]) -> _OverwriteFiles:
    """One snapshot on the branch `main`: name the files that go and those that come, inside a `with`."""
    metadata = transaction.table_metadata
    return _Overwrite(
        operation=Operation.APPEND if metadata.snapshot_by_name(MAIN) is None else Operation.OVERWRITE,
        transaction=transaction,
        io=transaction._table.io,  # noqa: SLF001 - as PyIceberg's own `update_snapshot`
        branch=MAIN,
        snapshot_properties=dict(summary),
    )


class _Transaction(Transaction):
    @property
    def table_metadata(self) -> TableMetadata:
        """The table's metadata with what is staged.

        PyIceberg copies all of it, with all snapshots, each time that it is asked: twenty times in a commit.
        """
        return super().table_metadata if self._updates else self._table.metadata


class _Overwrite(_OverwriteFiles):
    def _existing_manifests(self) -> list[ManifestFile]:
        """The manifests of the state before that stay.

        PyIceberg would keep those that only say which files went. No reader needs them, and each replaced month or day
        leaves one.
        """
        kept = super()._existing_manifests()
        return [manifest for manifest in kept if manifest.has_added_files() or manifest.has_existing_files()]
