"""The landing zone in a folder: whole or not at all, every version kept, nothing left behind."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.datasets.months import Month
from lakehouse.errors import LandingError, LockedError
from lakehouse.landing import folder
from lakehouse.landing.folder import FolderLanding, sha256_of
from lakehouse.locks import held

JANUARY = Month(2023, 1)


# For tests whose processes begin as copies of this one: quick, and not to be had on Windows.
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
quietly = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def landing(tmp_path: Path) -> FolderLanding:
    return FolderLanding(tmp_path / "landing")


def given(tmp_path: Path, content: bytes, name: str = "incoming.parquet") -> Path:
    file = tmp_path / name
    file.write_bytes(content)
    return file


def files_in(landing: FolderLanding) -> set[str]:
    return {str(f.relative_to(landing.root)) for f in landing.root.rglob("*") if f.is_file() and f.name != ".lock"}


def test_a_file_lands_byte_for_byte_with_its_origin_and_hash_beside_it(landing: FolderLanding, tmp_path: Path) -> None:
    file = given(tmp_path, b"trips")

    landed = landing.put("green", JANUARY, file, "https://tlc.example/green_tripdata_2023-01.parquet", etag='"x"')

    assert files_in(landing) == {
        "green_trips/green_tripdata_2023-01.parquet",
        "green_trips/green_tripdata_2023-01.parquet.json",
    }
    assert (landing.root / "green_trips/green_tripdata_2023-01.parquet").read_bytes() == b"trips"
    record = json.loads((landing.root / "green_trips/green_tripdata_2023-01.parquet.json").read_text())
    assert record["sha256"] == sha256_of(file) == landed.sha256
    assert (record["dataset"], record["month"], record["size"], record["etag"]) == ("green", "2023-01", 5, '"x"')
    assert landing.find("green", JANUARY) == landed
    with landing.local(landed) as path:
        assert path.read_bytes() == b"trips"


def test_the_zone_lookup_has_no_month(landing: FolderLanding, tmp_path: Path) -> None:
    landed = landing.put("zones", None, given(tmp_path, b"1,EWR"), "https://tlc.example/zones")

    assert landed.month is None
    assert files_in(landing) == {"taxi_zones/taxi_zone_lookup.csv", "taxi_zones/taxi_zone_lookup.csv.json"}
    assert landing.find("zones", None) == landed


def test_the_same_bytes_again_change_nothing_but_the_etag(landing: FolderLanding, tmp_path: Path) -> None:
    file = given(tmp_path, b"trips")
    first = landing.put("green", JANUARY, file, "https://one.example", etag='"1"')

    same = landing.put("green", JANUARY, file, "https://two.example", etag='"1"')
    newer = landing.put("green", JANUARY, file, "https://two.example", etag='"2"')

    assert same == first
    assert (newer.origin, newer.landed_at, newer.etag) == (first.origin, first.landed_at, '"2"')
    assert len(landing.versions("green", JANUARY)) == 1


def test_a_republished_month_keeps_the_earlier_version_readable_by_its_hash(
    landing: FolderLanding, tmp_path: Path
) -> None:
    old = landing.put("green", JANUARY, given(tmp_path, b"first"), "o")
    new = landing.put("green", JANUARY, given(tmp_path, b"second"), "o")

    assert landing.find("green", JANUARY) == new
    assert [v.sha256 for v in landing.versions("green", JANUARY)] == [old.sha256, new.sha256]
    with landing.local(old) as old_path, landing.local(new) as new_path:
        assert (old_path.read_bytes(), new_path.read_bytes()) == (b"first", b"second")
    assert f"green_trips/versions/{old.sha256}/green_tripdata_2023-01.parquet" in files_in(landing)


def test_a_version_that_comes_back_lies_in_one_place(landing: FolderLanding, tmp_path: Path) -> None:
    first = landing.put("green", JANUARY, given(tmp_path, b"first"), "o")
    second = landing.put("green", JANUARY, given(tmp_path, b"second"), "o")

    back = landing.put("green", JANUARY, given(tmp_path, b"first"), "o")

    assert landing.find("green", JANUARY) == back
    assert back.sha256 == first.sha256
    assert [v.sha256 for v in landing.versions("green", JANUARY)] == [second.sha256, first.sha256]
    assert f"green_trips/versions/{first.sha256}/green_tripdata_2023-01.parquet" not in files_in(landing)


def test_a_file_without_a_record_is_not_landed(landing: FolderLanding, tmp_path: Path) -> None:
    landed = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    (landing.root / "green_trips/green_tripdata_2023-01.parquet.json").unlink()

    assert landing.find("green", JANUARY) is None
    assert landing.listing() == []
    assert landing.put("green", JANUARY, given(tmp_path, b"trips"), "o").sha256 == landed.sha256


@pytest.mark.parametrize(
    ("dataset", "month", "command"),
    [("green", JANUARY, "lakehouse load green 2023-01 --refresh"), ("zones", None, "lakehouse load zones --refresh")],
)
def test_a_record_that_cannot_be_read_says_how_to_land_again_and_can_be_left_out_of_a_listing(
    landing: FolderLanding, tmp_path: Path, dataset: str, month: Month | None, command: str
) -> None:
    file = given(tmp_path, b"trips")
    landed = landing.put(dataset, month, file, "o")
    other = landing.put("yellow", JANUARY, file, "o")
    next(landing.root.rglob(f"{landed.name}.json")).write_text('{"dataset": "green"')

    with pytest.raises(LandingError, match=f"`{command}`"):
        landing.find(dataset, month)
    with pytest.raises(LandingError, match=f"`{command}`"):
        landing.listing()

    assert landing.listing(skip_broken=True) == [other]
    assert landing.put(dataset, month, file, "o") == landing.find(dataset, month)


def test_a_broken_record_of_what_nobody_declared_is_to_be_restored_or_removed(
    landing: FolderLanding, tmp_path: Path
) -> None:
    landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    for name in ("red_tripdata_2023-01.parquet", "red_tripdata_2023-01.parquet.json"):
        (landing.root / "green_trips" / name).touch()

    with pytest.raises(LandingError, match="Restore it, or remove it and the file"):
        landing.listing()


def test_a_broken_record_of_an_earlier_version_is_to_be_restored_or_removed(
    landing: FolderLanding, tmp_path: Path
) -> None:
    first = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    landing.put("green", JANUARY, given(tmp_path, b"more trips"), "o")
    next(landing.root.rglob(f"versions/{first.sha256}/*.json")).write_bytes(b"")

    with pytest.raises(LandingError, match=f"versions/{first.sha256}/.*Restore it, or remove it and the file"):
        landing.versions("green", JANUARY)


@pytest.mark.parametrize("damage", [b"", b"trip", b"tripss"])
def test_a_landed_file_of_another_length_is_refused(landing: FolderLanding, tmp_path: Path, damage: bytes) -> None:
    landed = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    (landing.root / "green_trips/green_tripdata_2023-01.parquet").write_bytes(damage)

    with (
        pytest.raises(LandingError, match=r"5 were landed.*lakehouse load green 2023-01 --refresh"),
        landing.local(landed),
    ):
        raise AssertionError("damaged bytes were handed out")


def test_a_damaged_file_is_landed_anew_and_is_no_version(landing: FolderLanding, tmp_path: Path) -> None:
    file = given(tmp_path, b"trips")
    landed = landing.put("green", JANUARY, file, "o")
    (landing.root / "green_trips/green_tripdata_2023-01.parquet").write_bytes(b"TRIPS")

    again = landing.put("green", JANUARY, file, "o")

    assert again.sha256 == landed.sha256
    with landing.local(again) as path:
        assert path.read_bytes() == b"trips"
    assert len(landing.versions("green", JANUARY)) == 1


def test_a_full_disk_leaves_what_was_landed(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = landing.put("green", JANUARY, given(tmp_path, b"first"), "o")
    before = files_in(landing)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LandingError, match=r"No space left on device.*as it was"):
        landing.put("green", JANUARY, given(tmp_path, b"second"), "o")

    assert files_in(landing) == before
    assert landing.find("green", JANUARY) == old


def _put_and_die(root: Path, file: Path, step: int) -> None:
    """Land `file`, and die without cleaning up at the n-th call that changes the disk."""
    calls = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == step:
                os._exit(9)
            return real(*args, **kwargs)

        return call

    for name in ("fsync", "replace", "link"):
        setattr(os, name, counted(getattr(os, name)))
    FolderLanding(root).put("green", JANUARY, file, "o")
    os._exit(0)


@forks
@quietly
def test_a_put_killed_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    old_file, new_file = given(tmp_path, b"first", "old"), given(tmp_path, b"second", "new")
    outcomes = set()
    for step in range(1, 40):
        landing = FolderLanding(tmp_path / f"landing-{step}")
        landing.put("green", JANUARY, old_file, "o")

        process = multiprocessing.get_context("fork").Process(target=_put_and_die, args=(landing.root, new_file, step))
        process.start()
        process.join(30)

        found = landing.find("green", JANUARY)
        assert found is not None
        with landing.local(found) as path:
            assert sha256_of(path) == found.sha256
        outcomes.add(path.read_bytes())

        new = landing.put("green", JANUARY, new_file, "o")
        assert landing.find("green", JANUARY) == new
        assert [sha256_of(old_file), sha256_of(new_file)] == [v.sha256 for v in landing.versions("green", JANUARY)]
        assert not [f for f in files_in(landing) if ".landing-" in f]
        if process.exitcode == 0:
            break
    else:
        raise AssertionError("the put never came to its end")
    assert outcomes == {b"first", b"second"}


def _put(root: Path, file: Path) -> None:
    FolderLanding(root).put("green", JANUARY, file, file.name)


@forks
@quietly
def test_many_processes_that_land_the_same_month_leave_one_whole_file(tmp_path: Path) -> None:
    landing = FolderLanding(tmp_path / "landing")
    files = [given(tmp_path, bytes([n]) * 3_000_000, f"file-{n}") for n in range(6)]

    processes = [multiprocessing.get_context("fork").Process(target=_put, args=(landing.root, f)) for f in files]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [p.exitcode for p in processes] == [0] * 6
    versions = landing.versions("green", JANUARY)
    assert {v.sha256 for v in versions} == {sha256_of(f) for f in files}
    for version in versions:
        with landing.local(version) as path:
            assert sha256_of(path) == version.sha256


def test_the_listing_says_what_is_landed_from_where_and_when(landing: FolderLanding, tmp_path: Path) -> None:
    file = given(tmp_path, b"trips")
    assert landing.listing() == []
    landed = [
        landing.put("yellow", Month(2024, 2), file, "https://tlc.example/2"),
        landing.put("green", Month(2023, 1), file, "https://tlc.example/1"),
        landing.put("zones", None, file, "https://tlc.example/z"),
    ]
    landing.put("green", Month(2023, 1), given(tmp_path, b"newer"), "https://tlc.example/1")

    listing = landing.listing()

    assert [(x.dataset, str(x.month), x.origin) for x in listing] == [
        ("green", "2023-01", "https://tlc.example/1"),
        ("yellow", "2024-02", "https://tlc.example/2"),
        ("zones", "None", "https://tlc.example/z"),
    ]
    assert listing[1] == landed[0]


def sync_fails(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Syncing a folder gives this error; syncing a file works."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", ["EINVAL", "ENOTSUP", "EBADF", "ENOSYS"])
def test_folders_that_cannot_be_synced_take_files(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    sync_fails(monkeypatch, getattr(errno, number))

    for content in (b"first", b"second"):
        landing.put("green", JANUARY, given(tmp_path, content), "o")

    assert len(landing.versions("green", JANUARY)) == 2


@pytest.mark.parametrize("number", ["EIO", "ENOSPC"])
def test_a_broken_disk_is_an_error_when_a_folder_syncs(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    sync_fails(monkeypatch, getattr(errno, number))

    with pytest.raises(LandingError, match=os.strerror(getattr(errno, number))):
        landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")


def test_files_that_cannot_be_synced_land(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "fsync", fsync)

    assert landing.put("green", JANUARY, given(tmp_path, b"trips"), "o") == landing.find("green", JANUARY)


def test_a_landing_folder_held_elsewhere_says_by_whom(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "LOCK_SECONDS", 0.2)
    (landing.root / "green_trips").mkdir(parents=True)

    with (
        held(landing.root / "green_trips" / ".lock", "It"),
        pytest.raises(LockedError, match=rf"green_trips is still locked after .* by process {os.getpid()} on host"),
    ):
        landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
