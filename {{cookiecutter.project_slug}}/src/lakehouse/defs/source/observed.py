"""What was observed of a source: which version of which part, and when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS
from lakehouse.defs.common import source_key

# The version of a part that the source has never had. It says that the source was asked.
NOT_PUBLISHED = "not published"
PAGE = 1000


@dataclass(frozen=True)
class Observation:
    """One observation: of a part by its partition key (None where a file is the whole table)."""

    partition: str | None
    version: str
    at: datetime
    storage_id: int


def observable() -> list[Dataset]:
    """The datasets whose source can be looked at: those of `TLC_SOURCE`. A database must be read to know it."""
    return [dataset for dataset in DATASETS.values() if dataset.source is None]


def now() -> datetime:
    """The time, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def observations(
    instance: dg.DagsterInstance, dataset: Dataset, *, after: int | None = None, since: datetime | None = None
) -> Iterator[Observation]:
    """What was observed of a dataset's source, the newest first.

    Args:
        instance: of Dagster.
        dataset: which.
        after: only what has a greater storage id.
        since: only what was observed later.
    """
    asked = dg.AssetRecordsFilter(
        source_key(dataset), after_storage_id=after, after_timestamp=since.timestamp() if since else None
    )
    cursor, more = None, True
    while more:
        found = instance.fetch_observations(asked, limit=PAGE, cursor=cursor)
        for record in found.records:
            version = (record.asset_observation.tags or {}).get(DATA_VERSION_TAG) if record.asset_observation else None
            if version:
                at = datetime.fromtimestamp(record.timestamp, UTC)
                yield Observation(record.partition_key, version, at, record.storage_id)
        cursor, more = found.cursor, found.has_more


def newest(instance: dg.DagsterInstance, dataset: Dataset, partition: str | None) -> Observation | None:
    """The newest observation of one part."""
    record = instance.get_latest_data_version_record(source_key(dataset), is_source=True, partition_key=partition)
    if record is None or record.asset_observation is None:
        return None
    version = (record.asset_observation.tags or {}).get(DATA_VERSION_TAG, "")
    return Observation(partition, version, datetime.fromtimestamp(record.timestamp, UTC), record.storage_id)
