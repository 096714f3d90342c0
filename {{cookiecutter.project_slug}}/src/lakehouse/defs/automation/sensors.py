"""The sensor of new files, off until somebody turns it on."""

# No postponed annotations here: Dagster reads them while it decorates.

import dagster as dg

from lakehouse.defs.automation import jobs
from lakehouse.defs.automation.new_files import JOBS, tick
from lakehouse.defs.resources import ObjectStore, Publisher

SECONDS = 30


@dg.sensor(
    jobs=[vars(jobs)[name] for name in JOBS.values() if name in vars(jobs)],
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Watches the folder or bucket of TLC_SOURCE: loads a file that is new or changed, and whole.",
)
def new_files(
    context: dg.SensorEvaluationContext, publisher: Publisher, object_store: ObjectStore
) -> dg.SensorResult | dg.SkipReason:
    """Ask for the runs that load what is new."""
    return tick(context, publisher.source, object_store.landing())
