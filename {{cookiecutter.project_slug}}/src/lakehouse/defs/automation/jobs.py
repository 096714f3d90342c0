"""Jobs that materialize assets: everything, the loads alone, dbt alone. The job `publish` is in defs/published."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Daily
from lakehouse.datasets.registry import DATASETS, daily, monthly, whole
from lakehouse.defs.common import asset_keys, source_key
from lakehouse.defs.dbt import assets as models
from lakehouse.defs.raw.newest import newest_key
from lakehouse.defs.source.observed import observable


def _assets_of(datasets: Sequence[Dataset]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(key for dataset in datasets for key in asset_keys(dataset)))


# One job has one set of partitions; assets without partitions fit into each. A dataset may be in a group of its own, so
# its assets are selected by their keys.
# Whether the newest month is there is asked when sources are looked at: a run of an old month does not know it.
_NEWEST = dg.AssetSelection.checks(*(newest_key(dataset) for dataset in (*monthly(), *daily())))
_MONTHS, _DAYS, _WHOLE = (_assets_of(datasets) - _NEWEST for datasets in (monthly(), daily(), whole()))
_BRONZE = (dg.AssetSelection.groups("landing", "bronze") | _MONTHS | _WHOLE) - _DAYS - _NEWEST
DBT = dg.AssetSelection.groups("silver", "gold") - _assets_of([*DATASETS.values()])
# dbt tests its sources too, as checks of the raw assets. Loads alone don't start dbt for them.
SOURCE_TESTS = dg.AssetSelection.checks(
    *(key for key in models.dbt_models.check_keys if key.asset_key.path[0] == "raw")
)

lakehouse_full_pipeline = dg.define_asset_job(
    "lakehouse_full_pipeline",
    selection=_BRONZE | DBT | (dg.AssetSelection.groups("reports") - _DAYS),
    description="A month, or a range of months in one run: land, load, then dbt and the report once after all of them.",
)
bronze_only = dg.define_asset_job(
    "bronze_only",
    selection=_BRONZE - SOURCE_TESTS,
    description="Land and load a month, or a range of months in one run.",
)
if monthly():
    bronze_months = dg.define_asset_job(
        "bronze_months",
        selection=_MONTHS - SOURCE_TESTS,
        description="Land and load a month of the datasets that come by the month, or a range of months in one run.",
    )
if daily():
    bronze_days = dg.define_asset_job(
        "bronze_days",
        selection=_DAYS - SOURCE_TESTS,
        description="Land and load a day of the datasets that come by the day, or a range of days in one run.",
    )
if whole():
    bronze_whole = dg.define_asset_job(
        "bronze_whole",
        selection=_WHOLE - SOURCE_TESTS,
        description="Land and load the datasets whose file is the whole table.",
    )
dbt_only = dg.define_asset_job(
    "dbt_only",
    selection=DBT | SOURCE_TESTS,
    description="Silver and gold from what is loaded, with all dbt tests: the months whose bytes changed are rebuilt.",
)
test_all = dg.define_asset_job(
    "test_all",
    selection=DBT | SOURCE_TESTS,
    tags={models.ALL_PARTS: "true"},
    description="As dbt_only, but the tests that look at each month or day alone look at all of them, not only at those"
    " that changed.",
)


def _look(name: str, datasets: Sequence[Dataset]) -> UnresolvedAssetJobDefinition:
    newest = [newest_key(dataset) for dataset in datasets if dataset.parts.column]
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*map(source_key, datasets)) | dg.AssetSelection.checks(*newest),
        description="Ask the publisher which files it has, and in which versions; check that the newest ones are "
        "loaded. Loads nothing.",
    )


look_at_sources = _look("look_at_sources", [one for one in observable() if not isinstance(one.parts, Daily)])
if any(isinstance(one.parts, Daily) for one in observable()):
    look_at_days = _look("look_at_days", [one for one in observable() if isinstance(one.parts, Daily)])
