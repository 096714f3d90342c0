"""Every file gets its one right answer, on the target `embedded`."""

from __future__ import annotations

import pytest
from tests.brought import CASES, Brought, holds
from tests.lake import Lake
from tests.unit.test_generate import ERAS

from lakehouse.datasets.months import Month


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_file_is_loaded_exactly_or_refused_with_cause_and_way_out(lake: Lake, case: Brought) -> None:
    holds(lake, case)


@pytest.mark.parametrize(("dataset", "month"), ERAS, ids=str)
def test_a_generated_month_of_every_era_is_loaded_with_equal_values(lake: Lake, dataset: str, month: Month) -> None:
    holds(lake, Brought(f"{dataset} of {month}", dataset=dataset, month=str(month)))
