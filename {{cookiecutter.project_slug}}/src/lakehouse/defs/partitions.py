"""Partition sets: months, and days. Assets with different ones can't be in one job, so each set has its own jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Daily, Monthly, Part, Whole
from lakehouse.datasets.registry import daily
from lakehouse.settings import load_settings


def _first_day() -> str:
    """The first of all days: that of the earliest daily dataset, but none before LAKEHOUSE_FIRST_MONTH."""
    first = load_settings().first_month.first_day
    return max(min((dataset.first_part.first_day for dataset in daily()), default=first), first).isoformat()


# Shared by all monthly assets, and by all daily ones.
MONTHS = dg.MonthlyPartitionsDefinition(start_date=load_settings().first_month.first_day.isoformat())
DAYS = dg.DailyPartitionsDefinition(start_date=_first_day())
# One asset of a job without it would cut a range of months into a run each. An asset with partitions says it itself;
# one without gets it in definitions.py.
ONE_RUN = dg.BackfillPolicy.single_run()


def partitions_of(dataset: Dataset) -> dg.PartitionsDefinition[str] | None:
    """The partitions of a dataset's assets: months, days, or none where a file is the whole table."""
    match dataset.parts:
        case Monthly():
            return MONTHS
        case Daily():
            return DAYS
        case _:
            return None


def partition_key(part: Part) -> str:
    """Dagster's name for a month or day: its first day, `2024-01-01`."""
    return part.first_day.isoformat()


def newest(
    partitions: dg.TimeWindowPartitionsDefinition, datasets: Sequence[Dataset], now: datetime, count: int
) -> list[str]:
    """The keys of the newest months or days that one of these datasets may have at the time `now`; at most `count`."""
    days = [now - dataset.parts.lag for dataset in datasets if not isinstance(dataset.parts, Whole)]
    return list(partitions.get_partition_keys(current_time=max(days)))[-count:] if days else []
