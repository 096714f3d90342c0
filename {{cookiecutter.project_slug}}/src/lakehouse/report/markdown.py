"""The report as markdown: for Dagster's metadata, and for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TypeAlias, TypeVar

from lakehouse.history.history import HistoryRow, PartRow
from lakehouse.history.tree import size
from lakehouse.report.charts import ACCEPTED
from lakehouse.report.collect import COUNTED, OPERATIONS, Facts, Quality

SHOWN = 24
LOADED = ("rows", "bytes", "sha-256", "snapshot", "loaded (UTC)")
SNAPSHOTS = ("committed (UTC)", "snapshot", "operation", "month", "added", "deleted", "rows then")
REJECTED = ("service", "month", "reason", "rows", "share")

Cells: TypeAlias = tuple[object, ...]
Row = TypeVar("Row")


def as_markdown(facts: Facts) -> str:
    """Sections with tables; the newest lines of long ones."""
    parts = [
        f"# Snapshot report\n\nMade {facts.made_at:%Y-%m-%d %H:%M} UTC on target `{facts.target}` ({facts.engine})."
    ]
    if facts.synthetic:
        parts.append("**Some months are generated, not published by the TLC. They are marked synthetic.**")
    if not facts.loaded:
        parts.append("Nothing is loaded yet: `lakehouse load yellow 2024-01`.")
        return "\n\n".join(parts)
    part = "month or day" if facts.has_days else "month"
    parts.append(
        "## Months and where they came from\n\n"
        + table(("dataset", part, *LOADED), _by(facts.loaded, "dataset", _loaded))
    )
    for found in facts.tables:
        if found.table.startswith("raw."):
            snapshots = _newest([_snapshot(s) for s in found.snapshots])
            parts.append(f"## Growth of {found.table}\n\n" + table(SNAPSHOTS, snapshots))
    if any(found.table.startswith("raw.") for found in facts.tables):
        parts.append(OPERATIONS)
    if travel := facts.travel:
        parts.append(
            f"## Before and after {travel.load}\n\n"
            + table(
                ("version", "trips"),
                [(f"`{travel.before}`", f"{travel.trips_before:,}"), (f"`{travel.after}`", f"{travel.trips_after:,}")],
            )
            + f'\n\n{COUNTED}\n\nAsk it yourself: `lakehouse sql "{travel.sql}" --as-of {travel.before}`'
        )
    if facts.quality:
        rejected = _by([q for q in facts.quality if q.reason != ACCEPTED], "service_type", _rejected)
        parts.append("## Rejected rows\n\n" + table(REJECTED, rejected))
    return "\n\n".join(parts)


def _loaded(row: PartRow) -> Cells:
    return (
        row.dataset,
        row.part + (" (synthetic)" if row.synthetic else ""),
        f"{row.rows:,}",
        size(row.bytes),
        f"`{(row.source_sha256 or 'several')[:12]}`",
        row.snapshot_id or "expired",
        f"{row.loaded_at:%Y-%m-%d %H:%M:%S}" if row.loaded_at else "",
    )


def _snapshot(row: HistoryRow) -> Cells:
    return (
        f"{row.committed_at:%Y-%m-%d %H:%M:%S}",
        f"**{row.snapshot_id}**" if row.current else row.snapshot_id,
        row.operation + (" (rolled back)" if row.rolled_back else ""),
        row.part or "",
        f"+{row.added_rows:,}",
        f"-{row.deleted_rows:,}" if row.deleted_rows else "",
        f"{row.total_rows:,}" if row.total_rows is not None else "",
    )


def _rejected(row: Quality) -> Cells:
    return (row.service_type, row.month, row.reason, f"{row.trips:,}", f"{row.share:.2%}")


def _by(rows: Iterable[Row], group: str, cells: Callable[[Row], Cells]) -> list[Cells]:
    """The newest lines of each group; rows of a group stand together, oldest first."""
    groups = groupby(rows, key=attrgetter(group))
    return [line for name, found in groups for line in _newest([cells(row) for row in found], str(name))]


def _newest(lines: list[Cells], *name: str) -> list[Cells]:
    """The last lines, below one that says how many there are before them."""
    left_out = len(lines) - SHOWN
    return [(*name, f"… and {left_out:,} older"), *lines[-SHOWN:]] if left_out > 0 else lines


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table; a row that is too short ends with empty cells."""
    filled = ([*row, *[""] * (len(head) - len(row))] for row in rows)
    lines = [head, ["---"] * len(head), *filled]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
