"""One tick of the sensor `new_files`: which files of the source are new or changed, and which runs load them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.datasets.registry import DATASETS, dataset_named
from lakehouse.defs.automation.ticks import Cursor, some, was_asked
from lakehouse.defs.common import asset_keys
from lakehouse.defs.one_run import file_tag
from lakehouse.defs.partitions import partition_key, partitions_of
from lakehouse.errors import LandingError, SourceError
from lakehouse.landing import Landing
from lakehouse.landing.record import is_generated
from lakehouse.sources.watch import Look, Sighting, look

JOBS: Mapping[type, str] = {Monthly: "bronze_months", Daily: "bronze_days", Whole: "bronze_whole"}
SETTLED_SECONDS = 60
# Dagster ends a tick after 60 seconds. What is not compared in this time waits for the next tick. One file that takes
# all of it is never compared: its run finds the same bytes, and changes nothing.
TICK_SECONDS = 20
MOST_PARTS = 31  # of a run


def tick(context: dg.SensorEvaluationContext, source: str, zone: Landing) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run of each file that is new or changed and completely written. Files of a span of days share a run.

    Raises:
        ServiceError: the landing zone does not answer.
    """
    try:
        seen = look(source)
    except SourceError as error:
        return dg.SkipReason(str(error))
    # The cursor has only files that are in the folder, so it grows with the folder and not with time.
    before, after = Cursor.parse(context.cursor), Cursor()
    deadline, now = time.monotonic() + TICK_SECONDS, time.time()
    wanted: list[Sighting] = []
    outside: list[Sighting] = []
    is_first = True
    for one in _in_order(seen, outside):
        label = one.file.label
        settled = now - one.changed_at >= SETTLED_SECONDS or before.waiting.get(label) == one.version
        if before.known.get(label) == one.version:
            after.known[label] = one.version
        elif not settled or (time.monotonic() > deadline and not is_first):
            after.waiting[label] = one.version
        # A version that was known before is no longer in the table, also if it had a run once.
        elif label not in before.known and was_asked(context.instance, one.file, one.version):
            after.known[label] = one.version
        else:
            is_landed = _landed(zone, one, seen, deadline)
            if is_landed is None and not is_first:
                after.waiting[label] = one.version
                continue
            is_first = False
            after.known[label] = one.version
            if not is_landed:
                wanted.append(one)
    requests = [_request(span, before) for span in _spans(wanted)]
    notes = _notes(seen, after, outside)
    if requests:
        for note in notes:
            context.log.info(note)
        return dg.SensorResult(run_requests=requests, cursor=str(after))
    reason = f"No new or changed file in {seen.folder.absolute()}: {len(after.known)} are as they were."
    return dg.SensorResult(skip_reason=" ".join([reason, *notes]), cursor=str(after))


def _in_order(seen: Look, outside: list[Sighting]) -> Iterator[Sighting]:
    """What datasets take from files, by dataset and part. What is no partition of its assets goes to `outside`."""
    by_dataset: dict[str, list[Sighting]] = {}
    for one in seen.sightings:
        by_dataset.setdefault(one.file.dataset, []).append(one)
    for dataset in DATASETS.values():
        if dataset.source is not None:
            continue
        partitions = partitions_of(dataset)
        keys = set(partitions.get_partition_keys()) if partitions else set()
        for one in sorted(by_dataset.get(dataset.name, []), key=lambda one: str(one.file.part)):
            part = one.file.part
            if part and (partition_key(part) not in keys or part.first_day < dataset.first_part.first_day):
                outside.append(one)
            else:
                yield one


def _landed(zone: Landing, one: Sighting, seen: Look, until: float) -> bool | None:
    """Whether the landing zone has the same bytes; None if there is not enough time to compare them.

    After an error the run is asked for, and reports it.
    """
    try:
        landed = zone.find(one.file)
        if landed is None or is_generated(landed):
            return False
        if one.has_same_etag(landed.origin, landed.etag):
            return True
        bundled = dataset_named(one.file.dataset).bundled
        if not bundled and len(one.paths) == 1 and one.size != landed.size:
            return False
        found = one.sha256(seen.folder, until)
    except (LandingError, SourceError, OSError):
        return False
    return None if found is None else found == landed.sha256


def _spans(wanted: Sequence[Sighting]) -> Iterator[list[Sighting]]:
    """Months or days of one dataset that follow each other: one run holds them. A whole table is a run of its own."""
    span: list[Sighting] = []
    for one in wanted:
        last = span[-1].file if span else None
        follows = last and last.dataset == one.file.dataset and last.part and last.part.next == one.file.part
        if span and (not follows or len(span) == MOST_PARTS):
            yield span
            span = []
        span.append(one)
    if span:
        yield span


def _request(span: Sequence[Sighting], before: Cursor) -> dg.RunRequest:
    """One run for these files. Its key also depends on what they replace: a file may return to an earlier version."""
    dataset: Dataset = dataset_named(span[0].file.dataset)
    parts = [one.file.part for one in span if one.file.part]
    keys = [partition_key(part) for part in parts]
    tags = {file_tag(one.file): one.version for one in span}
    if keys:
        tags |= {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    versions = [one.version + before.known.get(one.file.label, "") for one in span]
    version = hashlib.sha256("".join(versions).encode()).hexdigest()[:16]
    return dg.RunRequest(
        run_key=":".join([dataset.name, *(f"{key}" for key in dict.fromkeys([*keys[:1], *keys[-1:]])), version]),
        job_name=JOBS[type(dataset.parts)],
        asset_selection=[*asset_keys(dataset)],
        tags=tags,
        run_config={"ops": {f"landing__{dataset.landing_key}": {"config": {"refresh": True}}}},
    )


def _notes(seen: Look, after: Cursor, outside: Sequence[Sighting]) -> list[str]:
    """What else a reader of the tick should know, one sentence each."""
    notes = []
    if after.waiting:
        notes.append(f"Not looked at yet, or not written completely: {some(list(after.waiting))}.")
    if outside:
        notes.append(
            f"No partition has {some([one.file.label for one in outside])}: partitions begin at LAKEHOUSE_FIRST_MONTH "
            "or at `since` of the dataset, and end with the last month or day that is over."
        )
    if seen.unread:
        where = some([f"{error.filename} ({error.strerror})" for error in seen.unread])
        notes.append(f"Can't be read: {where}. Let the user that runs Dagster read them.")
    return notes
