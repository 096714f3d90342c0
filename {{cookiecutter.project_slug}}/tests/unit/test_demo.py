"""The demo: published months where they can be had, generated ones where not, and never both."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.misbehaving_publisher import Publisher, as_published, cut_after, running, status, web_page
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.cli.demo import bring
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Monthly
from lakehouse.datasets.registry import DATASETS
from lakehouse.engines import open_engine
from lakehouse.errors import LandingError, NotPublishedError, SourceError, UnreachableError
from lakehouse.history.history import history, loaded
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import open_landing
from lakehouse.landing.land import generated, land
from lakehouse.loading.load import load
from lakehouse.settings import Settings, load_settings
from lakehouse.sources.patience import Patience
from lakehouse.synthetic.generate import write_month, write_zones

MONTHS = [Month(2023, n) for n in (1, 2, 3)]
JANUARY, FEBRUARY, MARCH = (DatasetFile("green", month) for month in MONTHS)
HASTE = Patience(connect=1, silence=1, first_wait=0.01, longest_wait=0.1, tries=2, connect_tries=1)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the publisher has: no mark of ours in it that says it is generated."""
    folder = tmp_path_factory.mktemp("published")
    return {
        **{
            file.path: as_published(write_month(folder / file.name, "green", month, 500 + n, seed=9))
            for n, (file, month) in enumerate(zip((JANUARY, FEBRUARY, MARCH), MONTHS, strict=True))
        },
        "misc/taxi_zone_lookup.csv": write_zones(folder / "zones.csv").read_bytes().replace(b"Generated", b"Real"),
    }


@pytest.fixture
def publisher(published: dict[str, bytes]) -> Iterator[Publisher]:
    with running() as publisher:
        for path, content in published.items():
            publisher.publish(path, content)
        yield publisher


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


class DemoLake:
    """One lakehouse, whose publisher can come and go."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.landing = open_landing(self.settings("unused"))

    def settings(self, source: str) -> Settings:
        return Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=self.home, TLC_SOURCE=source)

    def demo(self, source: str, *wanted: DatasetFile) -> None:
        settings = self.settings(source)
        for file, replaces in bring(settings, self.landing, wanted, HASTE).items():
            load(open_catalog(settings), self.landing, file, allow_shrink=replaces)

    def generated(self) -> set[str]:
        return {landed.file.name for landed in generated(self.landing)}

    def loaded(self) -> dict[str, int]:
        engine = open_engine(self.settings("unused"))
        try:
            return {row.part: row.rows for row in loaded(engine)}
        finally:
            engine.close()

    def snapshots(self) -> list[tuple[str | None, bool]]:
        engine = open_engine(self.settings("unused"))
        try:
            return [(row.file_month, row.synthetic) for row in history(engine, "raw.green_trips")]
        finally:
            engine.close()


@pytest.fixture
def lake(tmp_path: Path) -> DemoLake:
    return DemoLake(tmp_path / "my lake 100%")


def test_published_months_and_zones_are_taken_where_they_can_be_had(lake: DemoLake, publisher: Publisher) -> None:
    lake.demo(publisher.url, JANUARY, FEBRUARY)

    assert lake.loaded() == {"2023-01": 500, "2023-02": 501}
    assert lake.generated() == set()
    assert lake.landing.find(DatasetFile("zones")) is not None


def test_a_home_whose_path_has_spaces_and_signs_is_the_folder_used(
    lake: DemoLake, publisher: Publisher, tmp_path: Path
) -> None:
    lake.demo(publisher.url, JANUARY)

    assert list((lake.home / "warehouse" / "raw" / "green_trips" / "data").rglob("*.parquet"))
    assert sorted(f.name for f in tmp_path.iterdir()) == ["my lake 100%"]


def test_a_second_demo_asks_nobody_and_adds_no_snapshot(lake: DemoLake, publisher: Publisher, nowhere: str) -> None:
    lake.demo(publisher.url, JANUARY, FEBRUARY)
    snapshots, asked = lake.snapshots(), len(publisher.requests)

    lake.demo(publisher.url, JANUARY, FEBRUARY)
    lake.demo(nowhere, JANUARY, FEBRUARY)

    assert lake.snapshots() == snapshots
    assert len(publisher.requests) == asked


def test_without_a_publisher_generated_months_are_taken_and_it_is_said(
    lake: DemoLake, nowhere: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.demo(nowhere, JANUARY, FEBRUARY)

    assert "can't be reached" in capsys.readouterr().err
    assert lake.generated() == {JANUARY.name, FEBRUARY.name, "taxi_zone_lookup.csv"}
    assert lake.loaded() == {"2023-01": 60_000, "2023-02": 60_000}
    assert lake.snapshots() == [("2023-01", True), ("2023-02", True)]


def test_a_second_demo_without_a_publisher_adds_no_snapshot(lake: DemoLake, nowhere: str) -> None:
    lake.demo(nowhere, JANUARY)

    lake.demo(nowhere, JANUARY)

    assert lake.snapshots() == [("2023-01", True)]


def test_generated_months_give_way_to_published_ones(lake: DemoLake, nowhere: str, publisher: Publisher) -> None:
    lake.demo(nowhere, JANUARY)
    lake.demo(nowhere, FEBRUARY)

    lake.demo(publisher.url, FEBRUARY, MARCH)

    assert lake.generated() == set()
    assert lake.loaded() == {"2023-01": 500, "2023-02": 501, "2023-03": 502}


def test_they_all_stay_while_one_of_the_published_ones_cannot_be_had(
    lake: DemoLake, nowhere: str, publisher: Publisher
) -> None:
    lake.demo(nowhere, JANUARY, FEBRUARY)
    publisher.always[FEBRUARY.path] = cut_after(0)

    lake.demo(publisher.url, JANUARY, FEBRUARY)

    assert len(lake.generated()) == 3
    assert lake.loaded() == {"2023-01": 60_000, "2023-02": 60_000}


def test_nothing_is_generated_beside_published_months(lake: DemoLake, nowhere: str, publisher: Publisher) -> None:
    lake.demo(publisher.url, JANUARY)

    with pytest.raises(UnreachableError, match=r"Generated months did not take their place: .*\(green 2023-01\)"):
        lake.demo(nowhere, JANUARY, FEBRUARY)

    assert lake.loaded() == {"2023-01": 500}
    assert lake.landing.find(DatasetFile("green", Month(2023, 2))) is None


def test_months_that_are_no_trips_lie_beside_generated_ones(
    lake: DemoLake, nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, columns = Monthly(since=Month(2023, 1)), (Column("price", "double"),)
    sales = Dataset("sales", "Sales", "raw.sales", "sales_{month}.csv", parts, columns, format=Csv())
    monkeypatch.setitem(DATASETS, "sales", sales)
    first, second = (DatasetFile("sales", month) for month in MONTHS[:2])
    for file in (first, second):
        (tmp_path / file.name).write_text("price\n1.5\n", encoding="utf-8")
    land(lake.landing, str(tmp_path), first)
    load(open_catalog(lake.settings(nowhere)), lake.landing, first)

    lake.demo(nowhere, JANUARY)

    assert land(lake.landing, str(tmp_path), second).file == second
    assert lake.generated() == {JANUARY.name, "taxi_zone_lookup.csv"}


def test_a_network_that_fails_half_way_mixes_nothing(lake: DemoLake, publisher: Publisher) -> None:
    publisher.always[FEBRUARY.path] = status(500)

    lake.demo(publisher.url, JANUARY, FEBRUARY)

    assert lake.loaded() == {"2023-01": 60_000, "2023-02": 60_000}


@pytest.mark.parametrize("answer", [status(403), status(404), web_page()], ids=["403", "404", "page"])
def test_one_who_answers_for_the_publisher_is_not_the_publisher(
    lake: DemoLake, publisher: Publisher, answer: object
) -> None:
    for path in list(publisher.files):
        publisher.always[path] = answer  # type: ignore[assignment]

    lake.demo(publisher.url, JANUARY)

    assert lake.snapshots() == [("2023-01", True)]


def test_a_month_that_is_not_published_is_not_generated(
    lake: DemoLake, publisher: Publisher, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotPublishedError, match="green 2023-04 is not published"):
        lake.demo(publisher.url, DatasetFile("green", Month(2023, 4)))
    with pytest.raises(
        NotPublishedError,
        match=r"and green 2999-01 can't be generated: .* published from 2013-08 to 20.*`lakehouse demo green 2024-01 2",
    ):
        lake.demo(nowhere, DatasetFile("green", Month(2999, 1)))
    columns = (Column("price", "double"),)
    own = Dataset("sales", "Sales", "raw.sales", "sales_{month}.csv", Monthly(since=Month(2023, 1)), columns)
    monkeypatch.setitem(DATASETS, "sales", own)
    with pytest.raises(NotPublishedError, match=r"sales 2023-01 can't be generated.* `lakehouse load sales 2023-01`\."):
        lake.demo(nowhere, DatasetFile("sales", Month(2023, 1)))

    assert lake.landing.listing() == []


def test_a_folder_that_lacks_a_month_is_told_and_nothing_is_generated(lake: DemoLake, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_zones(folder / "taxi_zone_lookup.csv")

    with pytest.raises(NotPublishedError, match="green 2023-01 is not in"):
        lake.demo(str(folder), JANUARY)
    with pytest.raises(SourceError, match="does not exist"):
        lake.demo(str(tmp_path / "nowhere"), JANUARY)

    assert lake.landing.listing() == []


def test_a_plain_load_never_takes_a_generated_month(lake: DemoLake, publisher: Publisher, nowhere: str) -> None:
    lake.demo(nowhere, JANUARY)

    with pytest.raises(UnreachableError):
        land(lake.landing, nowhere, DatasetFile("green", Month(2023, 1)), patience=HASTE)
    landed = land(lake.landing, publisher.url, DatasetFile("green", Month(2023, 1)), patience=HASTE)

    assert landed.origin.startswith(publisher.url)


def test_a_plain_load_never_mixes_published_and_generated_months(
    lake: DemoLake, publisher: Publisher, nowhere: str
) -> None:
    lake.demo(nowhere, JANUARY, FEBRUARY)

    for file in (JANUARY, MARCH):
        with pytest.raises(LandingError, match=r"generated months \(.*green 2023-02\).*make demo"):
            land(lake.landing, publisher.url, file, patience=HASTE)

    assert len(lake.generated()) == 3


def test_generated_months_stay_marked_in_another_lakehouse(
    lake: DemoLake, publisher: Publisher, nowhere: str, tmp_path: Path
) -> None:
    lake.demo(nowhere, JANUARY, FEBRUARY)
    source = str(lake.settings(nowhere).landing_dir)
    empty, real = DemoLake(tmp_path / "empty"), DemoLake(tmp_path / "real")
    real.demo(publisher.url, MARCH)

    for file in (DatasetFile("zones"), JANUARY, FEBRUARY):
        land(empty.landing, source, file)
        load(open_catalog(empty.settings(source)), empty.landing, file)

    assert empty.snapshots() == [("2023-01", True), ("2023-02", True)]
    assert len(empty.generated()) == 3
    with pytest.raises(LandingError, match=r"generated month .*published months \(green 2023-03\)"):
        land(real.landing, source, JANUARY)
    assert real.generated() == set()


def test_a_generated_file_of_a_folder_is_only_called_generated(
    lake: DemoLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was out of reach."""
    folder = tmp_path / "published"
    folder.mkdir()
    write_month(folder / "green_tripdata_2023-01.parquet", "green", MONTHS[0], 100)
    for name, value in {"HOME": str(lake.home), "TARGET": "embedded"}.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    monkeypatch.setenv("TLC_SOURCE", str(folder))
    load_settings.cache_clear()

    first, again = (CliRunner().invoke(app, ["load", "green", "2023-01"]) for _ in range(2))

    for said in (first, again):
        assert (said.exit_code, said.stderr) == (0, "warning: green 2023-01 is a generated file.\n")


def test_after_an_offline_demo_its_months_load_and_are_called_generated(
    lake: DemoLake, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.demo(nowhere, JANUARY, FEBRUARY)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lake.home))
    monkeypatch.setenv("LAKEHOUSE_TARGET", "embedded")
    monkeypatch.setenv("TLC_SOURCE", nowhere)
    load_settings.cache_clear()
    monkeypatch.setattr("lakehouse.sources.site.PATIENCE", HASTE)

    said = CliRunner().invoke(app, ["load", "green", "2023-01", "2023-02"])
    refreshed = CliRunner().invoke(app, ["load", "green", "2023-01", "--refresh"])

    assert said.exit_code == 0, said.output
    assert said.stderr.count("is a generated file: the publisher can't be reached") == 2
    assert said.stdout.count("unchanged") == 2
    assert isinstance(refreshed.exception, UnreachableError)
    assert lake.generated() == {
        "green_tripdata_2023-01.parquet",
        "green_tripdata_2023-02.parquet",
        "taxi_zone_lookup.csv",
    }
