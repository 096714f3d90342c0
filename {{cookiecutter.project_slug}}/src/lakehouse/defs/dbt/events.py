"""What a run of dbt tells while it goes on, with what Iceberg knows of each table that it has built."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliInvocation
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from pyiceberg.catalog import Catalog

from lakehouse.errors import ServiceError
from lakehouse.iceberg.catalog import service_errors
from lakehouse.settings import Settings
from lakehouse.transform import lost_engine


def dagster_events(run: DbtCliInvocation, settings: Settings) -> Iterator[Any]:
    """Turn a run of dbt into Dagster's events, as its own `stream` does, and ask Trino after a failure.

    Raises:
        ServiceError: Trino went away. dbt has ended by then.
    """
    for message in run.stream_raw_events():
        if lost := lost_engine(settings, message.raw_event):
            run.process.kill()
            run.process.wait()
            raise lost
        for event in message.to_default_asset_events(
            manifest=run.manifest,
            dagster_dbt_translator=run.dagster_dbt_translator,
            context=run.context,
            target_path=run.target_path,
            project=run.project,
        ):
            if isinstance(event, dg.AssetCheckResult) and event.passed and not _selected(event, run.context):
                continue  # dbt tests what a model reads; Dagster warns of each result that nobody selected
            if isinstance(event, dg.Output):
                # what the model did: `2 inserted, 1 updated, 0 unchanged`, `150 rows`, `unchanged`
                yield event.with_metadata({**event.metadata, "result": str(message.raw_event["data"]["status"])})
            else:
                yield event


def _selected(result: dg.AssetCheckResult, context: Any) -> bool:
    selected = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
    return (result.asset_key, result.check_name) in selected


def described(events: Iterator[Any], describe: Callable[[dg.Output[Any]], None], catalog: Catalog) -> Iterator[Any]:
    """The events as they come; `describe` is called with each output before it.

    Raises:
        ServiceError: of the events, or the catalog did not answer `describe`. dbt has ended by then: another attempt
            must not build beside it.
    """
    try:
        for event in events:
            if isinstance(event, dg.Output):
                with service_errors(catalog):
                    describe(event)
            yield event
    except ServiceError:
        with suppress(DagsterDbtCliRuntimeError):  # the outcome of the build: it is repeated
            deque(events, maxlen=0)
        raise
