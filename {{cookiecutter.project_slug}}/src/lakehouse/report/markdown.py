"""The report as markdown: for Dagster's metadata, and for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lakehouse.iceberg.tree import size
from lakehouse.report.charts import ACCEPTED
from lakehouse.report.collect import Facts

SHOWN = 24


def as_markdown(facts: Facts) -> str:
    """Sections with tables; the newest lines of long ones."""
    parts = [
        f"# Snapshot report\n\nMade {facts.made_at:%Y-%m-%d %H:%M} UTC on target `{facts.target}` ({facts.engine})."
    ]
    if facts.synthetic:
        parts.append("**Some months are generated, not published by the TLC. They are marked synthetic.**")
    if not facts.months:
        parts.append("Nothing is loaded yet: `lakehouse load yellow 2024-01`.")
        return "\n\n".join(parts)
    months = (
        (
            m.dataset,
            m.month + (" (synthetic)" if m.synthetic else ""),
            f"{m.rows:,}",
            size(m.bytes),
            f"`{(m.source_sha256 or 'several')[:12]}`",
            m.snapshot_id or "expired",
            f"{m.loaded_at:%Y-%m-%d %H:%M:%S}" if m.loaded_at else "",
        )
        for m in facts.months[-SHOWN:]
    )
    head = ("dataset", "month", "rows", "bytes", "sha-256", "snapshot", "loaded (UTC)")
    parts.append("## Months and where they came from\n\n" + table(head, months))
    for found in facts.tables:
        if not found.table.startswith("raw."):
            continue
        snapshots = (
            (
                f"{s.committed_at:%Y-%m-%d %H:%M:%S}",
                f"**{s.snapshot_id}**" if s.current else s.snapshot_id,
                s.operation,
                s.file_month or "",
                f"+{s.added_rows:,}",
                f"-{s.deleted_rows:,}" if s.deleted_rows else "",
                f"{s.total_rows:,}" if s.total_rows is not None else "",
            )
            for s in found.snapshots[-SHOWN:]
        )
        head = ("committed (UTC)", "snapshot", "operation", "month", "added", "deleted", "rows then")
        parts.append(f"## Growth of {found.table}\n\n" + table(head, snapshots))
    if travel := facts.travel:
        parts.append(
            f"## Before and after {travel.load}\n\n"
            + table(
                ("version", "trips"),
                [(f"`{travel.before}`", f"{travel.trips_before:,}"), (f"`{travel.after}`", f"{travel.trips_after:,}")],
            )
            + f'\n\nAsk it yourself: `lakehouse sql "{travel.sql}" --as-of {travel.before}`'
        )
    if facts.quality:
        rejected = (
            (q.service_type, q.month, q.reason, f"{q.trips:,}", f"{q.share:.2%}")
            for q in facts.quality
            if q.reason != ACCEPTED
        )
        parts.append("## Rejected rows\n\n" + table(("service", "month", "reason", "rows", "share"), rejected))
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
