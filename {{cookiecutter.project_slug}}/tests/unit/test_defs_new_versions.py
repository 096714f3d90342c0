"""The sensor `new_versions`: which runs it asks for, by what was observed of a site and what is landed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.landing import Landing, landing_aside

SITE = "http://127.0.0.1:1"
MONTHS = [DatasetFile("green", Month(2024, month)) for month in (1, 2, 3, 4)]
ZONES = DatasetFile("zones")


@dataclass
class Sensor:
    """The sensor with a landing zone and an instance of Dagster of its own."""

    zone: Landing
    instance: dg.DagsterInstance
    scratch: Path
    cursor: str | None = None
    reason: str = ""

    def observe(self, file: DatasetFile, version: str) -> None:
        """What a look at the source records."""
        key = dg.AssetKey(["source", file.key.partition("/")[0]])
        partition = file.part.first_day.isoformat() if file.part else None
        event = dg.AssetObservation(key, partition=partition, tags={DATA_VERSION_TAG: version})
        self.instance.report_runless_asset_event(event)

    def tick(self) -> list[dg.RunRequest]:
        """Evaluate it once."""
        from lakehouse.defs.automation.new_versions import tick

        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = tick(context, SITE, self.zone)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        self.reason = result.skip_reason.skip_message or "" if result.skip_reason else ""
        return list(result.run_requests or [])

    def run(self, request: dg.RunRequest, versions: Mapping[DatasetFile, str]) -> None:
        """A run of a request, as far as the instance and the landing zone know it."""
        self.instance.add_run(dg.DagsterRun(job_name=request.job_name or "", tags={**request.tags}))
        for file, version in versions.items():
            self.scratch.write_text(version, encoding="utf-8")
            self.zone.put(file, self.scratch, f"{SITE}/{file.path}", etag=version)


@pytest.fixture
def sensor(tmp_path: Path) -> Iterator[Sensor]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sensor(landing_aside(tmp_path / "landing"), instance, tmp_path / "scratch")


def files_in(request: dg.RunRequest) -> set[str]:
    return {name for name in request.tags if name.startswith("lakehouse/")}


def test_what_was_observed_is_one_run_with_gaps(sensor: Sensor) -> None:
    for file in (MONTHS[0], MONTHS[2], ZONES):
        sensor.observe(file, '"1"')
    sensor.observe(MONTHS[3], "not published")

    (request,) = sensor.tick()

    assert request.job_name == "bronze_only"
    assert files_in(request) == {"lakehouse/green_2024-01", "lakehouse/green_2024-03", "lakehouse/zones"}
    assert request.tags["dagster/asset_partition_range_start"] == "2024-01-01"
    assert request.tags["dagster/asset_partition_range_end"] == "2024-03-01"
    keys = {key.to_user_string() for key in request.asset_selection or []}
    assert keys == {"landing/green_trips", "raw/green_trips", "landing/taxi_zones", "raw/taxi_zones"}
    assert sensor.tick() == []
    assert "Nothing new" in sensor.reason


def test_a_changed_lookup_alone_is_a_run_without_months(sensor: Sensor) -> None:
    sensor.observe(ZONES, '"1"')

    (request,) = sensor.tick()

    assert (request.job_name, files_in(request)) == ("bronze_whole", {"lakehouse/zones"})
    assert not {tag for tag in request.tags if tag.startswith("dagster/")}


def test_a_version_has_one_run_also_after_a_restart_or_a_cleared_cursor(sensor: Sensor) -> None:
    versions = dict.fromkeys(MONTHS[:2], '"1"')
    for file, version in versions.items():
        sensor.observe(file, version)
    (request,) = sensor.tick()
    sensor.cursor = None
    (same,) = sensor.tick()
    assert same.run_key == request.run_key

    sensor.instance.add_run(dg.DagsterRun(job_name="bronze_only", tags={**request.tags}))  # it failed
    sensor.cursor = None
    assert sensor.tick() == []

    sensor.run(request, versions)
    for cursor in (None, "", "no json", '{"seen": "x"}', "[]"):
        sensor.cursor = cursor
        assert sensor.tick() == []


def test_a_month_that_is_published_again_is_the_only_one_asked_for(sensor: Sensor) -> None:
    versions = dict.fromkeys(MONTHS, '"1"')
    for file, version in versions.items():
        sensor.observe(file, version)
    (first,) = sensor.tick()
    sensor.run(first, versions)

    sensor.observe(MONTHS[1], '"2"')
    (second,) = sensor.tick()
    sensor.run(second, {MONTHS[1]: '"2"'})
    sensor.observe(MONTHS[1], '"1"')  # the publisher takes it back
    (third,) = sensor.tick()

    assert files_in(second) == files_in(third) == {"lakehouse/green_2024-02"}
    assert third.run_key != second.run_key


def test_what_somebody_landed_meanwhile_is_not_asked_for(sensor: Sensor) -> None:
    sensor.scratch.write_text("x", encoding="utf-8")
    sensor.zone.put(MONTHS[0], sensor.scratch, f"{SITE}/{MONTHS[0].path}", etag='"1"')
    sensor.observe(MONTHS[0], '"1"')

    assert sensor.tick() == []


def test_more_files_than_one_run_takes_are_several(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.defs.automation.new_versions.MOST_FILES", 3)
    for file in MONTHS:
        sensor.observe(file, '"1"')

    asked = [files_in(request) for _ in range(3) for request in sensor.tick()]

    assert [len(files) for files in asked] == [3, 1]
    assert set().union(*asked) == {f"lakehouse/green_2024-0{month}" for month in (1, 2, 3, 4)}


def test_a_folder_is_left_to_the_other_sensor(sensor: Sensor) -> None:
    from lakehouse.defs.automation.new_versions import tick

    with dg.build_sensor_context(instance=sensor.instance) as context:
        result = tick(context, "some/folder", sensor.zone)

    assert isinstance(result, dg.SkipReason)
