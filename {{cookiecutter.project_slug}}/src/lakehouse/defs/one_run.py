"""One run over the files of a dataset: each its own work and metadata; one that was never published is skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.errors import NotPublishedError

Metadata = Mapping[str, Any]


def file_by_file(
    context: dg.AssetExecutionContext, dataset: Dataset, work: Callable[[DatasetFile], Metadata]
) -> dg.MaterializeResult[None]:
    """Do `work` for every file of the run, in order; what it returns is that file's metadata.

    A month or day for which `work` raises NotPublishedError is skipped: a warning says so, and no materialization is
    recorded.
    """
    parts = dataset.parts
    if isinstance(parts, Whole):
        return dg.MaterializeResult(metadata=work(DatasetFile(dataset.name)))
    done: dict[str, Metadata] = {}
    skipped = []
    for key in context.partition_keys:
        part = parts.kind.parse(key)
        try:
            done[key] = {parts.word: str(part), **work(DatasetFile(dataset.name, part))}
        except NotPublishedError as answer:
            skipped.append(key)
            context.log.warning(f"{context.asset_key.to_user_string()} {part} is skipped: {answer}")
    if not skipped:
        for key, metadata in done.items():
            context.add_asset_metadata(metadata, partition_key=key)
        return dg.MaterializeResult()

    # An output materializes every partition of the run, and a step without an output skips all that is downstream: dbt
    # would not see green because yellow has no such month. So here the partitions that are there are recorded one by
    # one, and the output is marked as one whose events were recorded already. The mark is private to Dagster, whose
    # version is pinned; test_defs_run.py fails should it ever lose its meaning.
    for key, metadata in done.items():
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=dict(metadata)))
    return dg.MaterializeResult(metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
