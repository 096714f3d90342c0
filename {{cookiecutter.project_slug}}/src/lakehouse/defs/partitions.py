"""One run over many months: every month its own work and metadata, and a month that was never published is skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from lakehouse.datasets.months import Month
from lakehouse.errors import NotPublishedError

Metadata = Mapping[str, Any]


def month_by_month(context: dg.AssetExecutionContext, work: Callable[[Month], Metadata]) -> dg.MaterializeResult[None]:
    """Do `work` for every month of the run, in their order; what it returns is that month's metadata.

    A month for which `work` raises NotPublishedError is skipped: a warning says so, and no materialization is recorded.
    """
    done: dict[str, Metadata] = {}
    skipped = []
    for key in context.partition_keys:
        try:
            done[key] = work(Month.parse(key))
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
