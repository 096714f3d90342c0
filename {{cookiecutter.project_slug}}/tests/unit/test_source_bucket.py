"""A bucket as the source: searched like a folder, landed byte for byte, one state of each file or an error."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from tests.buckets import KEYS, Inbox, forget_buckets, s3_server, use_store
from tests.lake import Lake
from tests.pages import declared_on_page
from tests.unit.servers import Quiet, serving
from typer.testing import CliRunner

from lakehouse.cli import app
from lakehouse.cli.doctor import Finding, examine
from lakehouse.datasets.days import Day
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import ChangedError, NotPublishedError, SourceError, UnreachableError
from lakehouse.landing.land import land
from lakehouse.settings import Settings, load_settings
from lakehouse.sources.search import contents
from lakehouse.sources.site import FolderSource, Version, open_source
from lakehouse.synthetic.generate import write_month

GREEN = DatasetFile("green", Month(2024, 1))
ZONES = DatasetFile("zones")
LOOKUP = b'"LocationID","Borough","Zone","service_zone"\n1,"EWR","Newark Airport","EWR"\n'
DAY = DatasetFile("sales", Day(2024, 1, 5))
SALES = b"Sold at;Region;Amount\n2024-01-05 10:00;%s;1\n"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def inbox(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    use_store(monkeypatch, store)
    yield Inbox(store)
    forget_buckets()


@pytest.fixture
def month(tmp_path: Path) -> bytes:
    return write_month(tmp_path / "month.parquet", "green", Month(2024, 1), 10).read_bytes()


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files of a day are one part."""
    monkeypatch.setitem(DATASETS, "sales", replace(declared_on_page("SALES"), files="sales_{day:%Y%m%d}_*.csv"))


def test_a_file_lands_byte_for_byte_with_its_address_and_etag(inbox: Inbox, lake: Lake) -> None:
    address = inbox.put("in/2024/Taxi_Zone_Lookup.CSV", LOOKUP)
    inbox.put("other/taxi_zone_lookup.csv", b"another folder's")

    landed = land(lake.landing, f"{inbox}/in", ZONES)

    assert (landed.origin, landed.sha256) == (address, hashlib.sha256(LOOKUP).hexdigest())
    assert landed.etag == inbox.etag("in/2024/Taxi_Zone_Lookup.CSV")
    assert landed.last_modified.endswith(" GMT")


def test_a_file_with_the_etag_that_is_landed_is_not_read_again(inbox: Inbox, lake: Lake, tmp_path: Path) -> None:
    inbox.put("taxi_zone_lookup.csv", LOOKUP)
    first = land(lake.landing, str(inbox), ZONES)

    again = land(lake.landing, str(inbox), ZONES, refresh=True)
    target = tmp_path / "copy"
    unchanged = open_source(str(inbox)).fetch(ZONES, target, Version(first.origin, first.etag))
    inbox.put("taxi_zone_lookup.csv", LOOKUP + b'2,"Queens","Jamaica Bay","Boro Zone"\n')
    changed = land(lake.landing, str(inbox), ZONES, refresh=True)

    assert again == first
    assert unchanged is None
    assert not target.exists()
    assert changed.size > first.size


def test_what_is_no_file_of_the_dataset_is_refused(inbox: Inbox, lake: Lake) -> None:
    address = inbox.put("green_tripdata_2024-01.parquet", b"PAR1 and no more")

    with pytest.raises(SourceError, match=f"{address} is cut short"):
        land(lake.landing, str(inbox), GREEN)
    inbox.put("green_tripdata_2024-01.parquet", b"PAR1 and a length of its footer \xff\xff\xff\0PAR1")
    with pytest.raises(SourceError, match=f"{address} is damaged: it ends as a parquet file, but its footer"):
        land(lake.landing, str(inbox), GREEN)


def test_the_folders_of_names_are_searched_as_on_a_disk(inbox: Inbox) -> None:
    inbox.put("in/", b"")  # as consoles make an empty folder
    inbox.put("in/sub", b"")  # and some tools
    inbox.put("in/sub/green_tripdata_2024-01.parquet/_SUCCESS", b"")
    inbox.put("in/sub/green_tripdata_2024-01.parquet/part-0.parquet", b"1")
    inbox.put("in//green_tripdata_2024-02 (1).parquet", b"2")
    inbox.put("in/versions/green_tripdata_2024-03.parquet", b"old")
    inbox.put("in/.trash/green_tripdata_2024-04.parquet", b"gone")
    inbox.put("in/taxi_zone_lookup.csv", LOOKUP)
    inbox.put("in/taxi_zone_lookup.csv/green_tripdata_2024-05.parquet", b"below a file")
    inbox.put("inside/green_tripdata_2024-06.parquet", b"another folder")
    source = open_source(f"{inbox}/in/")

    assert isinstance(source, FolderSource)
    assert contents(source.folder) == {"green": [Month(2024, 1), Month(2024, 2)], "zones": []}


def test_two_files_of_one_name_count_once_if_they_are_equal(inbox: Inbox, lake: Lake) -> None:
    one = inbox.put("a/taxi_zone_lookup.csv", LOOKUP)
    inbox.put("b/taxi_zone_lookup.csv", LOOKUP)
    assert land(lake.landing, str(inbox), ZONES).origin == one

    other = inbox.put("b/taxi_zone_lookup.csv", LOOKUP.replace(b"EWR", b"JFK"))

    with pytest.raises(SourceError, match=f"twice, and the two files differ: {one}, {other}"):
        land(lake.landing, str(inbox), ZONES, refresh=True)


def test_a_missing_file_is_reported_with_those_of_a_similar_name(inbox: Inbox, lake: Lake) -> None:
    similar = inbox.put("in/green-tripdata-2024-01.parquet", b"x")

    with pytest.raises(NotPublishedError, match=rf"not in the source folder s3://inbox/in: .*{similar}"):
        land(lake.landing, f"{inbox}/in", GREEN)


def test_a_landing_zone_in_a_bucket_says_where_its_files_came_from(inbox: Inbox, lake: Lake) -> None:
    key = "raw_data/taxi_zones/taxi_zone_lookup.csv"
    inbox.put(key, LOOKUP)
    record = {"dataset": "zones", "month": None, "day": None, "uri": f"{inbox}/{key}", "size": len(LOOKUP)}
    record |= {"sha256": hashlib.sha256(LOOKUP).hexdigest(), "origin": "https://tlc.example/x", "etag": '"tlc"'}
    record |= {"last_modified": "", "landed_at": "2024-03-01T00:00:00+00:00"}
    inbox.put(f"{key}.json", json.dumps(record).encode())

    landed = land(lake.landing, f"{inbox}/raw_data", ZONES)

    assert (landed.origin, landed.etag) == ("https://tlc.example/x", '"tlc"')
    inbox.put(f"{key}.json", json.dumps(record | {"sha256": "0" * 64}).encode())
    with pytest.raises(
        SourceError, match=f"{key} was changed after it was landed there: .* which its record beside it"
    ):
        land(lake.landing, f"{inbox}/raw_data", ZONES, refresh=True)


@pytest.mark.usefixtures("several")
def test_several_files_of_a_day_land_as_one(inbox: Inbox, lake: Lake) -> None:
    inbox.put("in/sales_20240105_south.csv", SALES % b"south")
    inbox.put("in/rome/sales_20240105_north.csv", SALES % b"north")

    landed = land(lake.landing, f"{inbox}/in", DAY)

    assert landed.origin == "2 files of s3://inbox/in: sales_20240105_north.csv, sales_20240105_south.csv"


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("sales_20240105_south.csv", "sales_20240105_south.csv was replaced or removed while it was copied"),
        ("sales_20240105_west.csv", "sales_20240105_west.csv changed while it was copied"),
    ],
    ids=["replaced", "comes"],
)
def test_files_that_change_while_they_are_copied_do_not_land(inbox: Inbox, lake: Lake, key: str, says: str) -> None:
    for region in (b"north", b"south"):
        inbox.put(f"sales_20240105_{region.decode()}.csv", SALES % region)

    def change(*_: int) -> None:
        inbox.put(key, SALES % b"elsewhere")

    with pytest.raises(ChangedError, match=says):
        land(lake.landing, str(inbox), DAY, progress=change)
    assert lake.landing.find(DAY) is None


def test_a_bucket_with_too_many_objects_is_not_listed_to_its_end(
    inbox: Inbox, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.sources.objects.MOST_OBJECTS", 2)
    for n in range(3):
        inbox.put(f"in/{n}", b"")

    with pytest.raises(SourceError, match=r"s3://inbox/in/ has more than 2 objects.*TLC_SOURCE to a folder in it"):
        land(lake.landing, f"{inbox}/in", GREEN)


def test_a_bucket_that_does_not_exist_is_named(inbox: Inbox, lake: Lake) -> None:
    with pytest.raises(
        SourceError, match=rf"{inbox.url} has no bucket 'elsewhere'.*TLC_SOURCE names the bucket, and SOURCE_S3_URL"
    ):
        land(lake.landing, "s3://elsewhere/in", GREEN)


def test_a_store_that_is_away_is_one_error_that_names_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        use_store(monkeypatch, url)

        with pytest.raises(UnreachableError, match=rf"{url} does not answer for the bucket 'inbox'.*SOURCE_S3_URL"):
            land(lake.landing, "s3://inbox", GREEN)


def test_without_any_keys_the_settings_are_named(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    use_store(monkeypatch, "http://127.0.0.1:1", SOURCE_S3_ACCESS_KEY="", SOURCE_S3_SECRET_KEY="")

    with pytest.raises(SourceError, match=r"No complete login for the source bucket 'inbox' was.*SOURCE_S3_ACCESS_KEY"):
        land(lake.landing, "s3://inbox", GREEN)


def test_an_expired_login_says_to_log_in_again(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    config = (
        "[default]\nsso_account_id = 1\nsso_role_name = reader\nsso_region = us-east-1\nsso_start_url = https://x\n"
    )
    (tmp_path / "config").write_text(config, encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))  # where AWS's tools keep logins
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # what it has read before stays
    use_store(monkeypatch, "http://127.0.0.1:1", SOURCE_S3_ACCESS_KEY="", SOURCE_S3_SECRET_KEY="")

    with pytest.raises(SourceError, match=r"login for the source bucket 'inbox' has expired.*Log in again") as caught:
        land(lake.landing, "s3://inbox", GREEN)

    assert not isinstance(caught.value, UnreachableError)


LISTED = """<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Contents>
<Key>{key}</Key><LastModified>2024-03-01T00:00:00.000Z</LastModified><ETag>&quot;one&quot;</ETag>
<Size>{size}</Size></Contents>{more}</ListBucketResult>"""
MORE = "<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>"


class Paging(Quiet):
    """A store that lists one object a page."""

    def do_GET(self) -> None:  # noqa: N802 - its base class names it
        first = "continuation-token" not in self.path
        key = "green_tripdata_2024-01.parquet" if first else "green_tripdata_2024-02.parquet"
        self.send(200, "application/xml", LISTED.format(key=key, size=1, more=MORE if first else "").encode())


def test_a_listing_has_all_of_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Paging) as url:
        use_store(monkeypatch, url)
        source = open_source("s3://inbox")

        assert isinstance(source, FolderSource)
        assert contents(source.folder) == {"green": [Month(2024, 1), Month(2024, 2)]}


class Refusing(Quiet):
    """A store that answers with an error."""

    status, code = 403, "AccessDenied"

    def do_GET(self) -> None:  # noqa: N802 - its base class names it
        error = f"<Error><Code>{self.code}</Code><Message>Not for you.</Message></Error>"
        self.send(self.status, "application/xml", error.encode())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((403, "AccessDenied"), "refuses the user 'reader' at the bucket 'inbox' .AccessDenied.*may list"),
        ((400, "AuthorizationHeaderMalformed"), "Not for you. What landed before stays. Check SOURCE_S3_URL and"),
        ((503, "SlowDown"), "answered SlowDown .*Run the same command again"),
        ((400, "ExpiredToken"), "refuses the login at the bucket 'inbox', which has expired .*Log in again"),
        ((403, "RequestTimeTooSkewed"), "because its clock .* UTC. is far from the store's own.* Set the clock"),
        ((403, "InvalidObjectState"), "has a file of the bucket 'inbox' in an archive.*Restore the file there first"),
    ],
    ids=["keys", "region", "busy", "expired", "clock", "archive"],
)
def test_a_refusal_says_what_to_set(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], says: str
) -> None:
    monkeypatch.setattr(Refusing, "status", answer[0])
    monkeypatch.setattr(Refusing, "code", answer[1])

    with serving(Refusing) as url:
        use_store(monkeypatch, url)
        with pytest.raises(SourceError, match=says) as caught:
            land(lake.landing, "s3://inbox", GREEN)

    assert isinstance(caught.value, UnreachableError) == (answer[0] == 503)
    assert "secret-of-the-reader" not in str(caught.value)


class Cutting(Quiet):
    """A store that ends an answer half way, as often as it is told."""

    content = LOOKUP * 40_000
    cuts = 0
    checksum = ""
    asked: list[tuple[int, str]]

    def do_GET(self) -> None:  # noqa: N802 - its base class names it
        kind = type(self)
        if "list-type" in self.path:
            listed = LISTED.format(key="taxi_zone_lookup.csv", size=len(self.content), more="")
            self.send(200, "application/xml", listed.encode())
            return
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        kind.asked.append((begin, self.headers["If-Match"]))
        rest = self.content[begin:]
        kind.cuts -= 1
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", '"one"')
        if kind.checksum:
            self.send_header("x-amz-checksum-crc32", kind.checksum)
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if kind.cuts >= 0 else rest)
        self.close_connection = True


@pytest.fixture
def cutting(monkeypatch: pytest.MonkeyPatch) -> type[Cutting]:
    monkeypatch.setattr(Cutting, "asked", [], raising=False)
    return Cutting


@pytest.mark.parametrize("cuts", [0, 2])
def test_a_cut_connection_goes_on_where_it_stopped(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, cutting: type[Cutting], cuts: int
) -> None:
    monkeypatch.setattr(cutting, "cuts", cuts)

    with serving(cutting) as url:
        use_store(monkeypatch, url)
        landed = land(lake.landing, "s3://inbox", ZONES)

    assert landed.sha256 == hashlib.sha256(Cutting.content).hexdigest()
    begins = [begin for begin, _ in cutting.asked]
    assert begins == sorted(set(begins))
    assert len(begins) == cuts + 1
    assert {etag for _, etag in cutting.asked} == {'"one"'}


def test_a_connection_that_is_always_cut_is_an_error(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, cutting: type[Cutting]
) -> None:
    monkeypatch.setattr(cutting, "cuts", 10_000)
    monkeypatch.setattr(cutting, "content", LOOKUP)

    with serving(cutting) as url:
        use_store(monkeypatch, url)
        with pytest.raises(UnreachableError, match="does not answer for the bucket 'inbox'"):
            land(lake.landing, "s3://inbox", ZONES)

    assert len(cutting.asked) < 30
    assert lake.landing.find(ZONES) is None


def test_bytes_with_a_wrong_checksum_do_not_land(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, cutting: type[Cutting]
) -> None:
    monkeypatch.setattr(cutting, "checksum", "AAAAAA==")

    with serving(cutting) as url:
        use_store(monkeypatch, url)
        with pytest.raises(UnreachableError, match=r"What the object store at .* sent .* has a wrong checksum"):
            land(lake.landing, "s3://inbox", ZONES)

    assert lake.landing.find(ZONES) is None


def finding(**variables: str) -> Finding:
    settings = Settings(LAKEHOUSE_TARGET="embedded", **variables)  # type: ignore[arg-type]
    return next(one for one in examine(settings) if one.what == "TLC_SOURCE")


def test_doctor_says_which_files_a_bucket_holds(inbox: Inbox) -> None:
    inbox.put("in/green_tripdata_2024-01.parquet", b"x")
    inbox.put("in/taxi_zone_lookup.csv", LOOKUP)
    variables = {"SOURCE_S3_URL": inbox.url} | KEYS

    found = finding(TLC_SOURCE=f"{inbox}/in", **variables)
    missing = finding(TLC_SOURCE="s3://elsewhere", **variables)
    nothing = finding(TLC_SOURCE=f"{inbox}/none", **variables)

    assert found.state == "ok"
    assert "s3://inbox/in holds files of green: 1 (2024-01 to 2024-01); the zone lookup" in found.found
    assert (missing.state, "has no bucket 'elsewhere'" in missing.way_out) == ("missing", True)
    assert nothing.state == "warn"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("http://store:9000", "eu-west-1", "loader", "its secret")),
        ({"SOURCE_S3_URL": "http://other"}, ("http://other", "eu-west-1", "", "")),
        ({"SOURCE_S3_REGION": "x"}, ("http://store:9000", "x", "loader", "its secret")),
        (KEYS, ("http://store:9000", "eu-west-1", "reader", "secret-of-the-reader")),
        ({"SOURCE_S3_URL": "http://other"} | KEYS, ("http://other", "eu-west-1", "reader", "secret-of-the-reader")),
    ],
    ids=["the lakehouse's", "another store", "region", "another user", "another store and user"],
)
def test_a_bucket_is_in_the_lakehouses_store_unless_settings_say_else(
    variables: dict[str, str], expected: tuple[str, ...]
) -> None:
    own = {"S3_URL": "http://store:9000", "S3_REGION": "eu-west-1", "S3_ACCESS_KEY": "loader"}

    settings = Settings(S3_SECRET_KEY="its secret", **own, **variables)  # type: ignore[arg-type]

    secret = settings.source_s3_secret_key.get_secret_value()
    assert (settings.source_s3_url, settings.source_s3_region, settings.source_s3_access_key, secret) == expected


def test_the_command_line_loads_from_a_bucket(
    inbox: Inbox, lake: Lake, month: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put("in/green_tripdata_2024-01.parquet", month)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lake.settings.home))
    monkeypatch.setenv("TLC_SOURCE", f"{inbox}/in")
    load_settings.cache_clear()

    done = CliRunner().invoke(app, ["load", "green", "2024-01"])

    assert done.exit_code == 0, done.output
    assert "green 2024-01  loaded  10 rows" in done.stdout
