"""The one partition set that all monthly assets share: assets with different partitions can't be in one job."""

from __future__ import annotations

import dagster as dg

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import is_monthly
from lakehouse.settings import load_settings

MONTHS = dg.MonthlyPartitionsDefinition(start_date=load_settings().first_month.first_day.isoformat())
# On every asset, those without partitions too: one without it would cut a range of months into a run each.
ONE_RUN = dg.BackfillPolicy.single_run()


def partitions_of(dataset: Dataset) -> dg.MonthlyPartitionsDefinition | None:
    """The partitions of a dataset's assets: months, or none where a file is the whole table."""
    return MONTHS if is_monthly(dataset) else None


def partition_key(month: Month) -> str:
    """Dagster's name for a month: its first day, `2024-01-01`."""
    return month.first_day.isoformat()
