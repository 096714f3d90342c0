"""Versions of tables as values: the words of `--as-of`, one snapshot, and all that a table has of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from lakehouse.errors import QueryError

_SNAPSHOT = re.compile(r"(?P<table>[A-Za-z_]\w*\.[A-Za-z_]\w*)@(?P<id>\d+)")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
_REF = re.compile(r"(?!\d+$)\w[\w./-]*")


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of a table, as both engines tell it. Times are UTC; `summary` holds Iceberg's own words."""

    snapshot_id: int
    parent_id: int | None
    committed_at: datetime
    operation: str
    summary: Mapping[str, str]


@dataclass(frozen=True)
class Ref:
    """A branch or tag: a name for a snapshot."""

    name: str
    kind: str  # "branch" or "tag"
    snapshot_id: int


@dataclass(frozen=True)
class Timeline:
    """What a table's metadata says of its versions, all of it from one state of the table.

    Args:
        snapshots: those that still exist, oldest first; empty for a table without one.
        current: id of the one that a plain query reads.
        made_current: ids of those that a plain query ever read, in that order; one that came back is there again. An
            expired one is left out, and a catalog may leave out all that was before it.
        refs: branches and tags, sorted by name.
    """

    snapshots: list[Snapshot]
    current: int | None
    made_current: list[int]
    refs: list[Ref]


@dataclass(frozen=True)
class AsOf:
    """A version to read: a ref's name, a time in UTC, or one table's snapshot id."""

    kind: Literal["ref", "time", "snapshot"]
    value: str | datetime | int
    table: str | None = None


def parse_as_of(text: str) -> AsOf:
    """`published`, `2024-03-01T12:00` (UTC unless it has an offset), or `gold.fct_daily_trips@123`.

    Raises:
        QueryError: none of the three.
    """
    text = text.strip()
    if match := _SNAPSHOT.fullmatch(text):
        return AsOf("snapshot", int(match["id"]), match["table"].lower())
    if _DAY.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text)
            return AsOf("time", moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            raise QueryError(
                f"{text!r} is no day or time that exists. Write one such as 2024-03-01 or 2024-03-01T12:30:00, in UTC."
            ) from None
    if _REF.fullmatch(text):
        return AsOf("ref", text)
    raise QueryError(
        f"{text!r} is no valid version. Give a branch or tag, a time in UTC (2024-03-01T12:30:00), or one table's "
        "snapshot (raw.yellow_trips@1234567890)."
    )
