"""When an asset is late: a raw table that got no month or day for some time, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Whole


def freshness(datasets: Iterable[Dataset]) -> dg.FreshnessPolicy | None:
    """How long after its last update a table of these datasets is late; None if no dataset comes by the month or day.

    The dataset with the most frequent files counts. An asset that was never made is not late: Dagster then says that
    it does not know.
    """
    parts = [dataset.parts for dataset in datasets if not isinstance(dataset.parts, Whole)]
    if not parts:
        return None
    soonest = min(parts, key=lambda one: one.period)
    first = soonest.period + soonest.patience
    return dg.FreshnessPolicy.time_window(warn_window=first, fail_window=first + soonest.period)
