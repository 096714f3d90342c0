"""The schedule of maintenance. It is on with LAKEHOUSE_AUTOMATION, or once somebody turns it on."""

from __future__ import annotations

import dagster as dg

from lakehouse.defs.automation.start import SCHEDULE_STATUS
from lakehouse.defs.maintenance.jobs import maintenance

weekly_maintenance = dg.ScheduleDefinition(
    name="weekly_maintenance",
    job=maintenance,
    cron_schedule="0 3 * * 0",
    default_status=SCHEDULE_STATUS,
    description="Frees each Sunday what no snapshot, branch or tag needs any more.",
)
