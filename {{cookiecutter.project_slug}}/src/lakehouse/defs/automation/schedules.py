"""Schedules. Those that look at sources are on with LAKEHOUSE_AUTOMATION, and a sensor loads what they find.

So is the one that tests all months.

`newest_months` and `newest_days` load by themselves, for who does without sensors: they are off until turned on.
"""

# No postponed annotations here: Dagster reads them while it decorates.

from collections.abc import Sequence

import dagster as dg

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import daily, monthly, whole
from lakehouse.defs.automation import jobs
from lakehouse.defs.automation.start import SCHEDULE_STATUS
from lakehouse.defs.partitions import DAYS, MONTHS, newest

NEWEST_MONTHS = 3
NEWEST_DAYS = 3
# Four looks a day: a file is found within six hours, and the publisher is asked little.
EVERY_SIX_HOURS = "15 */6 * * *"
_ASKS = (
    "one that is not there yet is skipped, one that was published again is loaded again, one that has not changed "
    "makes no snapshot."
)


look_every_six_hours = dg.ScheduleDefinition(
    name="look_every_six_hours",
    job=jobs.look_at_sources,
    cron_schedule=EVERY_SIX_HOURS,
    default_status=SCHEDULE_STATUS,
    description="Asks the publisher which files are new or published again. The sensor new_versions loads them.",
)
if hasattr(jobs, "look_at_days"):
    look_at_days_every_six_hours = dg.ScheduleDefinition(
        name="look_at_days_every_six_hours",
        job=jobs.look_at_days,
        cron_schedule=EVERY_SIX_HOURS,
        default_status=SCHEDULE_STATUS,
        description="The same for files of days.",
    )
weekly_tests = dg.ScheduleDefinition(
    name="weekly_tests",
    job=jobs.test_all,
    cron_schedule="0 5 * * 0",
    default_status=SCHEDULE_STATUS,
    description="Tests each Sunday all months and days, those too that have not changed.",
)


@dg.schedule(
    job=jobs.lakehouse_full_pipeline,
    cron_schedule="0 6 22 * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=f"Asks for the newest {NEWEST_MONTHS} months that can exist, and files that are whole tables: {_ASKS}",
)
def newest_months(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run over the newest months."""
    keys = newest(MONTHS, monthly(), context.scheduled_execution_time, NEWEST_MONTHS)
    reason = "No month since LAKEHOUSE_FIRST_MONTH can be published yet: each has a lag after its end."
    return _run_over(keys, [*monthly(), *whole()]) or dg.SkipReason(reason)


if daily():

    @dg.schedule(
        job=jobs.bronze_days,
        cron_schedule="0 6 * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Asks the source for the newest {NEWEST_DAYS} days: {_ASKS}",
    )
    def newest_days(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """One run over the newest days."""
        keys = newest(DAYS, daily(), context.scheduled_execution_time, NEWEST_DAYS)
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
