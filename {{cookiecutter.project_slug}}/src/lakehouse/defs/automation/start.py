"""Whether schedules and sensors start by themselves: the setting LAKEHOUSE_AUTOMATION decides.

Dagster remembers what somebody turned on or off in the page, and then this no longer counts.
"""

from __future__ import annotations

import dagster as dg

from lakehouse.settings import load_settings

_ON = load_settings().automation
SCHEDULE_STATUS = dg.DefaultScheduleStatus.RUNNING if _ON else dg.DefaultScheduleStatus.STOPPED
SENSOR_STATUS = dg.DefaultSensorStatus.RUNNING if _ON else dg.DefaultSensorStatus.STOPPED
