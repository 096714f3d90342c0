"""Bronze as assets: one Iceberg table for each dataset, a month or day of it per partition where it has them."""

# No postponed annotations here: Dagster reads them while it decorates.

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import dagster as dg
from pyiceberg.catalog import Catalog

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS, dataset_named
from lakehouse.defs.common import asset_keys, markdown_table, preview, store_kind, table_metadata
from lakehouse.defs.failures import failures
from lakehouse.defs.freshness import freshness
from lakehouse.defs.one_run import Done, all_of, file_by_file, not_landed
from lakehouse.defs.partitions import ONE_RUN, partitions_of
from lakehouse.defs.pools import table_pool
from lakehouse.defs.raw.checks import check_results, check_specs, columns_result, newest_load
from lakehouse.defs.resources import IcebergCatalog, ObjectStore, Trino
from lakehouse.errors import LakehouseError, LandingError, NotPublishedError, RefusedError
from lakehouse.iceberg.catalog import service_errors
from lakehouse.landing import Landing
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult


class LoadConfig(dg.Config):
    """How to load."""

    again: bool = False
    """Load although the table holds this very file: for a declaration that has changed."""
    allow_shrink: bool = False
    """Take a file with fewer than half of the rows it replaces, or with none."""
    allow_strays: bool = False
    """Take a file whose rows are mostly of another month or day, or whose bytes are loaded as another one."""


def load_metadata(result: LoadResult) -> dict[str, Any]:
    """What one load did. One that was not needed made no snapshot: the table's current one stands for it then."""
    made = {"snapshot_id": str(result.snapshot_id)} if result.snapshot_id else {}
    merged = asdict(result.merged) if result.merged else {}
    aside = {"set_aside": result.set_aside} if dataset_named(result.file.dataset).rejected_table else {}
    return (
        made
        | merged
        | aside
        | {
            "action": result.action,
            "dagster/partition_row_count": result.rows,
            "source_sha256": result.source_sha256,
            "unknown_columns": list(result.unknown_columns),
            "seconds": result.seconds,
        }
    )


def load_line(result: LoadResult) -> str:
    """What a load did, in one line of the log."""
    return f"{result.file.label}: {result.action}, {result.counts}, {result.made}"


def require_landed(context: dg.AssetExecutionContext, zone: Landing, file: DatasetFile) -> None:
    """Stop unless the file is landed.

    Raises:
        NotPublishedError: this run has asked the publisher, who has no such file.
        LandingError: nobody has asked yet.
    """
    if zone.find(file):
        return
    key, _ = asset_keys(dataset_named(file.dataset))
    if key in context.job_def.asset_layer.executable_asset_keys:
        raise NotPublishedError(f"{key.to_user_string()} has no file for it")
    raise LandingError(
        f"No file of {file.label} is landed, so nothing of it was loaded. "
        f"Materialize {key.to_user_string()} for {file.label} first, or both assets in one run."
    )


def raw_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset of a dataset's raw table."""
    key = dg.AssetKey(dataset.table.split("."))
    parts = dataset.parts

    spec = dg.AssetSpec(
        key,
        deps=[["landing", dataset.landing_key], "iceberg_schemas"],
        group_name=dataset.group or "bronze",
        description=(
            f"{dataset.title}: the published files, typed. Same rows, same order, one snapshot a {parts.word}; "
            f"a {parts.word} that is published again replaces the old one in one commit."
            if parts.column
            else f"{dataset.title}, typed: the whole published file, replaced in one commit when it has changed."
        ),
        partitions_def=partitions_of(dataset),
        kinds={"iceberg", "python", store_kind()},
        owners=[dataset.owner],
        # A declaration that has changed makes the asset stale: load with `again`.
        code_version=hashlib.sha256(repr(dataset).encode()).hexdigest()[:12],
        metadata={"dagster/table_name": f"iceberg.{dataset.table}"}
        | ({"partition_expr": parts.column} if parts.column else {}),
        freshness_policy=freshness([dataset]),
    )

    # Not `asset`: its checks must have a result in every run, also in one that loaded nothing and looked at nothing.
    # So checks can be run alone too. They look at the newest load then.
    @dg.multi_asset(
        name="__".join(key.path),
        specs=[spec],
        check_specs=check_specs(dataset, key),
        backfill_policy=ONE_RUN,
        can_subset=True,
        pool=table_pool(dataset.table),
    )
    def raw(
        context: dg.AssetExecutionContext,
        config: LoadConfig,
        object_store: ObjectStore,
        catalog: IcebergCatalog,
        trino: Trino,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        results: list[LoadResult] = []
        refused: dict[DatasetFile, LakehouseError] = {}
        failed = not_landed(context, asset_keys(dataset)[0])

        def one(zone: Landing, iceberg: Catalog, file: DatasetFile) -> Done:
            if file.label in failed:
                raise RefusedError(failed[file.label])
            require_landed(context, zone, file)
            result = load(
                iceberg,
                zone,
                file,
                again=config.again,
                allow_shrink=config.allow_shrink,
                allow_strays=config.allow_strays,
                run_id=context.run.run_id,
            )
            results.append(result)
            context.log.info(load_line(result))
            if result.clock:
                context.log.warning(result.clock)
            with service_errors(iceberg):
                table = iceberg.load_table(dataset.table)
                rows = preview(table, f"{parts.column} = '{file.part.first_day}'" if file.part else None)
                metadata = (
                    table_metadata(table)
                    | load_metadata(result)
                    | {"preview": dg.MetadataValue.md(markdown_table(rows))}
                )
            return Done(metadata, f"{result.source_sha256}-{spec.code_version}")

        with failures(context):
            zone, iceberg = object_store.landing(), catalog.open()
            if context.selected_asset_keys:
                done = file_by_file(context, dataset, partial(one, zone, iceberg), refused)
                if results or not refused:
                    yield done
            if context.selected_asset_check_keys:
                with trino.engine() as engine:
                    looked_at = results if context.selected_asset_keys else newest_load(engine, dataset)
                    columns = columns_result(iceberg, dataset, key, looked_at)
                    for check in (*check_results(engine, zone, dataset, key, looked_at), columns):
                        if check and dg.AssetCheckKey(key, check.check_name or "") in context.selected_asset_check_keys:
                            yield check
            if refused:
                raise RefusedError(all_of(refused))

    return raw


raw_assets = [raw_asset(dataset) for dataset in DATASETS.values()]
