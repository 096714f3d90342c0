"""Publishing as a job: silver and gold are built and tested, and what was tested is what readers see."""

from __future__ import annotations

import dagster as dg

from lakehouse.defs.automation.jobs import DBT, SOURCE_TESTS
from lakehouse.defs.common import PUBLISHED

publish = dg.define_asset_job(
    "publish",
    selection=DBT | SOURCE_TESTS | dg.AssetSelection.assets(PUBLISHED),
    description="What `lakehouse publish` does: readers of `published` see the newest state, if all of its tests pass.",
)
