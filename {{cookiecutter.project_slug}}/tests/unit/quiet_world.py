"""A publisher, a clock and Dagster in one process: what is done by itself as time goes by. Run by tests as a script."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest
from tests.unit import misbehaving_publisher as bad
from tests.unit import published_files
from tests.unit.published_files import broken, zones_of

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.definitions import defs
from lakehouse.engines import open_engine
from lakehouse.landing import open_landing
from lakehouse.settings import load_settings

DAY = timedelta(days=1)
LATE = 52 * DAY  # after the end of a month


def month_of(month: Month, rows: int) -> bytes:
    """A month of green as it is published."""
    return published_files.month_of(Path(os.environ["LAKEHOUSE_HOME"]).parent, month, rows)


@dataclass
class World:
    """Time goes by in looks: the schedule looks, the sensor asks for runs, they run, and conditions are evaluated.

    What conditions ask for is recorded as made, without dbt: this is about when, and not about what.
    """

    publisher: bad.Publisher
    instance: dg.DagsterInstance
    now: datetime
    cursor: str | None = None
    asked: set[str] = field(default_factory=set)
    runs: list[list[str]] = field(default_factory=list)
    builds: list[list[str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _conditions: Any = None

    def __post_init__(self) -> None:
        self.found = defs()
        self.repository = self.found.get_repository_def()
        self.evaluate()  # as the daemon does once it has started

    def publish(self, file: DatasetFile, content: bytes) -> None:
        """The publisher has this file from now on."""
        self.publisher.publish(file.path, content, modified=self.now.timestamp())

    def look(self) -> None:
        """What the schedule starts."""
        job = self.found.resolve_job_def("look_at_sources")
        assert job.execute_in_process(instance=self.instance, raise_on_error=False).success

    def sense(self) -> list[dg.RunRequest]:
        """What the sensor asks for; a run key counts once, as for the daemon."""
        offered = {name: self.repository.get_top_level_resources()[name] for name in ("publisher", "object_store")}
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=offered) as context:
            tick = self.repository.get_sensor_def("new_versions").evaluate_tick(context)
        self.cursor = tick.cursor
        fresh = [one for one in tick.run_requests or [] if one.run_key not in self.asked]
        self.asked |= {one.run_key or "" for one in fresh}
        return fresh

    def run(self, asked: dg.RunRequest) -> None:
        """Run what was asked for."""
        job = self.found.resolve_job_def(asked.job_name or "").get_subset(
            asset_selection={*(asked.asset_selection or [])}, asset_check_selection={*(asked.asset_check_keys or [])}
        )
        done = job.execute_in_process(
            instance=self.instance, tags={**asked.tags}, run_config=asked.run_config, raise_on_error=False
        )
        files = sorted(tag.partition("/")[2] for tag in asked.tags if tag.startswith("lakehouse/"))
        self.runs.append(files)
        if not done.success:
            self.failed += files

    def evaluate(self) -> list[str]:
        """What the conditions ask for now."""
        result = dg.evaluate_automation_conditions(
            self.found, self.instance, evaluation_time=self.now, cursor=self._conditions
        )
        self._conditions = result.cursor
        wanted = [key for key in self.repository.asset_graph.get_all_asset_keys() if result.get_num_requested(key)]
        return sorted(key.to_user_string() for key in wanted)

    def build(self) -> None:
        """Make what the conditions ask for."""
        if wanted := self.evaluate():
            self.builds.append(wanted)
            for key in wanted:
                self.instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey.from_user_string(key)))

    def go_by(self, days: int) -> None:
        """Some days later: a look, its runs, and two evaluations, of which the second finds nothing."""
        self.now += days * DAY
        self.look()
        for asked in self.sense():
            self.run(asked)
        self.build()
        assert self.evaluate() == []

    def stale(self, *keys: str, partition: str | None = None) -> list[str]:
        """Which of these assets the page shows as out of date."""
        graph = self.repository.asset_graph
        resolver = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
        stale = []
        for name in keys:
            key = dg.AssetKey.from_user_string(name)
            status = resolver.get_status(key, partition if graph.get(key).is_partitioned else None)
            stale += [name] if status.value == "STALE" else []
        return stale

    def landed(self) -> list[str]:
        """What is landed."""
        return sorted(one.file.label for one in open_landing(load_settings()).listing())


@contextmanager
def world(start: datetime) -> Iterator[World]:
    """A world that begins at `start`, with the zone lookup published, and no month."""
    real = time.time
    with bad.running() as publisher, dg.DagsterInstance.ephemeral() as instance:
        os.environ["TLC_SOURCE"] = publisher.url
        load_settings.cache_clear()
        publisher.publish(DatasetFile("zones").path, zones_of("first"))
        found = World(publisher, instance, start)
        time.time = lambda: found.now.timestamp()  # noqa: PLW0108 - the clock goes on
        try:
            yield found
        finally:
            time.time = real


def end_of(month: Month) -> datetime:
    """The first moment after a month."""
    return datetime.combine(month.next.first_day, datetime.min.time(), UTC)


def half_a_year() -> dict[str, Any]:
    """Six months come late, one is published again, the lookup changes once, and the daemon loses its cursor."""
    months = [Month(2023, number) for number in range(1, 7)]
    files: Sequence[DatasetFile] = [DatasetFile("green", month) for month in months]
    seen: dict[str, Any] = {}
    with world(end_of(months[0])) as found:
        found.go_by(1)  # only the lookup
        for file, month in zip(files, months, strict=True):
            early = (end_of(month) + LATE - 5 * DAY - found.now).days
            found.go_by(early)  # nothing new
            found.publish(file, month_of(month, 100))
            found.go_by(6)
            found.cursor = None  # as after a restart that lost it
            found.go_by(1)
        before = found.stale("landing/green_trips", partition="2023-02-01")
        found.publish(files[1], month_of(months[1], 120))
        found.publish(DatasetFile("zones"), zones_of("second"))
        found.now += 8 * DAY
        found.look()
        seen["stale"] = [before, found.stale("landing/green_trips", "landing/taxi_zones", partition="2023-02-01")]
        seen["others"] = found.stale("landing/green_trips", partition="2023-01-01")
        (asked,) = found.sense()
        found.run(asked)
        tables = ("landing/green_trips", "landing/taxi_zones", "raw/green_trips", "raw/taxi_zones")
        seen["after"] = found.stale(*tables, partition="2023-02-01")
        found.build()
        found.go_by(1)
        seen |= {"runs": found.runs, "builds": found.builds, "failed": found.failed, "landed": found.landed()}
        seen["asked"] = len(found.publisher.requests)
    return seen


def two_years() -> dict[str, Any]:
    """24 months come late, a look a week. Three are published again, one is broken first, two come twice."""
    months = [Month(2023 + number // 12, number % 12 + 1) for number in range(24)]
    files = [DatasetFile("green", month) for month in months]
    content = {file: month_of(month, 100) for file, month in zip(files, months, strict=True)}
    due = {file: end_of(month) + LATE for file, month in zip(files, months, strict=True)}
    events: list[tuple[datetime, DatasetFile, bytes]] = [(due[file], file, content[file]) for file in files]
    for number, later in ((2, 60), (9, 100), (15, 30)):
        events.append((due[files[number]] + later * DAY, files[number], month_of(months[number], 130)))
    # the same bytes, written again
    events += [(due[file] + 40 * DAY, file, content[file]) for file in (files[5], files[11])]
    events = [event for event in events if event[1] != files[7]]
    events.append((due[files[7]], files[7], broken(content[files[7]])))
    events.append((due[files[7]] + 14 * DAY, files[7], content[files[7]]))
    events.append((due[files[12]], DatasetFile("zones"), zones_of("second")))
    events.sort(key=lambda event: event[0])
    with world(end_of(months[0])) as found:
        week = 0
        while events:
            while events and events[0][0] <= found.now:
                _, file, bytes_of = events.pop(0)
                found.publish(file, bytes_of)
            found.go_by(7)
            week += 1
            if week % 10 == 0:
                found.cursor = None
        found.go_by(7)
        found.go_by(7)
        with closing(open_engine(load_settings())) as engine:
            rows = engine.query(
                "select file_month, count(*) as n from raw.green_trips group by 1 order by 1"
            ).to_pylist()
        return {
            "runs": found.runs,
            "failed": found.failed,
            "builds": len(found.builds),
            "rows": {f"{row['file_month']:%Y-%m}": row["n"] for row in rows},
            "requests": len(found.publisher.requests),
            "weeks": week,
        }
