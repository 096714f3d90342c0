"""A source folder: files are found as a person would find them, and a message says what was found instead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakehouse.cli.doctor import examine
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import NotPublishedError, SourceError
from lakehouse.settings import Settings
from lakehouse.sources.search import contents, find

GREEN = DatasetFile("green", Month(2024, 1))
ZONES = DatasetFile("zones", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def put(path: Path, content: bytes = b"trips") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_month_behind_a_link_is_found(folder: Path, tmp_path: Path) -> None:
    put(tmp_path / "disk" / "2024" / GREEN.name)
    (folder / "green").symlink_to(tmp_path / "disk")

    assert find(folder, GREEN) == folder / "green" / "2024" / GREEN.name


def test_links_in_a_circle_come_to_an_end(folder: Path) -> None:
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    (folder / "one" / "up").symlink_to(folder)
    (folder / "one" / "two").symlink_to(folder / "two")
    (folder / "two" / "one").symlink_to(folder / "one")

    with pytest.raises(NotPublishedError):
        find(folder, GREEN)
    file = put(folder / "two" / GREEN.name)
    assert Path(str(find(folder, GREEN))).samefile(file)


@pytest.mark.parametrize(
    "name",
    [
        "green_tripdata_2024-01.PARQUET",
        "Green_TripData_2024-01.parquet",
        "green_tripdata_2024-01 (1).parquet",
        "green_tripdata_2024-01(2).parquet",
    ],
)
def test_a_name_that_is_nearly_the_published_one_is_found(folder: Path, name: str) -> None:
    file = put(folder / "sub" / name)

    assert find(folder, GREEN) == file


@pytest.mark.parametrize("name", ["taxi_zone_lookup.CSV", "taxi_zone_lookup (1).csv"])
def test_a_zone_lookup_of_nearly_its_name_is_found(folder: Path, name: str) -> None:
    file = put(folder / name)

    assert find(folder, ZONES) == file


def test_the_published_name_wins_over_nearly_that_name(folder: Path) -> None:
    put(folder / "a" / "green_tripdata_2024-01 (1).parquet", b"other")
    file = put(folder / "b" / GREEN.name)

    assert find(folder, GREEN) == file


def test_two_different_files_of_one_name_are_both_named(folder: Path) -> None:
    one = put(folder / "green_tripdata_2024-01 (1).parquet", b"first")
    other = put(folder / "green_tripdata_2024-01.PARQUET", b"second")

    with pytest.raises(SourceError) as caught:
        find(folder, GREEN)

    assert f"the two files differ: {one}, {other}." in str(caught.value)
    other.write_bytes(b"first")
    assert find(folder, GREEN) == one


def test_the_one_part_file_of_a_folder_is_the_file(folder: Path) -> None:
    part = put(folder / GREEN.name / "part-00000-4f2a.snappy.parquet")
    put(folder / GREEN.name / "_SUCCESS", b"")
    put(folder / GREEN.name / ".part-00000-4f2a.snappy.parquet.crc", b"")

    assert find(folder, GREEN) == part
    assert contents(folder) == {"green": [Month(2024, 1)]}


def test_a_folder_of_several_part_files_says_what_to_do(folder: Path) -> None:
    for number in range(2):
        put(folder / GREEN.name / f"part-0000{number}.parquet")

    with pytest.raises(SourceError, match=r"2 part files \(.*part-00000\.parquet, .*part-00001.*coalesce\(1\)"):
        find(folder, GREEN)


def test_an_empty_folder_of_the_files_name_is_named(folder: Path) -> None:
    (folder / GREEN.name).mkdir()

    with pytest.raises(SourceError, match=rf"{folder / GREEN.name} is a folder with no \.parquet file"):
        find(folder, GREEN)


@pytest.mark.parametrize(
    "name", ["green_tripdata_2024-01.csv", "green_tripdata_2024-01.parquet.part", "green-tripdata-2024_01.parquet"]
)
def test_a_similar_file_is_named_and_not_taken(folder: Path, name: str) -> None:
    file = put(folder / name)
    put(folder / "green_tripdata_2024-02.parquet")

    with pytest.raises(NotPublishedError, match="similar name") as caught:
        find(folder, GREEN)

    assert str(file) in str(caught.value)
    assert "2024-02" not in str(caught.value)


def test_a_whole_file_wins_over_a_link_to_nowhere(folder: Path) -> None:
    (folder / GREEN.name).symlink_to(folder / "gone")
    file = put(folder / "sub" / GREEN.name)

    assert find(folder, GREEN) == file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_of_the_files_name_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / GREEN.name)

    with pytest.raises(NotPublishedError):
        find(folder, GREEN)


def test_a_subfolder_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = folder / "closed"
    closed.mkdir()
    real = os.scandir

    def denied(path: Any) -> Iterator[Any]:  # no mode keeps a folder from root
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)

    with pytest.raises(SourceError, match=rf"can't be read: {closed} \(Permission denied\)") as caught:
        find(folder, GREEN)
    assert not isinstance(caught.value, NotPublishedError)
    file = put(folder / GREEN.name)
    assert find(folder, GREEN) == file


def test_doctor_says_which_files_a_source_folder_holds(folder: Path, tmp_path: Path) -> None:
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home", TLC_SOURCE=str(folder))

    def doctor() -> tuple[str, str]:
        (finding,) = [one for one in examine(settings) if one.what == "TLC_SOURCE"]
        return finding.state, finding.found

    assert doctor() == ("warn", f"{folder} holds no file with a published name")
    for month in ("2023-11", "2024-01"):
        put(folder / "green" / f"green_tripdata_{month}.parquet")
    put(folder / "yellow_tripdata_2024-01.PARQUET")
    put(folder / "notes 2024-13.txt")
    assert doctor() == (
        "ok",
        f"{folder} holds files of green: 2 (2023-11 to 2024-01), yellow: 1 (2024-01 to 2024-01); no zone lookup",
    )
    put(folder / "taxi_zone_lookup.csv")
    assert doctor()[1].endswith("; the zone lookup")
