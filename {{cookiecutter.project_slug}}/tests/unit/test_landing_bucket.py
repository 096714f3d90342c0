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
from pydantic import SecretStr

from lakehouse.datasets.months import Month
from lakehouse.errors import LandingError, ServiceError
from lakehouse.landing.bucket import BucketLanding, s3_client
from lakehouse.settings import Settings

JANUARY = Month(2023, 1)
DATA = "raw_data/green_trips/green_tripdata_2023-01.parquet"


def settings_for(tmp_path: Path, url: str) -> Settings:
    return Settings(
        LAKEHOUSE_TARGET="trino",
        LAKEHOUSE_HOME=tmp_path / "home",
        S3_URL=url,
        S3_BUCKET="warehouse",
        S3_ACCESS_KEY="loader",
        S3_SECRET_KEY=SecretStr("secret-of-the-loader"),
    )


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[BucketLanding]:
    with mock_aws():
        yield BucketLanding(settings_for(tmp_path, "https://s3.amazonaws.com"))


def given(tmp_path: Path, content: bytes) -> Path:
    file = tmp_path / "incoming.parquet"
    file.write_bytes(content)
    return file


def objects_in(landing: BucketLanding) -> set[str]:
    return set(landing._keys(""))


def test_a_file_lands_byte_for_byte_with_its_record_beside_it(landing: BucketLanding, tmp_path: Path) -> None:
    landed = landing.put("green", JANUARY, given(tmp_path, b"trips"), "https://tlc.example/x", etag='"x"')

    assert objects_in(landing) == {DATA, f"{DATA}.json"}
    record = json.loads(landing._s3.get_object(Bucket="warehouse", Key=f"{DATA}.json")["Body"].read())
    assert (record["dataset"], record["month"], record["size"], record["etag"]) == ("green", "2023-01", 5, '"x"')
    assert landed.uri == f"s3://warehouse/{DATA}"
    assert landing.find("green", JANUARY) == landed
    with landing.local(landed) as path:
        assert path.read_bytes() == b"trips"
    assert not path.exists()


def test_a_large_file_goes_up_in_parts(landing: BucketLanding, tmp_path: Path) -> None:
    content = bytes(range(256)) * (160 << 10)  # 40 MB

    landed = landing.put("green", JANUARY, given(tmp_path, content), "o")

    with landing.local(landed) as path:
        assert path.read_bytes() == content


def test_nothing_is_landed_in_a_bucket_that_does_not_exist_yet(landing: BucketLanding) -> None:
    assert landing.find("green", JANUARY) is None
    assert landing.listing() == []
    assert landing.versions("green", JANUARY) == []


def test_data_without_its_record_is_not_landed(landing: BucketLanding, tmp_path: Path) -> None:
    landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    landing._s3.delete_object(Bucket="warehouse", Key=f"{DATA}.json")

    assert landing.find("green", JANUARY) is None
    assert landing.listing() == []


def test_a_record_that_cannot_be_read_says_how_to_land_again_and_can_be_left_out_of_a_listing(
    landing: BucketLanding, tmp_path: Path
) -> None:
    other = landing.put("green", Month(2023, 2), given(tmp_path, b"trips"), "o")
    landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    landing._s3.put_object(Bucket="warehouse", Key=f"{DATA}.json", Body=b"")

    with pytest.raises(LandingError, match="`lakehouse load green 2023-01 --refresh`"):
        landing.find("green", JANUARY)
    with pytest.raises(LandingError, match="`lakehouse load green 2023-01 --refresh`"):
        landing.listing()

    assert landing.listing(skip_broken=True) == [other]
    assert landing.put("green", JANUARY, given(tmp_path, b"trips"), "o") == landing.find("green", JANUARY)


def test_a_republished_month_keeps_the_earlier_version_readable(landing: BucketLanding, tmp_path: Path) -> None:
    old = landing.put("green", JANUARY, given(tmp_path, b"first"), "o")
    new = landing.put("green", JANUARY, given(tmp_path, b"second"), "o")

    assert landing.find("green", JANUARY) == new
    assert [v.sha256 for v in landing.versions("green", JANUARY)] == [old.sha256, new.sha256]
    assert landing.listing() == [new]
    with landing.local(old) as old_path, landing.local(new) as new_path:
        assert (old_path.read_bytes(), new_path.read_bytes()) == (b"first", b"second")

    back = landing.put("green", JANUARY, given(tmp_path, b"first"), "o")

    assert [v.sha256 for v in landing.versions("green", JANUARY)] == [new.sha256, back.sha256]


def test_a_put_killed_before_its_record_leaves_the_old_version(
    landing: BucketLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = landing.put("green", JANUARY, given(tmp_path, b"first"), "o")
    write = landing._write

    def killed(landed: object, key: str) -> None:
        if key == DATA:
            raise KeyboardInterrupt
        write(landed, key)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(landing, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            landing.put("green", JANUARY, given(tmp_path, b"second"), "o")

    assert landing.find("green", JANUARY) == old
    with landing.local(old) as path:
        assert path.read_bytes() == b"first"
    assert landing.put("green", JANUARY, given(tmp_path, b"second"), "o") == landing.find("green", JANUARY)


def test_the_same_bytes_again_change_nothing_but_the_etag(landing: BucketLanding, tmp_path: Path) -> None:
    first = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o", etag='"1"')

    assert landing.put("green", JANUARY, given(tmp_path, b"trips"), "p", etag='"1"') == first
    assert landing.put("green", JANUARY, given(tmp_path, b"trips"), "p", etag='"2"').etag == '"2"'
    assert len(landing.versions("green", JANUARY)) == 1


def test_bytes_that_changed_after_landing_are_refused(landing: BucketLanding, tmp_path: Path) -> None:
    landed = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    landing._s3.put_object(Bucket="warehouse", Key=DATA, Body=b"tripz")

    with (
        pytest.raises(LandingError, match=r"changed after landing.*load green 2023-01 --refresh"),
        landing.local(landed),
    ):
        pass


def test_damaged_bytes_of_the_same_length_are_landed_anew_and_are_no_version(
    landing: BucketLanding, tmp_path: Path
) -> None:
    landed = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    landing._s3.put_object(Bucket="warehouse", Key=DATA, Body=b"tripz")

    again = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")

    assert again.sha256 == landed.sha256
    with landing.local(again) as path:
        assert path.read_bytes() == b"trips"
    assert landing.versions("green", JANUARY) == [again]


def test_damaged_bytes_are_not_kept_under_the_hash_of_what_was_landed(landing: BucketLanding, tmp_path: Path) -> None:
    landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    landing._s3.put_object(Bucket="warehouse", Key=DATA, Body=b"tripz")

    restated = landing.put("green", JANUARY, given(tmp_path, b"other"), "o")

    assert landing.versions("green", JANUARY) == [restated]
    assert objects_in(landing) == {DATA, f"{DATA}.json"}


def test_a_file_that_is_gone_says_so(landing: BucketLanding, tmp_path: Path) -> None:
    landed = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    landing._s3.delete_object(Bucket="warehouse", Key=DATA)

    with pytest.raises(LandingError, match="is gone"), landing.local(landed):
        pass


def test_a_store_that_is_away_is_one_error_that_names_it(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"  # bound, not listening: refused
        landing = BucketLanding(settings_for(tmp_path, url))
        start = time.monotonic()

        with pytest.raises(ServiceError, match=url):
            landing.find("green", JANUARY)
        with pytest.raises(ServiceError, match=url):
            landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")

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
    old = landing.put("green", JANUARY, given(tmp_path, b"first"), "o")

    def full(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")

    monkeypatch.setattr(landing._s3, "put_object", full)

    with pytest.raises(LandingError, match="no room left"):
        landing.put("green", JANUARY, given(tmp_path, b"second"), "o")

    assert landing.find("green", JANUARY) == old


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_bucket_is_made_in_the_region_that_is_set(tmp_path: Path, region: str) -> None:
    with mock_aws():
        settings = settings_for(tmp_path, "https://s3.amazonaws.com").model_copy(update={"s3_region": region})
        landing = BucketLanding(settings)

        landing.ensure_bucket()

        assert landing._s3.head_bucket(Bucket="warehouse")["BucketRegion"] == region


def test_a_home_that_takes_no_file_is_told(landing: BucketLanding, tmp_path: Path) -> None:
    landed = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")
    (tmp_path / "home").touch()

    with pytest.raises(LandingError, match=rf"{tmp_path}.home.staging: .*LAKEHOUSE_HOME"), landing.local(landed):
        pass


def test_a_disk_that_is_full_is_told_and_what_a_reader_raises_is_its_own(
    landing: BucketLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = landing.put("green", JANUARY, given(tmp_path, b"trips"), "o")

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"), landing.local(landed):
        full(None)
    monkeypatch.setattr(landing, "_chunks", full)
    with pytest.raises(LandingError, match="No space left"), landing.local(landed):
        pass


def test_the_secret_is_in_no_message_and_no_repr(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:1")

    assert "secret-of-the-loader" not in repr(settings) + repr(s3_client(settings))
