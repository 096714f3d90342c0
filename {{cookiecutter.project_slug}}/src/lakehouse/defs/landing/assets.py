"""The landing zone as assets: one per dataset, and the zone lookup."""

# No postponed annotations here: Dagster reads them while it decorates.

from typing import Any

import dagster as dg

from lakehouse.datasets.file import ZONES_FILE, DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.defs.common import OWNERS, month_metadata, store_kind
from lakehouse.defs.failures import failures
from lakehouse.defs.months import MONTHS, ONE_RUN
from lakehouse.defs.partitions import month_by_month
from lakehouse.defs.resources import ObjectStore, Publisher
from lakehouse.landing import Landed
from lakehouse.landing.land import land


class LandConfig(dg.Config):
    """How to land."""

    refresh: bool = False
    """Ask the publisher again for a file that is landed: published files are replaced in place at times."""


def landed_metadata(landed: Landed) -> dict[str, Any]:
    """What is worth knowing of a landed file."""
    origin = dg.MetadataValue.url(landed.origin) if landed.origin.startswith("http") else landed.origin
    return {
        "file": landed.file.name,
        "bytes": landed.size,
        "sha256": landed.sha256,
        "origin": origin,
        "landed_at": dg.MetadataValue.timestamp(landed.landed_at),
        "dagster/uri": landed.uri,
    }


def landing_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset of a dataset's published files."""

    @dg.asset(
        key=["landing", dataset.landing_key],
        group_name="landing",
        description=f"{dataset.title}: the monthly files as published, byte for byte, with origin and SHA-256.",
        partitions_def=MONTHS,
        backfill_policy=ONE_RUN,
        kinds={"parquet", store_kind()},
        owners=OWNERS,
        code_version="1",
    )
    def landing(
        context: dg.AssetExecutionContext, config: LandConfig, publisher: Publisher, object_store: ObjectStore
    ) -> dg.MaterializeResult[None]:
        zone = object_store.landing()

        def one(month: Month) -> dict[str, Any]:
            landed = land(zone, publisher.source, DatasetFile(dataset.name, month), refresh=config.refresh)
            context.log.info(
                f"{landed.file.name}: {landed.size:,} bytes from {landed.origin}, sha256 {landed.sha256[:12]}"
            )
            return landed_metadata(landed) | month_metadata(month)

        with failures(context):
            return month_by_month(context, one)

    return landing


landing_assets = [landing_asset(dataset) for dataset in DATASETS.values()]


@dg.asset(
    key=["landing", "taxi_zones"],
    group_name="landing",
    description="The zone lookup as published: a CSV file, replaced in place when the TLC changes a name.",
    kinds={"csv", store_kind()},
    backfill_policy=ONE_RUN,
    owners=OWNERS,
    code_version="1",
)
def landing_zones(
    context: dg.AssetExecutionContext, config: LandConfig, publisher: Publisher, object_store: ObjectStore
) -> dg.MaterializeResult[None]:
    """Land the zone lookup."""
    with failures(context):
        landed = land(object_store.landing(), publisher.source, ZONES_FILE, refresh=config.refresh)
    context.log.info(f"{landed.file.name}: {landed.size:,} bytes from {landed.origin}, sha256 {landed.sha256[:12]}")
    return dg.MaterializeResult(metadata=landed_metadata(landed))
