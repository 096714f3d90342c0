"""The schedule, off until somebody turns it on."""

# No postponed annotations here: Dagster reads them while it decorates.

import dagster as dg

from lakehouse.datasets.registry import monthly
from lakehouse.defs.automation.jobs import lakehouse_full_pipeline
from lakehouse.defs.partitions import MONTHS

# The TLC publishes a month some 50 days after it has ended, at times 60.
NEWEST_MONTHS = 3


@dg.schedule(
    job=lakehouse_full_pipeline,
    cron_schedule="0 6 22 * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        f"Asks the publisher for the newest {NEWEST_MONTHS} months: one that is not there yet is skipped, "
        "one that was published again is loaded again, one that has not changed makes no snapshot."
    ),
)
def newest_months(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run over the newest months."""
    keys = MONTHS.get_partition_keys(current_time=context.scheduled_execution_time)[-NEWEST_MONTHS:]
    if not keys:
        return dg.SkipReason("No month since LAKEHOUSE_FIRST_MONTH has ended yet.")
    refresh = {"config": {"refresh": True}}
    return dg.RunRequest(
        run_key=keys[-1],
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
        run_config={"ops": {f"landing__{d.landing_key}": refresh for d in monthly()}},
    )
