"""Models that are merged by key, on Trino: the same rows, counts and refusals as on `embedded`, one snapshot each."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.dbt.merging import Customers, check_a_merged_model
from tests.integration.lake import Lake


def test_a_model_is_merged_by_key(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    customers = Customers(lake, tmp_path)
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(customers.root))

    check_a_merged_model(customers)
