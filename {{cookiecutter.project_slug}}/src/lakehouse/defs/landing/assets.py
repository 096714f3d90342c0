"""The landing zone as assets: one for each dataset."""

# No postponed annotations here: Dagster reads them while it decorates.

from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
from dagster._core.definitions.data_version import DATA_VERSION_TAG, INPUT_EVENT_POINTER_TAG_PREFIX

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.defs.common import asset_keys, source_key, store_kind
from lakehouse.defs.failures import failures
from lakehouse.defs.one_run import Done, all_of, file_by_file, files_of_run, input_tags, tell_not_landed
from lakehouse.defs.partitions import ONE_RUN, partition_key, partitions_of
from lakehouse.defs.resources import IcebergCatalog, ObjectStore, Publisher
from lakehouse.defs.source.observed import newest
from lakehouse.errors import LakehouseError, SourceError
from lakehouse.landing import Landed, Landing
from lakehouse.landing.land import land, notice_of_generated
from lakehouse.landing.record import is_generated
from lakehouse.loading.cursor import has_cursor, since
from lakehouse.sources.versions import is_site, version_of, versions


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


def source_inputs(
    context: dg.AssetExecutionContext, dataset: Dataset, landed: Landed, version: str | None, *, is_asked: bool
) -> dict[str, str]:
    """Which observation of the source the landed file is. A version that nobody has observed yet is recorded as one.

    So a month is out of date once the source has another version than the one that is landed, and not before. A file
    that was landed already, and for which the source was not asked, is what it was.
    """
    key, partition = source_key(dataset), partition_key(landed.file.part) if landed.file.part else None
    if not is_asked:
        record = context.instance.get_latest_data_version_record(context.asset_key, False, partition)
        before_tags = (record.event_log_entry.tags if record else None) or {}
        pointer = f"{INPUT_EVENT_POINTER_TAG_PREFIX}/{key.to_user_string()}"
        return {pointer: before_tags[pointer]} if pointer in before_tags else {}
    version = version or version_of(landed.etag, landed.last_modified, landed.sha256)
    known = newest(context.instance, dataset, partition)
    if known is None or known.version != version:
        context.log_event(dg.AssetObservation(key, partition=partition, tags={DATA_VERSION_TAG: version}))
    return input_tags(context.instance, key, partition)


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
        deps=[] if dataset.source else [source_key(dataset)],
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
        refresh = config.refresh or config.full_refresh or dataset.source is not None

        @cache
        def before() -> Mapping[DatasetFile, str | None]:
            """The versions in a folder before a file is copied; a site says the version with the file."""
            if dataset.source or is_site(publisher.source):
                return {}
            try:
                return dict(versions(publisher.source, files_of_run(context, dataset)))
            except SourceError:
                return {}  # `land` asks the same folder, and says what is wrong with it

        def one(file: DatasetFile) -> Done:
            is_asked = refresh or (found := zone.find(file)) is None or is_generated(found)
            version = before().get(file) if is_asked else None
            begin = since(catalog.open(), dataset) if has_cursor(dataset) and not config.full_refresh else None
            kept: list[Landed] = []
            landed = land(zone, publisher.source, file, refresh=refresh, when_unreachable=kept.append, since=begin)
            if notice := notice_of_generated(landed, unreachable=bool(kept)):
                context.log.warning(notice)
            context.log.info(
                f"{landed.file.name}: {landed.size:,} bytes from {landed.origin}, sha256 {landed.sha256[:12]}"
            )
            asked = query_metadata(zone, landed, dataset.source) if dataset.source else {}
            inputs = {} if dataset.source else source_inputs(context, dataset, landed, version, is_asked=is_asked)
            return Done(landed_metadata(landed) | asked, landed.sha256, inputs)

        with failures(context):
            refused: dict[DatasetFile, LakehouseError] = {}
            done = file_by_file(context, dataset, one, refused)
            loads = asset_keys(dataset)[1] in context.job_def.asset_layer.executable_asset_keys
            if refused and (not loads or len(refused) == len(files_of_run(context, dataset))):
                raise SourceError(all_of(refused))
            # A step that fails keeps the next one from the files that are landed. So that one fails, with these words.
            tell_not_landed(context, refused)
            return done

    return landing


landing_assets = [landing_asset(dataset) for dataset in DATASETS.values()]
