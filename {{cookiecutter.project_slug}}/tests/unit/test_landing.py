"""The landing zone's rules, over both stores: whole or not at all, every version kept, damage noticed.

Races are tried where stores are real: in a folder by test_landing_folder.py, in a bucket by tests/integration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from tests.buckets import bucket_settings

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import LandingError
from lakehouse.filesystem import sha256_of
from lakehouse.landing.bucket import BucketLanding
from lakehouse.landing.folder import FolderLanding
from lakehouse.landing.zone import Landing

JANUARY = Month(2023, 1)
KEY = "green_trips/green_tripdata_2023-01.parquet"
RECORD = f"{KEY}.json"


@pytest.fixture(params=["folder", "bucket"])
def landing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Landing]:
    if request.param == "folder":
        yield FolderLanding(tmp_path / "landing")
        return
    with mock_aws():
        yield BucketLanding(bucket_settings(tmp_path))


def given(tmp_path: Path, content: bytes, name: str = "incoming.parquet") -> Path:
    file = tmp_path / name
    file.write_bytes(content)
    return file


def content(landing: Landing, version: Any) -> bytes:
    with landing.local(version) as path:
        return path.read_bytes()


def test_a_file_lands_byte_for_byte_with_its_record_beside_it(landing: Landing, tmp_path: Path) -> None:
    file = given(tmp_path, b"trips")

    landed = landing.put(DatasetFile("green", JANUARY), file, "https://tlc.example/x", etag='"x"')

    assert {key for key in landing.store.listed() if not key.endswith(".lock")} == {KEY, RECORD}
    assert (landed.size, landed.sha256, landed.etag) == (5, sha256_of(file), '"x"')
    assert landing.find(DatasetFile("green", JANUARY)) == landed
    assert content(landing, landed) == b"trips"


def test_a_folder_that_takes_no_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "green_trips").write_text("a file in place of the folder", encoding="utf-8")

    says = r"green_tripdata_2023-01\.parquet can't be landed in .*: File exists\. .* unchanged\. See that you may write"
    with pytest.raises(LandingError, match=says):
        FolderLanding(tmp_path / "landing").put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "test")


def test_the_zone_lookup_has_no_month(landing: Landing, tmp_path: Path) -> None:
    landed = landing.put(DatasetFile("zones"), given(tmp_path, b"1,EWR"), "https://tlc.example/zones")

    assert landed.file.part is None
    assert landing.store.size("taxi_zones/taxi_zone_lookup.csv") == 5
    assert landing.find(DatasetFile("zones")) == landed


def test_the_same_bytes_again_change_nothing_but_the_etag(landing: Landing, tmp_path: Path) -> None:
    file = given(tmp_path, b"trips")
    first = landing.put(DatasetFile("green", JANUARY), file, "https://one.example", etag='"1"')

    same = landing.put(DatasetFile("green", JANUARY), file, "https://two.example", etag='"1"')
    newer = landing.put(DatasetFile("green", JANUARY), file, "https://two.example", etag='"2"')

    assert same == first
    assert (newer.origin, newer.landed_at, newer.etag) == (first.origin, first.landed_at, '"2"')
    assert len(landing.versions(DatasetFile("green", JANUARY))) == 1


def test_a_republished_month_keeps_the_earlier_version_readable(landing: Landing, tmp_path: Path) -> None:
    old = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"first"), "o")
    new = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"second"), "o")

    assert landing.find(DatasetFile("green", JANUARY)) == new
    assert landing.listing() == [new]
    assert [v.sha256 for v in landing.versions(DatasetFile("green", JANUARY))] == [old.sha256, new.sha256]
    assert (content(landing, old), content(landing, new)) == (b"first", b"second")


def test_a_version_that_comes_back_lies_in_one_place(landing: Landing, tmp_path: Path) -> None:
    first = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"first"), "o")
    second = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"second"), "o")

    back = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"first"), "o")

    assert landing.find(DatasetFile("green", JANUARY)) == back
    assert back.sha256 == first.sha256
    assert [v.sha256 for v in landing.versions(DatasetFile("green", JANUARY))] == [second.sha256, first.sha256]
    assert not [key for key in landing.store.listed() if first.sha256 in key]


def test_a_file_without_its_record_is_not_landed(landing: Landing, tmp_path: Path) -> None:
    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    landing.store.delete(RECORD)

    assert landing.find(DatasetFile("green", JANUARY)) is None
    assert landing.listing() == []
    assert landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o").sha256 == landed.sha256


@pytest.mark.parametrize(
    ("dataset", "month", "command"),
    [("green", JANUARY, "lakehouse load green 2023-01 --refresh"), ("zones", None, "lakehouse load zones --refresh")],
)
def test_a_broken_record_says_how_to_land_again_and_a_listing_can_skip_it(
    landing: Landing, tmp_path: Path, dataset: str, month: Month | None, command: str
) -> None:
    file = given(tmp_path, b"trips")
    landing.put(DatasetFile(dataset, month), file, "o")
    other = landing.put(DatasetFile("yellow", JANUARY), file, "o")
    (record,) = [key for key in landing.store.listed() if key.endswith(".json") and "yellow" not in key]
    landing.store.write(record, b'{"dataset": "green"')

    with pytest.raises(LandingError, match=f"`{command}`"):
        landing.find(DatasetFile(dataset, month))
    with pytest.raises(LandingError, match=f"`{command}`"):
        landing.listing()

    assert landing.listing(skip_broken=True) == [other]
    assert landing.put(DatasetFile(dataset, month), file, "o") == landing.find(DatasetFile(dataset, month))


def test_a_broken_record_of_an_undeclared_file_says_what_to_do(landing: Landing, tmp_path: Path) -> None:
    landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    for key in ("green_trips/red_tripdata_2023-01.parquet", "green_trips/red_tripdata_2023-01.parquet.json"):
        landing.store.write(key, b"")

    with pytest.raises(LandingError, match="Restore the record, or remove both it and the file"):
        landing.listing()


def test_a_broken_record_of_an_earlier_version_says_what_to_do(landing: Landing, tmp_path: Path) -> None:
    first = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"more trips"), "o")
    (record,) = [key for key in landing.store.listed() if first.sha256 in key and key.endswith(".json")]
    landing.store.write(record, b"")

    with pytest.raises(LandingError, match=f"versions/{first.sha256}/.*Restore the record, or remove both"):
        landing.versions(DatasetFile("green", JANUARY))


def test_earlier_versions_of_what_is_declared_no_more_are_removed(
    landing: Landing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = [
        landing.put(DatasetFile("green", JANUARY), given(tmp_path, content), "o")
        for content in (b"first", b"second", b"third")
    ]
    monkeypatch.delitem(DATASETS, "green")

    assert [one.sha256 for one in landing.prune(keep=1)] == [first.sha256]

    left = landing.store.listed()
    assert not [key for key in left if first.sha256 in key]
    assert len([key for key in left if second.sha256 in key]) == 2
    assert {KEY, RECORD} < set(left)


@pytest.mark.parametrize("damage", [b"", b"trip", b"tripss"])
def test_a_landed_file_of_another_length_is_refused(landing: Landing, tmp_path: Path, damage: bytes) -> None:
    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    landing.store.write(KEY, damage)

    with pytest.raises(LandingError, match=r"instead of 5\..*lakehouse load green 2023-01 --refresh"):
        content(landing, landed)


def test_a_landed_file_that_is_gone_is_refused(landing: Landing, tmp_path: Path) -> None:
    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    landing.store.delete(KEY)

    with pytest.raises(LandingError, match=r"is missing.*lakehouse load green 2023-01 --refresh"):
        content(landing, landed)


@pytest.mark.parametrize("damage", [b"TRIPS", b"", b"trips and more"])
def test_a_damaged_file_is_landed_again_and_is_no_version(landing: Landing, tmp_path: Path, damage: bytes) -> None:
    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    landing.store.write(KEY, damage)

    again = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")

    assert again.sha256 == landed.sha256
    assert content(landing, again) == b"trips"
    assert landing.versions(DatasetFile("green", JANUARY)) == [again]


def test_damaged_bytes_are_not_kept_under_the_hash_of_the_landed_ones(landing: Landing, tmp_path: Path) -> None:
    landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    landing.store.write(KEY, b"TRIPS")

    restated = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"other"), "o")

    assert landing.versions(DatasetFile("green", JANUARY)) == [restated]


class Killed(BaseException):
    """The process ends here."""


CHANGES = ("take", "write", "copy", "delete")


def put_and_die(landing: Landing, file: Path, step: int, *, late: bool) -> bool:
    """Land `file`, and die before (or just after) the n-th change of the store; whether it came to its end."""
    calls = 0

    def call(real: Callable[..., None], *args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == step and not late:
            raise Killed
        real(*args)
        if calls == step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(landing.store, name, partial(call, getattr(landing.store, name)))
        try:
            landing.put(DatasetFile("green", JANUARY), file, "o")
        except Killed:
            return False
    return True


@pytest.mark.parametrize("late", [False, True], ids=["before the change", "after the change"])
@pytest.mark.parametrize("comes_back", [False, True], ids=["a new version", "a version that comes back"])
def test_a_put_killed_at_any_change_leaves_the_old_file_or_the_new_one(
    landing: Landing, tmp_path: Path, *, comes_back: bool, late: bool
) -> None:
    old, new = given(tmp_path, b"first", "old"), given(tmp_path, b"second", "new")
    hashes = {sha256_of(old), sha256_of(new)}
    outcomes = set()
    for step in range(1, 20):
        if comes_back:
            landing.put(DatasetFile("green", JANUARY), new, "o")
        landing.put(DatasetFile("green", JANUARY), old, "o")

        ended = put_and_die(landing, new, step, late=late)

        found = landing.find(DatasetFile("green", JANUARY))
        assert found is not None
        outcomes.add(content(landing, found))
        for version in landing.versions(DatasetFile("green", JANUARY)):
            assert content(landing, version) == {sha256_of(old): b"first", sha256_of(new): b"second"}[version.sha256]
        again = landing.put(DatasetFile("green", JANUARY), new, "o")
        assert landing.find(DatasetFile("green", JANUARY)) == again
        assert {version.sha256 for version in landing.versions(DatasetFile("green", JANUARY))} == hashes
        if ended:
            break
    else:
        raise AssertionError("the put never came to its end")
    assert outcomes == {b"first", b"second"}


def test_the_listing_says_what_is_landed_from_where_and_when(landing: Landing, tmp_path: Path) -> None:
    file = given(tmp_path, b"trips")
    assert landing.listing() == []
    landed = [
        landing.put(DatasetFile("yellow", Month(2024, 2)), file, "https://tlc.example/2"),
        landing.put(DatasetFile("green", Month(2023, 1)), file, "https://tlc.example/1"),
        landing.put(DatasetFile("zones"), file, "https://tlc.example/z"),
    ]
    landing.put(DatasetFile("green", Month(2023, 1)), given(tmp_path, b"newer"), "https://tlc.example/1")

    listing = landing.listing()

    assert [(one.file.dataset, str(one.file.part), one.origin) for one in listing] == [
        ("green", "2023-01", "https://tlc.example/1"),
        ("yellow", "2024-02", "https://tlc.example/2"),
        ("zones", "None", "https://tlc.example/z"),
    ]
    assert listing[1] == landed[0]


def test_files_of_a_dataset_that_is_declared_no_more_are_named_apart(
    landing: Landing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as declared:
        declared.setitem(DATASETS, "orders", replace(DATASETS["zones"], name="orders", table="raw.orders"))
        landing.put(DatasetFile("orders"), given(tmp_path, b"orders"), "test")
    zones = landing.put(DatasetFile("zones"), given(tmp_path, b"zones"), "test")

    assert landing.listing() == [zones]
    assert landing.contents() == ([zones], ["orders"])
