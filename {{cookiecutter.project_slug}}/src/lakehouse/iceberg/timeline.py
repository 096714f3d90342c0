"""What a table's snapshot log proves: which snapshot a plain query read at a time; and whether clocks agree with it.

The log is read in its own order, that of the commits. Times are what each writer's clock said.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot, SnapshotLogEntry
from pyiceberg.table.update import AddSnapshotUpdate, TableUpdate

from lakehouse.errors import QueryError
from lakehouse.iceberg import versions

EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
# Clocks that are set by the network differ by less.
SKEW = timedelta(minutes=1)


def timeline_of(table: Table) -> versions.Timeline:
    """What this handle's metadata says of the table's versions."""
    metadata = table.metadata
    return versions.Timeline(
        snapshots=_snapshots(metadata),
        current=metadata.current_snapshot_id,
        made_current=[entry.snapshot_id for entry in metadata.snapshot_log],
        refs=[
            versions.Ref(name, ref.snapshot_ref_type.value, ref.snapshot_id)
            for name, ref in sorted(metadata.refs.items())
        ],
    )


def _snapshots(metadata: TableMetadata) -> list[versions.Snapshot]:
    """Oldest first: in the order of their commits, whatever their clocks said."""
    return [
        versions.Snapshot(
            snapshot_id=s.snapshot_id,
            parent_id=s.parent_snapshot_id,
            committed_at=EPOCH + s.timestamp_ms * MILLISECOND,
            operation=s.summary.operation.value if s.summary else "",
            summary=dict(s.summary.additional_properties) if s.summary else {},
        )
        for s in sorted(metadata.snapshots, key=lambda s: (s.sequence_number or 0, s.timestamp_ms))
    ]


def current_at(table: Table, moment: datetime) -> int:
    """The snapshot that a plain query read at `moment`.

    Raises:
        QueryError: there was none, it has expired, or the log's times contradict each other; names what exists.
    """
    name, log = ".".join(table.name()), table.history()
    if warning := skew(table):
        logging.getLogger(__name__).warning("%s.", warning)
    at = (moment - EPOCH) // MILLISECOND
    past = sum(entry.timestamp_ms <= at for entry in log)
    if wrong := [entry for entry in log[:past] if entry.timestamp_ms > at]:
        early = next(entry for entry in log[past:] if entry.timestamp_ms <= at)
        raise QueryError(
            f"{name} has no certain state at {moment.isoformat()}, because the clocks of the machines that wrote it "
            f"disagree: {_described(table, wrong[0])}, was committed before {_described(table, early)}. {_ask(table)}"
        )
    if not past:
        if not log:
            raise QueryError(
                f"{name} had no snapshot at {moment.isoformat()}, and has none yet: load or build the table first."
            )
        first = table.snapshot_by_id(log[0].snapshot_id)
        if first is not None and first.sequence_number == 1:
            raise QueryError(
                f"{name} had no snapshot at {moment.isoformat()}. Its history begins at {_iso(log[0].timestamp_ms)}. "
                "Ask for that time or a later one."
            )
        raise _expired(table, moment, log[:1])
    known, nearest = log[past - 1], log[past - 1 : past + 1]
    exact = known.timestamp_ms == at or past == len(log)
    if table.snapshot_by_id(known.snapshot_id) is None or not (exact or _follows(table, log, past)):
        raise _expired(table, moment, nearest)
    return known.snapshot_id


def _follows(table: Table, log: Sequence[SnapshotLogEntry], position: int) -> bool:
    """Whether no other snapshot can have been current between the entry at `position` and the one before it.

    Expiry takes entries out of the log. The REST catalog then drops all that came before them, so what is left has no
    gap; PyIceberg leaves one.
    """
    if not isinstance(table.catalog, SqlCatalog):
        return True
    committed = [_committed(table, log, i) for i in range(len(log))]
    snapshot = committed[position]
    if snapshot is not None and snapshot.parent_snapshot_id == log[position - 1].snapshot_id:
        return True
    # Whatever has a lower number than the next commit may have been current here: a rollback can bring back any.
    following = (s.sequence_number for s in committed[position:] if s is not None and s.sequence_number)
    limit = next(following, _last_number(table.metadata) + 1)
    return set(range(1, limit)) <= {s.sequence_number for s in table.metadata.snapshots}


def _last_number(metadata: TableMetadata) -> int:
    return getattr(metadata, "last_sequence_number", 0)  # tables of format version 1 count none


def _committed(table: Table, log: Sequence[SnapshotLogEntry], position: int) -> Snapshot | None:
    """The snapshot that this entry brought; None where it made an older one current again."""
    entry = log[position]
    snapshot = table.snapshot_by_id(entry.snapshot_id)
    again = any(earlier.snapshot_id == entry.snapshot_id for earlier in log[:position])
    return snapshot if snapshot and snapshot.timestamp_ms == entry.timestamp_ms and not again else None


def _expired(table: Table, moment: datetime, nearest: Sequence[SnapshotLogEntry]) -> QueryError:
    existing = [entry for entry in nearest if table.snapshot_by_id(entry.snapshot_id)]
    return QueryError(
        f"The state of {'.'.join(table.name())} at {moment.isoformat()} has expired. The nearest that exist: "
        f"{'; '.join(_described(table, entry) for entry in existing) or 'none'}. {_ask(table)}"
    )


def _described(table: Table, entry: SnapshotLogEntry) -> str:
    """`snapshot 12 (audited), current from 2024-03-01T12:00:00.000+00:00`."""
    names = sorted(n for n, ref in table.metadata.refs.items() if ref.snapshot_id == entry.snapshot_id and n != "main")
    named = f" ({', '.join(names)})" if names else ""
    return f"snapshot {entry.snapshot_id}{named}, current from {_iso(entry.timestamp_ms)}"


def _ask(table: Table) -> str:
    name = ".".join(table.name())
    return f"Ask for a snapshot by its id ({name}@ID) or tag; `lakehouse history {name}` lists them."


def _iso(milliseconds: int) -> str:
    return (EPOCH + milliseconds * MILLISECOND).isoformat(timespec="milliseconds")


def stamped(metadata: TableMetadata, updates: tuple[TableUpdate, ...]) -> tuple[TableUpdate, ...]:
    """These updates, with no snapshot stamped earlier than, or the same as, the last entry of the log.

    A writer whose clock is behind would else hide its commit from every question by time.
    """
    if not metadata.snapshot_log:
        return updates
    least = metadata.snapshot_log[-1].timestamp_ms + 1
    return tuple(
        AddSnapshotUpdate(snapshot=update.snapshot.model_copy(update={"timestamp_ms": least}))
        if isinstance(update, AddSnapshotUpdate) and update.snapshot.timestamp_ms < least
        else update
        for update in updates
    )


def skew(table: Table) -> str | None:
    """A warning where the table's newest entry is more than a minute ahead of this machine's clock."""
    log = table.history()
    ahead = timedelta(milliseconds=max((entry.timestamp_ms for entry in log), default=0) - int(time.time() * 1000))
    if ahead <= SKEW:
        return None
    return (
        f"the newest commit of {'.'.join(table.name())} has a time that is {ahead - ahead % timedelta(seconds=1)} "
        "ahead of this machine's clock: this clock is wrong, or the clock of the machine that committed was. No rows "
        "are lost. Until that time has come, ask for new versions by snapshot or tag, not by time"
    )
