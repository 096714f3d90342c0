"""One tick of the sensor `new_versions`: which files of the site are not landed as they were observed, and one run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Daily, Whole
from lakehouse.datasets.registry import dataset_named
from lakehouse.defs.automation import ticks
from lakehouse.defs.common import asset_keys
from lakehouse.defs.one_run import file_tag
from lakehouse.defs.partitions import partition_key
from lakehouse.defs.raw.checks import check_specs
from lakehouse.defs.source.observed import NOT_PUBLISHED, observable, observations
from lakehouse.errors import LandingError
from lakehouse.landing import Landing
from lakehouse.landing.record import is_generated
from lakehouse.sources.versions import is_site, version_of

MOST_FILES = 48  # of a run: what is left has the next one


@dataclass
class Cursor(ticks.Cursor):
    """The versions, and `seen`, the storage id of the newest observation. What came after it is new."""

    seen: int = 0


def tick(context: dg.SensorEvaluationContext, source: str, zone: Landing) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run of all files whose observed version is not the one that is landed; days have a run of their own.

    Raises:
        ServiceError: the landing zone does not answer.
    """
    if not is_site(source):
        return dg.SkipReason(f"The sensor new_files watches {source}. This one is for a site.")
    cursor = Cursor.parse(context.cursor)
    observed, cursor.seen = _observed(context.instance, cursor)
    before = dict(cursor.known)
    wanted: dict[DatasetFile, str] = {}
    cursor.waiting = {}
    for file, version in observed.items():
        if len(wanted) == MOST_FILES:
            cursor.waiting[file.label] = version
            continue
        cursor.known[file.label] = version
        if before.get(file.label) == version or _is_landed(zone, file, version):
            continue
        # A version that follows another is not in the table, also if it had a run once.
        if file.label in before or not ticks.was_asked(context.instance, file, version):
            wanted[file] = version
    days = {file: version for file, version in wanted.items() if isinstance(dataset_named(file.dataset).parts, Daily)}
    others = {file: version for file, version in wanted.items() if file not in days}
    requests = [_request(files, before) for files in (others, days) if files]
    if not requests:
        reason = f"Nothing new: {len(cursor.known)} files of {source} are as they were at the last look."
        return dg.SensorResult(skip_reason=reason, cursor=str(cursor))
    context.log.info(f"new or published again: {ticks.some([file.label for file in wanted])}")
    return dg.SensorResult(run_requests=requests, cursor=str(cursor))


def _observed(instance: dg.DagsterInstance, cursor: Cursor) -> tuple[dict[DatasetFile, str], int]:
    """What waits, and what was observed since the last tick: the newest version of each file, and the newest id."""
    found: dict[DatasetFile, str] = {}
    seen = cursor.seen
    for dataset in observable():
        parts = dataset.parts
        versions: dict[str | None, str] = {}
        for one in observations(instance, dataset, after=cursor.seen or None):
            versions.setdefault(one.partition, one.version)
            seen = max(seen, one.storage_id)
        for key, version in sorted(versions.items(), key=lambda item: item[0] or ""):
            if version == NOT_PUBLISHED or (key is None) != isinstance(parts, Whole):
                continue
            part = None if isinstance(parts, Whole) or key is None else parts.kind.parse(key)
            found[DatasetFile(dataset.name, part)] = version
        for file in [*_waiting(cursor, dataset.name)]:
            found.setdefault(file, cursor.waiting[file.label])
    return found, seen


def _waiting(cursor: Cursor, dataset: str) -> Iterator[DatasetFile]:
    parts = dataset_named(dataset).parts
    for label in cursor.waiting:
        name, _, part = label.partition(" ")
        if name == dataset:
            yield DatasetFile(name, None if isinstance(parts, Whole) else parts.kind.parse(part))


def _is_landed(zone: Landing, file: DatasetFile, version: str) -> bool:
    """Whether the landed file is this version. After an error the run is asked for, and reports it."""
    try:
        landed = zone.find(file)
    except LandingError:
        return False
    if landed is None or is_generated(landed):
        return False
    return version_of(landed.etag, landed.last_modified, landed.sha256) == version


def _request(files: Mapping[DatasetFile, str], before: Mapping[str, str]) -> dg.RunRequest:
    """One run for these files, also with months between them that are left alone: its tags name its files."""
    datasets = [dataset_named(name) for name in dict.fromkeys(file.dataset for file in files)]
    keys = sorted(partition_key(file.part) for file in files if file.part)
    tags = {file_tag(file): version for file, version in files.items()}
    if keys:
        tags |= {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    changes = [f"{file.label} {version} {before.get(file.label, '')}" for file, version in files.items()]
    return dg.RunRequest(
        run_key=hashlib.sha256("\n".join(sorted(changes)).encode()).hexdigest()[:16],
        job_name=_job([dataset.parts for dataset in datasets]),
        asset_selection=[key for dataset in datasets for key in asset_keys(dataset)],
        # Without them dbt would start, to test raw tables. It does that in the build that follows.
        asset_check_keys=[spec.key for dataset in datasets for spec in _checks(dataset)],
        tags=tags,
        run_config={"ops": {f"landing__{dataset.landing_key}": {"config": {"refresh": True}} for dataset in datasets}},
    )


def _checks(dataset: Dataset) -> Sequence[dg.AssetCheckSpec]:
    return check_specs(dataset, asset_keys(dataset)[1])


def _job(parts: Sequence[object]) -> str:
    if any(isinstance(one, Daily) for one in parts):
        return "bronze_days"
    return "bronze_whole" if all(isinstance(one, Whole) for one in parts) else "bronze_only"
