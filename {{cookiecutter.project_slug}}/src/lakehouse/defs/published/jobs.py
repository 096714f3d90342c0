"""Publishing as a job: one step, since what is shown must be what the same step has built and tested."""

# No postponed annotations here: Dagster reads them while it decorates.

import dagster as dg

from lakehouse.defs.failures import failures
from lakehouse.defs.pools import BUILD_POOL
from lakehouse.defs.resources import Trino
from lakehouse.history.publish import publish as build_and_publish


@dg.op(description="Build, test, and move the ref `published` of every table to what was tested.", pool=BUILD_POOL)
def publish_tables(context: dg.OpExecutionContext, trino: Trino) -> None:
    """Publish, and record which snapshot of each table readers see now."""
    with failures(context):
        done = build_and_publish(trino.settings(), wait=True)
    context.log.info(f"published {len(done.snapshots)} tables as {done.name}")
    context.add_output_metadata(
        {
            "name": done.name,
            "published_at": done.at,
            # as text: they are longer than a number in a browser may be
            "snapshots": dg.MetadataValue.json({table: str(snapshot) for table, snapshot in done.snapshots.items()}),
        }
    )


@dg.job(
    description="What `lakehouse publish` does: readers of `published` see the newest state, if all of its tests pass."
)
def publish() -> None:
    """The step alone."""
    publish_tables()
