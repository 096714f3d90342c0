"""Maintenance as a job: what `lakehouse maintain` does, by the settings, with a record of what it freed."""

# No postponed annotations here: Dagster reads them while it decorates.

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg
import pyarrow as pa

from lakehouse.defs.common import markdown_table
from lakehouse.defs.failures import failures
from lakehouse.defs.pools import BUILD_POOL
from lakehouse.defs.resources import Trino
from lakehouse.history.maintenance import Maintained, check_own, maintain
from lakehouse.leftovers import remove_leftovers


# In the pool of builds: on Trino, a compaction of a table that dbt replaces meanwhile would fail one of the two.
@dg.op(
    description="Remove leftovers and old versions of landed files, expire snapshots, compact small files.",
    pool=BUILD_POOL,
)
def maintain_tables(context: dg.OpExecutionContext, trino: Trino) -> None:
    """Maintain all tables, and record what became free. Safe beside loads, builds and publishing."""
    settings = trino.settings()
    keep, unreferenced = timedelta(days=settings.keep_days), timedelta(days=settings.unreferenced_days)
    with failures(context):
        check_own(settings)
        # First, because it needs no room on a full disk.
        leftovers = remove_leftovers(settings, unreferenced, settings.landing_versions)
        for one in leftovers:
            context.log.info(f"removed leftover {one.path} ({one.bytes:,} bytes)")
        done = maintain(settings, keep=keep, unreferenced=unreferenced)
    context.add_output_metadata(
        {
            "expired_snapshots": sum(one.expired_snapshots for one in done),
            "compacted_files": sum(one.compacted_files for one in done),
            "removed_files": sum(one.removed_files for one in done),
            "freed_bytes": sum(one.freed_bytes or 0 for one in done),
            "waiting_bytes": sum(one.waiting_bytes or 0 for one in done),
            "leftovers": len(leftovers),
            "leftover_bytes": sum(one.bytes for one in leftovers),
            "tables": dg.MetadataValue.md(by_table(done)),
        }
    )


def by_table(done: Sequence[Maintained]) -> str:
    """What was done to each table, as markdown."""
    return markdown_table(pa.Table.from_pylist([one.as_dict() for one in done])) if done else "No table has rows yet."


@dg.job(description="What `lakehouse maintain` does: frees what no snapshot, branch or tag needs any more.")
def maintenance() -> None:
    """The step alone."""
    maintain_tables()
