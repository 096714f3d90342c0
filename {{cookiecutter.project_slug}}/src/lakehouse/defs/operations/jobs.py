"""The jobs: everything, the loads alone, dbt alone."""

from __future__ import annotations

import dagster as dg

from lakehouse.defs.months import MONTHS

_BRONZE = dg.AssetSelection.groups("landing", "bronze")
_DBT = dg.AssetSelection.groups("silver", "gold")

lakehouse_full_pipeline = dg.define_asset_job(
    "lakehouse_full_pipeline",
    selection=_BRONZE | _DBT | dg.AssetSelection.groups("reports"),
    partitions_def=MONTHS,
    description="A month, or a range of months in one run: land, load, then dbt and the report once after all of them.",
)
bronze_only = dg.define_asset_job(
    "bronze_only",
    selection=_BRONZE,
    partitions_def=MONTHS,
    description="Land and load a month, or a range of months in one run.",
)
dbt_only = dg.define_asset_job(
    "dbt_only",
    selection=_DBT,
    description="Silver and gold from what is loaded, with all dbt tests: the months whose bytes changed are rebuilt.",
)
