"""The schedules, off until somebody turns them on."""

# No postponed annotations here: Dagster reads them while it decorates.

from collections.abc import Sequence

import dagster as dg

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import daily, monthly
from lakehouse.defs.automation import jobs
from lakehouse.defs.partitions import DAYS, MONTHS

# The TLC publishes a month some 50 days after it has ended, at times 60.
NEWEST_MONTHS = 3
NEWEST_DAYS = 3
_ASKS = (
    "one that is not there yet is skipped, one that was published again is loaded again, one that has not changed "
    "makes no snapshot."
)


@dg.schedule(
    job=jobs.lakehouse_full_pipeline,
    cron_schedule="0 6 22 * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=f"Asks the publisher for the newest {NEWEST_MONTHS} months: {_ASKS}",
)
def newest_months(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run over the newest months."""
    keys = MONTHS.get_partition_keys(current_time=context.scheduled_execution_time)[-NEWEST_MONTHS:]
    return _run_over(keys, monthly()) or dg.SkipReason("No month since LAKEHOUSE_FIRST_MONTH has ended yet.")


if daily():

    @dg.schedule(
        job=jobs.bronze_days,
        cron_schedule="0 6 * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Asks the source for the newest {NEWEST_DAYS} days: {_ASKS}",
    )
    def newest_days(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """One run over the newest days."""
        keys = DAYS.get_partition_keys(current_time=context.scheduled_execution_time)[-NEWEST_DAYS:]
        return _run_over(keys, daily()) or dg.SkipReason("No day of a daily dataset has ended yet.")


def _run_over(keys: Sequence[str], datasets: Sequence[Dataset]) -> dg.RunRequest | None:
    """One run over these partitions, in which these datasets ask for what they have landed already; None over none."""
    if not keys:
        return None
    refresh = {"config": {"refresh": True}}
    return dg.RunRequest(
        run_key=keys[-1],
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
        run_config={"ops": {f"landing__{d.landing_key}": refresh for d in datasets}},
    )
