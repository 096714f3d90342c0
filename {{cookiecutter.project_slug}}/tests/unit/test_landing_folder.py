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

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import LandingError, LockedError
from lakehouse.filesystem import sha256_of
from lakehouse.landing import folder
from lakehouse.landing.folder import FolderLanding
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
    return {
        str(f.relative_to(landing.store.root))
        for f in landing.store.root.rglob("*")
        if f.is_file() and f.name != ".lock"
    }


def test_an_earlier_version_that_cannot_be_removed_is_named(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (b"first", b"second", b"third"):
        landing.put(DatasetFile("green", JANUARY), given(tmp_path, content), "o")

    def denied(path: Path, **_: bool) -> None:  # no mode keeps a file from root
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.raises(LandingError, match=r"versions/.* removed: Permission denied\..* No current file was touched\."):
        landing.prune(keep=1)


def test_a_file_lands_byte_for_byte_with_its_origin_and_hash_beside_it(landing: FolderLanding, tmp_path: Path) -> None:
    file = given(tmp_path, b"trips")

    landed = landing.put(
        DatasetFile("green", JANUARY), file, "https://tlc.example/green_tripdata_2023-01.parquet", etag='"x"'
    )

    assert files_in(landing) == {
        "green_trips/green_tripdata_2023-01.parquet",
        "green_trips/green_tripdata_2023-01.parquet.json",
    }
    assert (landing.store.root / "green_trips/green_tripdata_2023-01.parquet").read_bytes() == b"trips"
    record = json.loads((landing.store.root / "green_trips/green_tripdata_2023-01.parquet.json").read_text())
    assert record["sha256"] == sha256_of(file) == landed.sha256
    assert (record["dataset"], record["month"], record["size"], record["etag"]) == ("green", "2023-01", 5, '"x"')
    assert landing.find(DatasetFile("green", JANUARY)) == landed
    with landing.local(landed) as path:
        assert path.read_bytes() == b"trips"


def test_a_full_disk_leaves_what_was_landed(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"first"), "o")
    before = files_in(landing)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LandingError, match=r"No space left on device.*are unchanged"):
        landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"second"), "o")

    assert files_in(landing) == before
    assert landing.find(DatasetFile("green", JANUARY)) == old


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
    FolderLanding(root).put(DatasetFile("green", JANUARY), file, "o")
    os._exit(0)


@forks
@quietly
def test_a_put_killed_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    old_file, new_file = given(tmp_path, b"first", "old"), given(tmp_path, b"second", "new")
    outcomes = set()
    for step in range(1, 40):
        landing = FolderLanding(tmp_path / f"landing-{step}")
        landing.put(DatasetFile("green", JANUARY), old_file, "o")

        process = multiprocessing.get_context("fork").Process(
            target=_put_and_die, args=(landing.store.root, new_file, step)
        )
        process.start()
        process.join(30)

        found = landing.find(DatasetFile("green", JANUARY))
        assert found is not None
        with landing.local(found) as path:
            assert sha256_of(path) == found.sha256
        outcomes.add(path.read_bytes())

        new = landing.put(DatasetFile("green", JANUARY), new_file, "o")
        assert landing.find(DatasetFile("green", JANUARY)) == new
        assert [sha256_of(old_file), sha256_of(new_file)] == [
            v.sha256 for v in landing.versions(DatasetFile("green", JANUARY))
        ]
        assert not [f for f in files_in(landing) if ".landing-" in f]
        if process.exitcode == 0:
            break
    else:
        raise AssertionError("the put never came to its end")
    assert outcomes == {b"first", b"second"}


def _put(root: Path, file: Path) -> None:
    FolderLanding(root).put(DatasetFile("green", JANUARY), file, file.name)


@forks
@quietly
def test_many_processes_that_land_the_same_month_leave_one_whole_file(tmp_path: Path) -> None:
    landing = FolderLanding(tmp_path / "landing")
    files = [given(tmp_path, bytes([n]) * 3_000_000, f"file-{n}") for n in range(6)]

    processes = [multiprocessing.get_context("fork").Process(target=_put, args=(landing.store.root, f)) for f in files]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [p.exitcode for p in processes] == [0] * 6
    versions = landing.versions(DatasetFile("green", JANUARY))
    assert {v.sha256 for v in versions} == {sha256_of(f) for f in files}
    for version in versions:
        with landing.local(version) as path:
            assert sha256_of(path) == version.sha256


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
        landing.put(DatasetFile("green", JANUARY), given(tmp_path, content), "o")

    assert len(landing.versions(DatasetFile("green", JANUARY))) == 2


@pytest.mark.parametrize("number", ["EIO", "ENOSPC"])
def test_a_broken_disk_is_an_error_when_a_folder_syncs(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    sync_fails(monkeypatch, getattr(errno, number))

    with pytest.raises(LandingError, match=os.strerror(getattr(errno, number))):
        landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")


def test_files_that_cannot_be_synced_land(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "fsync", fsync)

    assert landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o") == landing.find(
        DatasetFile("green", JANUARY)
    )


def test_a_landing_folder_held_elsewhere_says_by_whom(
    landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "LOCK_SECONDS", 0.2)
    (landing.store.root / "green_trips").mkdir(parents=True)

    with (
        held(landing.store.root / "green_trips" / ".lock", "It"),
        pytest.raises(LockedError, match=rf"green_trips is still locked after .* by process {os.getpid()} on host"),
    ):
        landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
