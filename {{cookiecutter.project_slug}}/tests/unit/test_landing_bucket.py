"""The landing zone in a bucket: whole or not at all, every version kept, errors that say what to do."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from tests.buckets import bucket_settings

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import LandingError, ServiceError
from lakehouse.landing.bucket import BucketLanding, s3_client

JANUARY = Month(2023, 1)
DATA = "raw_data/green_trips/green_tripdata_2023-01.parquet"


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[BucketLanding]:
    with mock_aws():
        yield BucketLanding(bucket_settings(tmp_path))


def given(tmp_path: Path, content: bytes) -> Path:
    file = tmp_path / "incoming.parquet"
    file.write_bytes(content)
    return file


def objects_in(landing: BucketLanding) -> set[str]:
    return set(landing.store.objects(""))


def test_a_file_lands_byte_for_byte_with_its_record_beside_it(landing: BucketLanding, tmp_path: Path) -> None:
    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "https://tlc.example/x", etag='"x"')

    assert objects_in(landing) == {DATA, f"{DATA}.json"}
    record = json.loads(landing.store.s3.get_object(Bucket="warehouse", Key=f"{DATA}.json")["Body"].read())
    assert (record["dataset"], record["month"], record["size"], record["etag"]) == ("green", "2023-01", 5, '"x"')
    assert landed.uri == f"s3://warehouse/{DATA}"
    assert landing.find(DatasetFile("green", JANUARY)) == landed
    with landing.local(landed) as path:
        assert path.read_bytes() == b"trips"
    assert not path.exists()


def test_a_large_file_goes_up_in_parts(landing: BucketLanding, tmp_path: Path) -> None:
    content = bytes(range(256)) * (160 << 10)  # 40 MB

    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, content), "o")

    with landing.local(landed) as path:
        assert path.read_bytes() == content


def test_nothing_is_landed_in_a_bucket_that_does_not_exist_yet(landing: BucketLanding) -> None:
    assert landing.find(DatasetFile("green", JANUARY)) is None
    assert landing.listing() == []
    assert landing.versions(DatasetFile("green", JANUARY)) == []


def test_bytes_that_changed_after_landing_are_refused(landing: BucketLanding, tmp_path: Path) -> None:
    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    landing.store.s3.put_object(Bucket="warehouse", Key=DATA, Body=b"tripz")

    with (
        pytest.raises(LandingError, match=r"changed after it was landed.*load green 2023-01 --refresh"),
        landing.local(landed),
    ):
        pass


def test_a_store_that_is_away_is_one_error_that_names_it(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"  # bound, not listening: refused
        landing = BucketLanding(bucket_settings(tmp_path, url))
        start = time.monotonic()

        with pytest.raises(ServiceError, match=url):
            landing.find(DatasetFile("green", JANUARY))
        with pytest.raises(ServiceError, match=url):
            landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")

    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("XMinioStorageFull", "Storage backend has reached its minimum free drive threshold."),
        ("InternalError", "We encountered an internal error, please try again.: cause(no space left on device)"),
    ],
    ids=["said beforehand", "said in mid-write"],
)
def test_a_store_without_room_says_so_however_it_puts_it(
    landing: BucketLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    old = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"first"), "o")

    def full(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")

    monkeypatch.setattr(landing.store.s3, "put_object", full)

    with pytest.raises(LandingError, match="no room left"):
        landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"second"), "o")

    assert landing.find(DatasetFile("green", JANUARY)) == old


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_bucket_is_made_in_the_region_that_is_set(tmp_path: Path, region: str) -> None:
    with mock_aws():
        settings = bucket_settings(tmp_path).model_copy(update={"s3_region": region})
        landing = BucketLanding(settings)

        landing.store.ensure_bucket()

        assert landing.store.s3.head_bucket(Bucket="warehouse")["BucketRegion"] == region


def test_a_home_that_takes_no_file_is_told(landing: BucketLanding, tmp_path: Path) -> None:
    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")
    (tmp_path / "home").touch()

    with pytest.raises(LandingError, match=rf"{tmp_path}.home.staging: .*LAKEHOUSE_HOME"), landing.local(landed):
        pass


def test_a_disk_that_is_full_is_told_and_what_a_reader_raises_is_its_own(
    landing: BucketLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = landing.put(DatasetFile("green", JANUARY), given(tmp_path, b"trips"), "o")

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"), landing.local(landed):
        full(None)
    monkeypatch.setattr(landing.store, "_chunks", full)
    with pytest.raises(LandingError, match="No space left"), landing.local(landed):
        pass


def test_the_secret_is_in_no_message_and_no_repr(tmp_path: Path) -> None:
    settings = bucket_settings(tmp_path, "http://127.0.0.1:1")

    assert "secret-of-the-loader" not in repr(settings) + repr(s3_client(settings))
