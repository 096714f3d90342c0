"""The sensor `new_files`: which runs it asks for, for files that really lie in a folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from tests.buckets import Inbox, forget_buckets, s3_server, use_store
from tests.pages import declaration_of, declared_on_page, own_definitions
from tests.unit.dagster_project import NEW_FILES, PROJECT, Project

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.landing import Landing, landing_aside
from lakehouse.landing.land import land
from lakehouse.sources.search import contents
from lakehouse.sources.site import FolderSource, open_source
from lakehouse.synthetic.generate import write_month

FIRST = date(2024, 1, 5)
ROW = "Sold at;Region;Amount\n{day} 10:00;north;{amount}\n"


@dataclass
class Sensor:
    """The sensor over a folder, or a source, with a landing zone and an instance of Dagster of its own."""

    folder: Path
    zone: Landing
    instance: dg.DagsterInstance
    cursor: str | None = None
    reason: str = ""
    source: str = ""
    asked: list[dg.RunRequest] = field(default_factory=list)

    def tick(self) -> list[str]:
        """Evaluate it once. The run keys that it asks for, without versions."""
        from lakehouse.defs.automation.new_files import tick

        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = tick(context, self.source or str(self.folder), self.zone)
        if isinstance(result, dg.SkipReason):
            self.asked, self.reason = [], result.skip_message or ""
            return []
        self.cursor = result.cursor
        self.asked = list(result.run_requests or [])
        self.reason = result.skip_reason.skip_message or "" if result.skip_reason else ""
        return [(request.run_key or "").rpartition(":")[0] for request in self.asked]

    def put(self, name: str, text: str, age: float = 3600) -> Path:
        """A file that was last written `age` seconds ago."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written = time.time() - age
        os.utime(path, (written, written))
        return path

    def sales(self, day: date = FIRST, amount: int = 1, age: float = 3600) -> Path:
        """The sales of a day."""
        return self.put(f"sales_{day:%Y%m%d}.csv", ROW.format(day=day, amount=amount), age)

    def land(self) -> None:
        """What the requested runs do first."""
        source = open_source(self.source or str(self.folder))
        assert isinstance(source, FolderSource)
        for part in contents(source.folder)["sales"]:
            land(self.zone, str(source.folder), DatasetFile("sales", part), refresh=True)


@pytest.fixture
def sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sensor]:
    for name in ("SALES", "ORDERS", "RENTALS"):
        dataset = declared_on_page(name)
        monkeypatch.setitem(DATASETS, dataset.name, dataset)
    (tmp_path / "source").mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sensor(tmp_path / "source", landing_aside(tmp_path / "landing"), instance)


def test_a_new_file_is_asked_for_once(sensor: Sensor) -> None:
    sensor.sales()

    assert sensor.tick() == ["sales:2024-01-05"]
    (request,) = sensor.asked
    assert (request.job_name, request.asset_selection) == (
        "bronze_days",
        [dg.AssetKey(["landing", "sales"]), dg.AssetKey(["raw", "sales"])],
    )
    assert request.tags["dagster/asset_partition_range_start"] == "2024-01-05"
    assert request.run_config == {"ops": {"landing__sales": {"config": {"refresh": True}}}}
    assert sensor.tick() == []
    assert "No new or changed file" in sensor.reason
    assert "1 are as they were" in sensor.reason


def test_a_changed_file_is_asked_for_again_under_another_key(sensor: Sensor) -> None:
    sensor.sales()
    sensor.tick()
    first = sensor.asked[0].run_key
    sensor.land()

    sensor.sales(amount=2, age=3000)

    assert sensor.tick() == ["sales:2024-01-05"]
    assert sensor.asked[0].run_key != first


def test_a_file_that_is_only_touched_is_not_asked_for(sensor: Sensor) -> None:
    file = sensor.sales()
    sensor.tick()
    sensor.land()

    os.utime(file, (1_700_000_000, 1_700_000_000))

    assert sensor.tick() == []


def test_a_file_is_not_taken_while_it_is_written(sensor: Sensor) -> None:
    file = sensor.sales(age=0)
    assert sensor.tick() == []
    assert "Not looked at yet, or not written completely: sales 2024-01-05." in sensor.reason

    with file.open("a", encoding="utf-8") as more:
        more.write("2024-01-05 11:00;south;2\n")
    assert sensor.tick() == []

    assert sensor.tick() == ["sales:2024-01-05"]
    assert sensor.tick() == []


def test_a_removed_file_leaves_the_cursor_and_asks_for_nothing(sensor: Sensor) -> None:
    file = sensor.sales()
    sensor.tick()
    sensor.land()
    file.unlink()

    assert sensor.tick() == []
    assert json.loads(sensor.cursor or "") == {"known": {}, "waiting": {}}

    sensor.sales()  # it comes back with the bytes that are landed
    assert sensor.tick() == []


def test_after_a_restart_nothing_is_asked_for_twice(sensor: Sensor) -> None:
    sensor.sales()
    sensor.tick()
    again = Sensor(sensor.folder, sensor.zone, sensor.instance, sensor.cursor)

    assert again.tick() == []


@pytest.mark.parametrize("cursor", [None, "", "no json", "[]", '{"known": 1}'])
def test_without_a_cursor_landed_files_are_not_asked_for(sensor: Sensor, cursor: str | None) -> None:
    sensor.sales()
    sensor.sales(FIRST + timedelta(days=1))
    sensor.tick()
    sensor.land()
    sensor.put("orders.csv.gz", "whatever")

    sensor.cursor = cursor

    assert sensor.tick() == ["orders"]


def test_without_a_cursor_a_run_has_the_same_key(sensor: Sensor) -> None:
    sensor.sales()
    sensor.tick()
    before = sensor.asked[0].run_key
    sensor.cursor = None

    sensor.tick()

    assert sensor.asked[0].run_key == before


def test_hundreds_of_files_are_few_runs_and_a_small_cursor(sensor: Sensor) -> None:
    days = [FIRST + timedelta(days=n) for n in range(400) if n != 100]
    for day in days:
        sensor.sales(day)

    keys = sensor.tick()

    assert len(keys) == 14
    assert keys[0] == "sales:2024-01-05:2024-02-04"
    spans = [request.tags["dagster/asset_partition_range_start"] for request in sensor.asked]
    assert "2024-04-15" in spans  # after the missing day
    assert "2024-04-14" not in {tag[-10:] for request in sensor.asked for tag in request.tags}
    assert len(sensor.cursor or "") < 50 * len(days)
    assert sensor.tick() == []


def test_two_downloads_of_a_file_are_one_run(sensor: Sensor) -> None:
    file = sensor.sales()
    shutil.copy2(file, file.with_name("sales_20240105 (1).csv"))

    assert sensor.tick() == ["sales:2024-01-05"]
    sensor.land()
    sensor.cursor = None
    assert sensor.tick() == []


def test_two_files_that_differ_are_asked_for_and_the_run_says_so(sensor: Sensor) -> None:
    sensor.sales()
    sensor.tick()
    sensor.land()

    sensor.put("copy/sales_20240105.csv", "other")

    assert sensor.tick() == ["sales:2024-01-05"]
    assert sensor.tick() == []


def test_files_that_share_a_part_are_one_version_of_it(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "sales", replace(DATASETS["sales"], files="sales_{day:%Y%m%d}_*.csv"))
    sensor.put("sales_20240105_north.csv", ROW.format(day=FIRST, amount=1))
    sensor.put("sales_20240105_south.csv", ROW.format(day=FIRST, amount=2))

    assert sensor.tick() == ["sales:2024-01-05"]
    sensor.land()
    sensor.cursor = None
    assert sensor.tick() == []

    sensor.put("sales_20240105_west.csv", ROW.format(day=FIRST, amount=3))
    assert sensor.tick() == ["sales:2024-01-05"]


def test_each_kind_of_parts_has_its_job(sensor: Sensor) -> None:
    sensor.put("sub/green_tripdata_2024-01.parquet", "months")
    sensor.put("taxi_zone_lookup.csv", "whole")
    sensor.sales()

    sensor.tick()

    assert {request.job_name for request in sensor.asked} == {"bronze_months", "bronze_days", "bronze_whole"}
    assert isinstance(DATASETS["zones"].parts, Whole)


def test_a_database_is_not_watched(sensor: Sensor) -> None:
    sensor.put("rentals.parquet", "a file of the landed file's name")

    assert sensor.tick() == []


def test_a_day_that_is_no_partition_is_named_and_taken_when_it_is_over(sensor: Sensor) -> None:
    sensor.sales(date(2023, 12, 31))

    assert sensor.tick() == []
    assert "No partition has sales 2023-12-31" in sensor.reason
    assert json.loads(sensor.cursor or "")["known"] == {}


def test_a_folder_that_cannot_be_read_is_a_reason_and_keeps_the_cursor(sensor: Sensor) -> None:
    sensor.sales()
    sensor.tick()
    before = sensor.cursor
    away = sensor.folder.rename(sensor.folder.with_name("away"))

    assert sensor.tick() == []
    assert f"The folder {sensor.folder}, which TLC_SOURCE names, does not exist" in sensor.reason
    assert sensor.cursor == before

    away.rename(sensor.folder)
    assert sensor.tick() == []
    assert "No new or changed file" in sensor.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_the_right_to_read_is_named(sensor: Sensor) -> None:
    hidden = sensor.put("hidden/any.txt", "").parent
    hidden.chmod(0)
    try:
        sensor.sales()
        assert sensor.tick() == ["sales:2024-01-05"]
        assert sensor.tick() == []
        assert f"Can't be read: {hidden}" in sensor.reason
    finally:
        hidden.chmod(0o700)


def test_an_address_of_a_site_is_not_watched(sensor: Sensor) -> None:
    sensor.source = "https://example.com/data"

    assert sensor.tick() == []
    assert "only a folder or bucket can be watched" in sensor.reason


RUN = """
import os
import shutil

with dg.DagsterInstance.get() as instance:
    first = tick(instance)
    runs = [run(instance, asked) for asked in first.run_requests]
    made = [[event.asset_key.to_user_string(), event.partition]
            for done in runs for event in done.get_asset_materialization_events()]
    same, cleared = tick(instance, first.cursor), tick(instance)
    shutil.rmtree(os.environ["LAKEHOUSE_HOME"] + "/landing")
    run_before = tick(instance)
    months = runs[0]
    success = months.get_run_success_event()
    after = dg.build_run_status_sensor_context("build_after_loads", dagster_run=months.dagster_run,
                                               dagster_instance=instance, dagster_event=success)
    built = repository.get_sensor_def("build_after_loads")(after).run_key == months.run_id
print(json.dumps({"status": sensor.default_status.value, "made": made, "built": built,
                  "more": [len(one.run_requests or []) for one in (same, cleared, run_before)]}))
"""


def test_the_runs_that_it_asks_for_load_the_files(tmp_path: Path) -> None:
    """After the run of months, the sensor that the page shows asks for a build."""
    source = tmp_path / "source"
    source.mkdir()
    for n in (0, 1, 3):
        day = FIRST + timedelta(days=n)
        file = source / f"sales_{day:%Y%m%d}.csv"
        file.write_text(ROW.format(day=day, amount=n), encoding="utf-8")
        os.utime(file, (1_700_000_000, 1_700_000_000))
    project = Project(tmp_path, {"TLC_SOURCE": str(source), "LAKEHOUSE_FIRST_MONTH": "2024-01"})
    page = (PROJECT / "docs" / "your-own-dataset.md").read_text(encoding="utf-8")
    declaration = declaration_of("SALES", page)
    (project.root / "src" / "lakehouse" / "datasets" / "sales.py").write_text(declaration, encoding="utf-8")

    month = write_month(source / "green_tripdata_2024-01.parquet", "green", Month(2024, 1), 10)
    os.utime(month, (1_700_000_000, 1_700_000_000))
    own_definitions(project)

    found = project.ask(NEW_FILES + RUN, warnings="default")

    assert found["status"] == "STOPPED"
    days = ["2024-01-05", "2024-01-06", "2024-01-08"]
    expected = [("green_trips", "2024-01-01"), *(("sales", day) for day in days)]
    assert sorted(found["made"]) == [[f"{room}/{name}", key] for room in ("landing", "raw") for name, key in expected]
    assert found["more"] == [0, 0, 0]
    assert found["built"]


def test_a_file_that_returns_to_an_earlier_version_is_asked_for_again(sensor: Sensor) -> None:
    def run(request: dg.RunRequest) -> None:
        run_of(sensor.instance, request)
        sensor.land()

    file = sensor.sales()
    assert sensor.tick() == ["sales:2024-01-05"]
    first = sensor.asked[0]
    run(first)
    away = file.rename(sensor.folder / "away.txt")
    sensor.sales(amount=2, age=3000)
    assert sensor.tick() == ["sales:2024-01-05"]
    run(sensor.asked[0])

    away.replace(file)

    assert sensor.tick() == ["sales:2024-01-05"]
    assert sensor.asked[0].tags == first.tags
    assert sensor.asked[0].run_key != first.run_key
    run(sensor.asked[0])
    assert sensor.tick() == []


def run_of(instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    """A run of a request, as far as the instance knows it."""
    instance.add_run(dg.DagsterRun(job_name=request.job_name or "", tags={**request.tags}))


def test_a_file_too_large_to_compare_in_a_tick_is_left_to_its_run(
    sensor: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait, and are compared in the ticks that follow."""
    files = [sensor.sales(), sensor.sales(FIRST + timedelta(days=1))]
    sensor.land()
    monkeypatch.setattr("lakehouse.defs.automation.new_files.TICK_SECONDS", -1)

    assert sensor.tick() == ["sales:2024-01-05"]
    assert json.loads(sensor.cursor or "")["waiting"].keys() == {"sales 2024-01-06"}
    for file in files:
        os.utime(file, (1_700_000_000, 1_700_000_000))
    monkeypatch.setattr("lakehouse.defs.automation.new_files.TICK_SECONDS", 20)
    assert sensor.tick() == []
    assert "2 are as they were" in sensor.reason


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def inbox(sensor: Sensor, store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """A bucket that the sensor watches."""
    use_store(monkeypatch, store)
    inbox = Inbox(store)
    sensor.source = f"{inbox}/in"
    yield inbox
    forget_buckets()


def put_sales(inbox: Inbox, day: date = FIRST, amount: int = 1) -> None:
    inbox.put(f"in/sales_{day:%Y%m%d}.csv", ROW.format(day=day, amount=amount).encode())


def test_a_new_object_is_asked_for_once_and_at_once(sensor: Sensor, inbox: Inbox) -> None:
    put_sales(inbox)

    assert sensor.tick() == ["sales:2024-01-05"]
    assert sensor.tick() == []
    assert "No new or changed file in s3://inbox/in: 1 are as they were" in sensor.reason
    again = replace(sensor)  # after a restart
    assert again.tick() == []


def test_a_replaced_object_is_asked_for_if_its_bytes_differ(sensor: Sensor, inbox: Inbox) -> None:
    put_sales(inbox)
    sensor.tick()
    first = sensor.asked[0].run_key
    sensor.land()

    put_sales(inbox, amount=2)
    assert sensor.tick() == ["sales:2024-01-05"]
    assert sensor.asked[0].run_key != first
    sensor.land()

    inbox.put("in/copy/sales_20240105.csv", ROW.format(day=FIRST, amount=2).encode())
    assert sensor.tick() == []


def test_without_a_cursor_no_landed_object_is_read(
    sensor: Sensor, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_sales(inbox)
    put_sales(inbox, FIRST + timedelta(days=1))
    sensor.land()
    monkeypatch.setattr("lakehouse.sources.objects.Bucket.read", lambda *_: pytest.fail("an object was read"))

    assert sensor.tick() == []
    assert "2 are as they were" in sensor.reason


def test_objects_that_share_a_part_wait_for_each_other(
    sensor: Sensor, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "sales", replace(DATASETS["sales"], files="sales_{day:%Y%m%d}_*.csv"))
    inbox.put("in/sales_20240105_north.csv", ROW.format(day=FIRST, amount=1).encode())
    assert sensor.tick() == []
    inbox.put("in/sales_20240105_south.csv", ROW.format(day=FIRST, amount=2).encode())
    assert sensor.tick() == []

    assert sensor.tick() == ["sales:2024-01-05"]
    sensor.land()
    sensor.cursor = None
    assert sensor.tick() == []
    assert sensor.tick() == []
    assert "1 are as they were" in sensor.reason


def test_a_bucket_that_cannot_be_read_is_a_reason_and_keeps_the_cursor(sensor: Sensor, inbox: Inbox) -> None:
    put_sales(inbox)
    sensor.tick()
    before, there = sensor.cursor, sensor.source
    sensor.source = "s3://elsewhere"

    assert sensor.tick() == []
    assert "has no bucket 'elsewhere'" in sensor.reason
    assert sensor.cursor == before

    sensor.source = there
    assert sensor.tick() == []
    assert "No new or changed file" in sensor.reason
