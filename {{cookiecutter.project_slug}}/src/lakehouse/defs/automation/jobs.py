"""Jobs that materialize assets: everything, the loads alone, dbt alone. The job `publish` is in defs/published."""

from __future__ import annotations

import dagster as dg

from lakehouse.datasets.registry import daily
from lakehouse.defs.dbt import assets as models

# One job has one set of partitions.
_DAYS = dg.AssetSelection.assets(
    *(key for dataset in daily() for key in (["landing", dataset.landing_key], dataset.table.split(".")))
)
_BRONZE = dg.AssetSelection.groups("landing", "bronze") - _DAYS
_DBT = dg.AssetSelection.groups("silver", "gold")
# dbt tests its sources too, as checks of the raw assets. Loads alone don't start dbt for them.
_SOURCE_TESTS = dg.AssetSelection.checks(
    *(key for key in models.dbt_models.check_keys if key.asset_key.path[0] == "raw")
)

lakehouse_full_pipeline = dg.define_asset_job(
    "lakehouse_full_pipeline",
    selection=_BRONZE | _DBT | dg.AssetSelection.groups("reports"),
    description="A month, or a range of months in one run: land, load, then dbt and the report once after all of them.",
)
bronze_only = dg.define_asset_job(
    "bronze_only",
    selection=_BRONZE - _SOURCE_TESTS,
    description="Land and load a month, or a range of months in one run.",
)
if daily():
    bronze_days = dg.define_asset_job(
        "bronze_days",
        selection=_DAYS - _SOURCE_TESTS,
        description="Land and load a day of the datasets that come by the day, or a range of days in one run.",
    )
dbt_only = dg.define_asset_job(
    "dbt_only",
    selection=_DBT | _SOURCE_TESTS,
    description="Silver and gold from what is loaded, with all dbt tests: the months whose bytes changed are rebuilt.",
)
