"""One run over the files of a dataset: each its own work and metadata; a month that was never published is skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import is_monthly
from lakehouse.errors import NotPublishedError

Metadata = Mapping[str, Any]


def file_by_file(
    context: dg.AssetExecutionContext, dataset: Dataset, work: Callable[[DatasetFile], Metadata]
) -> dg.MaterializeResult[None]:
    """Do `work` for every file of the run, in the months' order; what it returns is that file's metadata.

    A month for which `work` raises NotPublishedError is skipped: a warning says so, and no materialization is recorded.
    """
    if not is_monthly(dataset):
        return dg.MaterializeResult(metadata=work(DatasetFile(dataset.name)))
    done: dict[str, Metadata] = {}
    skipped = []
    for key in context.partition_keys:
        try:
            month = Month.parse(key)
            done[key] = {"month": str(month), **work(DatasetFile(dataset.name, month))}
        except NotPublishedError as answer:
            skipped.append(key)
            context.log.warning(f"{context.asset_key.to_user_string()} {key[:7]} is skipped: {answer}")
    if not skipped:
        for key, metadata in done.items():
            context.add_asset_metadata(metadata, partition_key=key)
        return dg.MaterializeResult()

    # An output materializes every month of the run, and a step without an output skips all that is downstream: dbt
    # would not see green because yellow has no such month. So here the months that are there are recorded one by one,
    # and the output is marked as one whose events were recorded already. The mark is private to Dagster, whose
    # version is pinned; test_defs_run.py fails should it ever lose its meaning.
    for key, metadata in done.items():
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=dict(metadata)))
    return dg.MaterializeResult(metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
