"""Every file gets its one right answer, on the target `embedded`."""

from __future__ import annotations

import pytest
from tests.brought import CASES, Brought, holds
from tests.lake import Lake


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_file_is_loaded_exactly_or_refused_with_cause_and_way_out(lake: Lake, case: Brought) -> None:
    holds(lake, case)
