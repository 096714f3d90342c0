"""Years that go by while Dagster's own daemon runs the project, and what must hold at their end, on either target."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
from tests.kills import gold
from tests.lake import Lake
from tests.unit import misbehaving_publisher as bad
from tests.unit.dagster_daemon import WORKSPACE, daemon, kill_all, within
from tests.unit.dagster_project import Project
from tests.unit.published_files import broken, month_of, zones_of

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.defs.common import PUBLISHED
from lakehouse.engines import open_engine
from lakehouse.errors import QueryError
from lakehouse.history.history import history
from lakehouse.history.reproduce import reproduce
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.publication import TAG
from lakehouse.loading.load import load
from lakehouse.settings import Settings
from lakehouse.transform import build

GREEN, ZONES = "raw.green_trips", DatasetFile("zones")
MAINTAINED_EACH = 3  # looks
# A run that was killed before it began is given up after three minutes, and others wait for it.
LIMIT_SECONDS = 1200
# The test's clock, as a part of the project: it starts what the project's schedules start, when the test says so.
CLOCK = f"""
import os
from pathlib import Path

import dagster as dg
from lakehouse.defs.automation.jobs import look_at_sources
from lakehouse.defs.maintenance.jobs import maintenance

RUNNING = dg.DefaultSensorStatus.RUNNING


@dg.sensor(jobs=[look_at_sources, maintenance], minimum_interval_seconds=1, default_status=RUNNING)
def clock(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    before, now = int(context.cursor or 0), int(Path(os.environ["TEST_CLOCK"]).read_text())
    looks = range(before + 1, now + 1)
    asked = [dg.RunRequest(run_key=f"look {{n}}", job_name="look_at_sources") for n in looks]
    asked += [dg.RunRequest(run_key=f"{{n}}", job_name="maintenance") for n in looks if n % {MAINTAINED_EACH} == 0]
    return dg.SensorResult(run_requests=asked, cursor=str(now))
"""
# No look is too early, and no sensor waits half a minute.
QUICK = (
    ("sources/versions.py", "AGAIN = timedelta(days=6)", "AGAIN = timedelta(0)"),
    ("defs/automation/sensors.py", "SECONDS = 30", "SECONDS = 2"),
    ("defs/automation/missed_retries.py", "SECONDS = 60", "SECONDS = 5"),
)
STARTED_BY = {"dagster/sensor_name", "dagster/schedule_name", "dagster/parent_run_id"}


def story(folder: Path) -> Iterator[dict[DatasetFile, bytes]]:
    """What is new at each of thirteen looks: one or two of 24 months, and what else a publisher does."""
    months = list(islice(following(first_month()), 24))
    files = [DatasetFile("green", month) for month in months]
    first = {file: month_of(folder, month, 100 + n) for n, (file, month) in enumerate(zip(files, months, strict=True))}
    again = {number: month_of(folder, months[number], 200 + number) for number in (2, 9, 15)}
    beside: dict[int, dict[DatasetFile, bytes]] = {
        0: {ZONES: zones_of("first")},
        3: {files[2]: again[2]},
        4: {files[7]: broken(first[files[7]])},
        5: {files[7]: first[files[7]]},
        6: {files[5]: first[files[5]]},  # the same bytes, written again
        7: {ZONES: zones_of("second")},
        8: {files[9]: again[9]},
        9: {files[11]: first[files[11]]},
        12: {files[15]: again[15]},
    }
    for number in range(13):
        new = files[max(0, 2 * number - 1) : 2 * number + 1]
        yield {file: first[file] for file in new} | beside.get(number, {})


def first_month() -> Month:
    """Of two years whose last month has been published for long."""
    return Month.of(datetime.now(UTC).date() - timedelta(days=28 * 30))


def following(month: Month) -> Iterator[Month]:
    """This month, and all after it."""
    while True:
        yield month
        month = month.next


def count(content: bytes) -> int:
    """The rows of a month; 0 of one that can't be loaded."""
    file = pq.ParquetFile(BytesIO(content))
    return int(file.metadata.num_rows) if "PULocationID" in file.schema_arrow.names else 0


@dataclass
class Years:
    """A publisher, the project that looks at it, and what must be in the lakehouse once all is quiet.

    `final` has the newest content of each file that can be loaded, `loads` how often each content must be loaded.
    """

    project: Project
    settings: Settings
    publisher: bad.Publisher
    instance: dg.DagsterInstance
    final: dict[DatasetFile, bytes] = field(default_factory=dict)
    loads: Counter[tuple[str, int]] = field(default_factory=Counter)

    def go_by(self, looks: Iterable[Mapping[DatasetFile, bytes]], killed: range) -> None:
        """Let all of it happen. After each look of `killed`, everything is killed at some moment, and starts again."""
        chance, lasts, number = random.Random(1), 0.0, 0  # noqa: S311 - moments to kill at
        with ExitStack() as daemons:
            session = daemons.enter_context(daemon(self.project))
            for number, new in enumerate(looks, 1):
                began = time.monotonic()
                self._publish(number, new)
                if number in killed:
                    time.sleep(chance.uniform(0.1, 0.9) * lasts)  # the moment is what is tried
                    kill_all(session)
                    session = daemons.enter_context(daemon(self.project))
                within(self.project, f"quiet after look {number}", self._is_quiet, LIMIT_SECONDS)
                lasts = lasts if number in killed else time.monotonic() - began
            wanted = number // MAINTAINED_EACH
            within(self.project, "maintenance", lambda: self._maintained() == wanted)

    def _publish(self, number: int, new: Mapping[DatasetFile, bytes]) -> None:
        """The publisher has these files, and the clock says that it is time for a look."""
        for file, content in new.items():
            self.publisher.publish(file.path, content, modified=time.time())
            if file == ZONES or count(content):
                if file.part and self.final.get(file) != content:
                    self.loads[str(file.part), count(content)] += 1
                self.final[file] = content
        (self.project.folder / "clock").write_text(str(number), encoding="utf-8")

    def _is_quiet(self) -> bool:
        """Whether readers see all that can be loaded, and no run waits or is in progress."""
        time.sleep(0.5)  # between two questions
        if not all(run.is_finished for run in self.instance.get_runs(limit=20)):
            return False
        with suppress(QueryError):  # there is no publication yet
            trips = self.rows("select file_month, sum(trips) as n from published.fct_monthly_quality group by 1")
            words = {row["borough"] for row in self.rows("select borough from published.dim_zones")}
            seen = {f"{row['file_month']:%Y-%m}": int(row["n"]) for row in trips}
            wanted = {str(file.part): count(content) for file, content in self.final.items() if file.part}
            return seen == wanted and all(f'"{word}"'.encode() in self.final[ZONES] for word in words)
        return False

    def _maintained(self) -> int:
        """How often maintenance ended well."""
        return self.instance.get_runs_count(
            dg.RunsFilter(job_name="maintenance", statuses=[dg.DagsterRunStatus.SUCCESS])
        )

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        with closing(open_engine(self.settings)) as engine:
            rows: list[dict[str, Any]] = engine.query(sql).to_pylist()
        return rows

    def prove(self, folder: Path, publications: int) -> None:
        """Nothing was started by hand; each content was loaded once; raw, gold and publications are what they must be.

        Args:
            folder: for a lakehouse into which the final files are loaded.
            publications: how many there must be, at least. The newest twelve are kept.
        """
        assert [run.job_name for run in self.instance.get_runs() if not STARTED_BY & run.tags.keys()] == []
        with closing(open_engine(self.settings)) as engine:
            snapshots = history(engine, GREEN)
        assert Counter((str(row.file_month), row.added_rows) for row in snapshots if row.file_month) == self.loads

        fresh = Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=folder / "fresh"), folder / "scratch")
        for file, content in self.final.items():
            (folder / "file").write_bytes(content)
            fresh.landing.put(file, folder / "file", "test")
            load(fresh.catalog, fresh.landing, file)
        for table in (GREEN, "raw.taxi_zones"):
            assert all_rows(self.settings, table) == all_rows(fresh.settings, table)

        published = [name for name in self._kept() if name in self._recorded()]
        assert len(published) >= publications
        assert [name for name in published if not reproduce(self.settings, name).equal] == []
        before = gold(self.rows)
        build(self.settings, full_refresh=True)
        assert gold(self.rows) == before

    def _kept(self) -> list[str]:
        """The publications whose tags are kept."""
        refs = open_catalog(self.settings).load_table("gold.fct_daily_trips").refs()
        return sorted(name for name in refs if TAG.fullmatch(name))

    def _recorded(self) -> set[str]:
        """The publications that Dagster knows of. One that was killed in its middle is not among them."""
        records = self.instance.fetch_materializations(PUBLISHED, limit=200).records
        found = [record.asset_materialization for record in records]
        return {str(one.metadata["name"].value) for one in found if one}


def all_rows(settings: Settings, table: str) -> list[str]:
    """Each row of a table, as text."""
    return sorted(map(repr, open_catalog(settings).load_table(table).scan().to_arrow().to_pylist()))


@contextmanager
def years(folder: Path, settings: Settings, variables: Mapping[str, str]) -> Iterator[Years]:
    """A project that does by itself all that it can, with a publisher and a clock of the test's own."""
    with bad.running() as publisher:
        own = {
            "TLC_SOURCE": publisher.url,
            "LAKEHOUSE_FIRST_MONTH": str(first_month()),
            "LAKEHOUSE_AUTOMATION": "on",
            "LAKEHOUSE_HOME": str(settings.home),
            "TEST_CLOCK": str(folder / "clock"),
        }
        project = Project(folder, {**variables, **own})
        (project.root / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
        lakehouse = project.root / "src" / "lakehouse"
        (lakehouse / "defs" / "clock.py").write_text(CLOCK, encoding="utf-8")
        for name, usual, quick in QUICK:
            text = (lakehouse / name).read_text(encoding="utf-8")
            assert text.count(usual) == 1
            (lakehouse / name).write_text(text.replace(usual, quick), encoding="utf-8")
        with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
            yield Years(project, settings, publisher, instance)
