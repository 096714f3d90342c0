"""The landing zone as assets: one for each dataset."""

# No postponed annotations here: Dagster reads them while it decorates.

from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.defs.common import store_kind
from lakehouse.defs.failures import failures
from lakehouse.defs.one_run import file_by_file
from lakehouse.defs.partitions import ONE_RUN, partitions_of
from lakehouse.defs.resources import IcebergCatalog, ObjectStore, Publisher
from lakehouse.landing import Landed, Landing
from lakehouse.landing.land import land
from lakehouse.loading.cursor import has_cursor, since


class LandConfig(dg.Config):
    """How to land."""

    refresh: bool = False
    """Ask the publisher again for a file that is landed: published files are replaced in place at times.

    A database is always asked.
    """
    full_refresh: bool = False
    """Refresh, and extract all rows of a dataset with a cursor, not only new and changed ones."""


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


def query_metadata(zone: Landing, landed: Landed, query: Query) -> dict[str, Any]:
    """What was read from a database, and how many rows it gave."""
    with zone.local(landed) as path:
        rows = pq.read_metadata(path).num_rows
    asked = ("table", query.table) if query.table else ("query", dg.MetadataValue.md(f"```sql\n{query.sql}\n```"))
    return {"dagster/row_count": rows, "database": query.database} | dict([asked])


def landing_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset of a dataset's published files."""
    files = {"month": "the monthly files", "day": "the daily files"}.get(dataset.parts.word, "the file")
    together = f"a {dataset.parts.word}" if dataset.parts.column else "the table"

    @dg.asset(
        key=["landing", dataset.landing_key],
        group_name=dataset.group or "landing",
        description=(
            f"{dataset.title}: the rows of {dataset.source.origin}, as one file with its SHA-256."
            if dataset.source
            else f"{dataset.title}: all files of {together} as published, byte for byte in one zip file, with SHA-256."
            if dataset.bundled
            else f"{dataset.title}: {files} as published, byte for byte, with origin and SHA-256."
        ),
        partitions_def=partitions_of(dataset),
        backfill_policy=ONE_RUN,
        kinds={dataset.format.suffix, store_kind()},
        owners=[dataset.owner],
        code_version="1",
    )
    def landing(
        context: dg.AssetExecutionContext,
        config: LandConfig,
        publisher: Publisher,
        object_store: ObjectStore,
        catalog: IcebergCatalog,
    ) -> dg.MaterializeResult[None]:
        zone = object_store.landing()

        def one(file: DatasetFile) -> dict[str, Any]:
            refresh = config.refresh or config.full_refresh or dataset.source is not None
            begin = since(catalog.open(), dataset) if has_cursor(dataset) and not config.full_refresh else None
            landed = land(zone, publisher.source, file, refresh=refresh, since=begin)
            context.log.info(
                f"{landed.file.name}: {landed.size:,} bytes from {landed.origin}, sha256 {landed.sha256[:12]}"
            )
            asked = query_metadata(zone, landed, dataset.source) if dataset.source else {}
            return landed_metadata(landed) | asked

        with failures(context):
            return file_by_file(context, dataset, one)

    return landing


landing_assets = [landing_asset(dataset) for dataset in DATASETS.values()]
