"""One run over the files of a dataset: each its own work, metadata and data version; one never published is skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    INPUT_DATA_VERSION_TAG_PREFIX,
    INPUT_EVENT_POINTER_TAG_PREFIX,
    NULL_EVENT_POINTER,
    extract_data_version_from_entry,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.defs.failures import passes
from lakehouse.defs.partitions import partition_key
from lakehouse.errors import LakehouseError, NotPublishedError, RefusedError, SourceError

_TAG_LENGTH = 63
_NOT_LANDED = "not landed"
_IS_RECORDED = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}


@dataclass(frozen=True)
class Done:
    """What the work on a file gave: metadata, its data version, and inputs that it knows better than Dagster."""

    metadata: Mapping[str, Any]
    version: str
    inputs: Mapping[str, str] = field(default_factory=dict)


def file_tag(file: DatasetFile) -> str:
    """The tag of a run that was asked for because of this file; its value is the file's version."""
    part = f"_{file.part}" if file.part else ""
    return f"lakehouse/{f'{file.dataset}{part}'[-_TAG_LENGTH:]}"


def files_of_run(context: dg.AssetExecutionContext, dataset: Dataset) -> list[DatasetFile]:
    """The files of the run, in order.

    A run of Dagster is over months that follow each other. One that a sensor asked for names its files in tags: then
    the months between them are left alone.
    """
    parts = dataset.parts
    if isinstance(parts, Whole):
        return [DatasetFile(dataset.name)]
    files = [DatasetFile(dataset.name, parts.kind.parse(key)) for key in context.partition_keys]
    named = [file for file in files if file_tag(file) in context.run.tags]
    return named or files


def file_by_file(
    context: dg.AssetExecutionContext,
    dataset: Dataset,
    work: Callable[[DatasetFile], Done],
    refused: dict[DatasetFile, LakehouseError],
) -> dg.MaterializeResult[None]:
    """Do `work` for every file of the run, in order, and record each with its own metadata and data version.

    A month or day for which `work` raises NotPublishedError is skipped: a warning says so, and no materialization is
    recorded. The same happens to a file that is refused, or that its source can't give. Its error goes into `refused`,
    so that the caller can fail once the other files are done: no run would be asked for them again.
    """
    for file in files_of_run(context, dataset):
        key = partition_key(file.part) if file.part else None
        inputs = inputs_of(context, key)  # before the work: what comes while it goes on is news
        part = {dataset.parts.word: str(file.part)} if file.part else {}
        try:
            done = work(file)
        except NotPublishedError as answer:
            if file.part is None:
                raise
            context.log.warning(f"{context.asset_key.to_user_string()} {file.part} is skipped: {answer}")
            continue
        except (RefusedError, SourceError) as error:
            if passes(error):
                raise
            refused[file] = error
            continue
        tags = {**inputs, **done.inputs, DATA_VERSION_TAG: done.version, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=key, metadata={**part, **done.metadata}, tags=tags)
        )
    # An output materializes every partition of the run with one data version, and a step without an output skips all
    # that is downstream: dbt would not see green because yellow has no such month. So here the partitions that are
    # there are recorded one by one, and the output is marked as one whose events were recorded already. The mark is
    # private to Dagster, whose version is pinned; test_defs_run.py fails should it ever lose its meaning.
    return dg.MaterializeResult(metadata=_IS_RECORDED)


def all_of(refused: Mapping[DatasetFile, LakehouseError]) -> str:
    """The errors of several files as one message; what is said of each of them is said once."""
    return "\n".join(dict.fromkeys(map(str, refused.values())))


def tell_not_landed(context: dg.AssetExecutionContext, refused: Mapping[DatasetFile, LakehouseError]) -> None:
    """Record of these files why they were not landed: for the page, and for the step of the same run that loads."""
    for file, error in refused.items():
        context.log.error(str(error))
        key = partition_key(file.part) if file.part else None
        metadata = {_NOT_LANDED: file.label, "reason": str(error)}
        context.log_event(dg.AssetObservation(context.asset_key, "not landed", metadata, partition=key))


def not_landed(context: dg.AssetExecutionContext, landing: dg.AssetKey) -> dict[str, str]:
    """Of each file that an earlier step of this run could not land, the reason; by the file's label."""
    seen = context.instance.get_records_for_run(context.run.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    found = {}
    for record in seen.records:
        observation = record.asset_observation
        if observation and observation.asset_key == landing and _NOT_LANDED in observation.metadata:
            found[str(observation.metadata[_NOT_LANDED].value)] = str(observation.metadata["reason"].value)
    return found


def inputs_of(context: dg.AssetExecutionContext, partition: str | None) -> dict[str, str]:
    """Tags by which Dagster knows of what, and by which code, a part was made: what it compares to call it stale."""
    layer = context.job_def.asset_layer
    node = layer.get(context.asset_key)
    tags = {CODE_VERSION_TAG: node.code_version or context.run.run_id}
    for parent in node.parent_keys:
        of_parts = layer.get(parent).partitions_def is not None
        tags |= input_tags(context.instance, parent, partition if of_parts else None)
    return tags


def input_tags(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> dict[str, str]:
    """Tags of one input: its newest event, and its data version then."""
    record = instance.get_latest_data_version_record(key, partition_key=partition)
    version = extract_data_version_from_entry(record.event_log_entry) if record else None
    name = key.to_user_string()
    return {
        f"{INPUT_DATA_VERSION_TAG_PREFIX}/{name}": (version or DEFAULT_DATA_VERSION).value,
        f"{INPUT_EVENT_POINTER_TAG_PREFIX}/{name}": str(record.storage_id) if record else NULL_EVENT_POINTER,
    }
