"""What arrives from the publisher: the file, whole, or a reason. Never a mixture, a page, or half of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.unit.misbehaving_publisher import (
    Answer,
    Publisher,
    as_published,
    change_to,
    cut_after,
    drip,
    hang_up,
    running,
    short_length,
    status,
    web_page,
)

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import LandingError, NotPublishedError, SettingsError, SourceError, UnreachableError
from lakehouse.filesystem import sha256_of
from lakehouse.landing import Landed
from lakehouse.landing.folder import FolderLanding
from lakehouse.landing.land import land
from lakehouse.sources.patience import Patience
from lakehouse.synthetic.generate import write_month, write_zones

JANUARY = Month(2023, 1)
PATH = "trip-data/green_tripdata_2023-01.parquet"
HASTE = Patience(connect=1, silence=1, slow_for=0.3, first_wait=0.01, longest_wait=0.2, tries=4, connect_tries=2)


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Two versions of one month."""
    folder = tmp_path_factory.mktemp("months")
    return [
        as_published(write_month(folder / f"{seed}.parquet", "green", JANUARY, 3_000 + 100 * seed, seed=seed))
        for seed in range(2)
    ]


@pytest.fixture
def publisher(months: list[bytes]) -> Iterator[Publisher]:
    with running() as publisher:
        publisher.publish(PATH, months[0])
        yield publisher


@pytest.fixture
def landing(tmp_path: Path) -> FolderLanding:
    return FolderLanding(tmp_path / "landing")


def land_january(landing: FolderLanding, publisher: Publisher, *, refresh: bool = False) -> Landed:
    return land(landing, publisher.url, DatasetFile("green", JANUARY), refresh=refresh, patience=HASTE)


def bytes_of(landing: FolderLanding, landed: Landed) -> bytes:
    with landing.local(landed) as path:
        return path.read_bytes()


def nothing_landed(landing: FolderLanding) -> bool:
    return landing.listing() == [] and not list(landing.store.root.glob("green_trips/*.parquet"))


def test_a_published_month_lands_with_its_origin_and_the_publishers_marks(
    landing: FolderLanding, publisher: Publisher, months: list[bytes]
) -> None:
    calls: list[tuple[int, int]] = []

    landed = land(
        landing,
        publisher.url + "/",
        DatasetFile("green", JANUARY),
        progress=lambda done, total: calls.append((done, total)),
    )

    assert bytes_of(landing, landed) == months[0]
    assert landed.origin == f"{publisher.url}/{PATH}"
    assert landed.etag == publisher.files[PATH].etag
    assert landed.last_modified.endswith("GMT")
    assert calls[-1] == (len(months[0]), len(months[0]))
    assert [f.name for f in landing.staging.iterdir() if f.suffix != ".lock"] == []


def test_what_is_landed_is_not_asked_for_again(landing: FolderLanding, publisher: Publisher) -> None:
    first = land_january(landing, publisher)
    asked = len(publisher.requests)

    assert land_january(landing, publisher) == first
    assert len(publisher.requests) == asked


def test_refresh_leaves_an_unchanged_file_alone(landing: FolderLanding, publisher: Publisher) -> None:
    first = land_january(landing, publisher)

    assert land_january(landing, publisher, refresh=True) == first
    assert publisher.asked()[-1].headers["if-none-match"] == first.etag


def test_refresh_lands_a_republished_file_and_keeps_the_earlier_one(
    landing: FolderLanding, publisher: Publisher, months: list[bytes]
) -> None:
    first = land_january(landing, publisher)
    publisher.publish(PATH, months[1])

    second = land_january(landing, publisher, refresh=True)

    assert bytes_of(landing, second) == months[1]
    assert bytes_of(landing, first) == months[0]


def test_refresh_gets_a_damaged_file_anew(landing: FolderLanding, publisher: Publisher, months: list[bytes]) -> None:
    landed = land_january(landing, publisher)
    path = landing.store.root / "green_trips" / landed.file.name
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + months[0][1:])

    again = land_january(landing, publisher, refresh=True)

    assert bytes_of(landing, again) == months[0]


def test_a_broken_record_keeps_no_other_month_out(
    landing: FolderLanding, publisher: Publisher, months: list[bytes]
) -> None:
    first = land_january(landing, publisher)
    (landing.store.root / "green_trips" / f"{first.file.name}.json").write_bytes(b"")
    publisher.publish("trip-data/green_tripdata_2023-02.parquet", months[1])

    february = land(landing, publisher.url, DatasetFile("green", Month(2023, 2)), patience=HASTE)
    with pytest.raises(LandingError, match="`lakehouse load green 2023-01 --refresh`"):
        land_january(landing, publisher)
    again = land_january(landing, publisher, refresh=True)

    assert again.sha256 == first.sha256
    assert landing.listing() == [again, february]


@pytest.mark.parametrize("code", [403, 404])
def test_a_month_that_is_not_published_is_an_answer_and_asked_for_once(
    landing: FolderLanding, publisher: Publisher, code: int
) -> None:
    publisher.always["trip-data/green_tripdata_2026-12.parquet"] = status(code, b"<Error>AccessDenied</Error>")

    with pytest.raises(NotPublishedError, match=rf"green 2026-12 is not published at {publisher.url}.*{code}"):
        land(landing, publisher.url, DatasetFile("green", Month(2026, 12)), patience=HASTE)

    assert len(publisher.requests) == 1
    assert nothing_landed(landing)


@pytest.mark.parametrize(
    "faults",
    [
        [status(500), status(503), status(502)],
        [status(429, Retry_After="0"), status(429)],
        [cut_after(0)],
        [cut_after(10_000), cut_after(10_000), cut_after(1)],
        [drip(20, 0.05, 5.0)],
        [status(416)],
    ],
    ids=["5xx", "429", "cut at once", "cut thrice", "drip", "416"],
)
def test_a_bad_moment_is_waited_out(
    landing: FolderLanding, publisher: Publisher, months: list[bytes], faults: list[Answer]
) -> None:
    publisher.faults[PATH] = list(faults)

    landed = land_january(landing, publisher)

    assert bytes_of(landing, landed) == months[0]


def test_a_cut_download_goes_on_where_it_stopped(
    landing: FolderLanding, publisher: Publisher, months: list[bytes]
) -> None:
    publisher.faults[PATH] = [cut_after(20_000)]

    landed = land_january(landing, publisher)

    assert bytes_of(landing, landed) == months[0]
    first, second = publisher.asked()
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=20000-"
    assert second.headers["if-range"] == publisher.files[PATH].etag


def test_a_download_that_was_given_up_goes_on_in_the_next_run(
    landing: FolderLanding, publisher: Publisher, months: list[bytes]
) -> None:
    publisher.faults[PATH] = [cut_after(20_000), cut_after(0), cut_after(0), cut_after(0)]
    with pytest.raises(UnreachableError, match="goes on where this download stopped"):
        land_january(landing, publisher)
    assert nothing_landed(landing)
    asked = len(publisher.asked())

    landed = land_january(landing, publisher)

    assert bytes_of(landing, landed) == months[0]
    assert publisher.asked()[asked].headers["range"] == "bytes=20000-"


def test_an_abandoned_download_of_a_republished_file_starts_over(
    landing: FolderLanding, publisher: Publisher, months: list[bytes]
) -> None:
    publisher.faults[PATH] = [cut_after(20_000), cut_after(0), cut_after(0), cut_after(0)]
    with pytest.raises(UnreachableError):
        land_january(landing, publisher)
    publisher.publish(PATH, months[1])

    landed = land_january(landing, publisher)

    assert bytes_of(landing, landed) == months[1]


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "mixed into the answer"])
def test_a_file_that_changes_while_it_is_downloaded_is_never_a_mixture(
    landing: FolderLanding, publisher: Publisher, months: list[bytes], cut: bool
) -> None:
    publisher.faults[PATH] = [change_to(publisher, PATH, months[1], 20_000, cut=cut)]

    landed = land_january(landing, publisher)

    assert bytes_of(landing, landed) == months[1]
    assert landed.etag == publisher.files[PATH].etag


def test_a_publisher_that_resumes_with_another_version_is_not_believed(
    landing: FolderLanding, publisher: Publisher, months: list[bytes]
) -> None:
    def resumes_regardless(handler, published) -> None:  # type: ignore[no-untyped-def]
        publisher.publish(PATH, months[1], modified=1_700_009_999.0)
        newer = publisher.files[PATH]
        span = f"bytes 20000-{len(newer.content) - 1}/{len(newer.content)}"
        handler.begin(newer, 206, len(newer.content) - 20_000, Content_Range=span)
        handler.wfile.write(newer.content[20_000:])

    publisher.faults[PATH] = [cut_after(20_000), resumes_regardless]

    landed = land_january(landing, publisher)

    assert bytes_of(landing, landed) == months[1]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (web_page(), UnreachableError, "web page"),
        (web_page("application/octet-stream"), SourceError, "web page"),
        (status(200, b"not a parquet file at all"), SourceError, "no parquet file"),
        (status(200, b""), SourceError, "is empty: it has 0 bytes"),
        (short_length(40_000), SourceError, "cut short"),
        (status(401), SourceError, "401"),
        (status(500), UnreachableError, r"answers 500 .* \(the last of 4 attempts\).* overloaded: try again later"),
        (status(408), UnreachableError, r"answers 408 .* Check the network and the setting TLC_SOURCE"),
        (status(429, Retry_After="86400"), UnreachableError, "429 .* overloaded: try again later"),
        (cut_after(0), UnreachableError, "cut .* Check the network and the setting TLC_SOURCE"),
        (drip(50, 0.05, 3.0), UnreachableError, r"is too slow|cut"),
        (status(302, Location="/" + PATH), UnreachableError, "is redirected in a circle. Nothing of green 2023-01"),
    ],
    ids=[
        "page", "page as bytes", "text", "empty", "wrong length", "401", "500", "408", "429", "always cut", "drip",
        "redirects",
    ],
)  # fmt: skip
def test_what_is_not_the_file_never_lands_and_the_reason_is_told(
    landing: FolderLanding, publisher: Publisher, answer: Answer, error: type[Exception], says: str
) -> None:
    publisher.always[PATH] = answer
    started = time.monotonic()

    with pytest.raises(error, match=says) as caught:
        land_january(landing, publisher)

    assert "TLC_SOURCE" in str(caught.value) or "again" in str(caught.value)
    assert nothing_landed(landing)
    assert time.monotonic() - started < 15


def test_a_check_of_the_marks_that_fails_is_made_again_and_the_file_is_not(
    landing: FolderLanding, publisher: Publisher, months: list[bytes]
) -> None:
    publisher.heads = [hang_up(), hang_up()]

    landed = land_january(landing, publisher)

    assert bytes_of(landing, landed) == months[0]
    assert [request.headers.get("range") for request in publisher.asked()] == [None, *[f"bytes={len(months[0])}-"] * 2]


def test_a_check_of_the_marks_that_always_fails_is_no_cut_download(
    landing: FolderLanding, publisher: Publisher
) -> None:
    publisher.heads = [hang_up() for _ in range(HASTE.tries)]

    with pytest.raises(UnreachableError, match="all bytes arrived, but the server did not answer when asked whether"):
        land_january(landing, publisher)

    assert nothing_landed(landing)


def test_a_publisher_that_is_not_there_is_told_soon(landing: FolderLanding) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()

    with pytest.raises(UnreachableError, match="no connection"):
        land(landing, f"http://127.0.0.1:{port}", DatasetFile("green", JANUARY), patience=HASTE)

    assert time.monotonic() - started < 5


def test_threads_that_land_the_same_month_fetch_it_once(landing: FolderLanding, publisher: Publisher) -> None:
    with ThreadPoolExecutor(6) as pool:
        landed = list(pool.map(lambda _: land_january(landing, publisher), range(6)))

    assert len(set(landed)) == 1
    assert len(publisher.asked()) == 1


def test_a_failed_refresh_leaves_what_is_landed(landing: FolderLanding, publisher: Publisher) -> None:
    landed = land_january(landing, publisher)
    publisher.always[PATH] = web_page()

    with pytest.raises(UnreachableError):
        land_january(landing, publisher, refresh=True)

    assert landing.find(DatasetFile("green", JANUARY)) == landed


def test_the_zone_lookup_lands_and_a_page_in_its_place_does_not(
    landing: FolderLanding, publisher: Publisher, tmp_path: Path
) -> None:
    path = "misc/taxi_zone_lookup.csv"
    publisher.publish(path, write_zones(tmp_path / "zones.csv").read_bytes())

    publisher.faults[path] = [web_page("text/csv")]
    with pytest.raises(SourceError, match=r"lookup.csv has no column LocationID\. Its names are: '<!DOC"):
        land(landing, publisher.url, DatasetFile("zones"), patience=HASTE)
    landed = land(landing, publisher.url, DatasetFile("zones"), patience=HASTE)

    assert bytes_of(landing, landed) == publisher.files[path].content


def test_of_a_file_that_is_no_months_nothing_is_said_of_the_tlc(landing: FolderLanding, publisher: Publisher) -> None:
    with pytest.raises(NotPublishedError, match=r"zones is not at .*answers 403\. .* published later") as error:
        land(landing, publisher.url, DatasetFile("zones"), patience=HASTE)

    assert "The TLC" not in str(error.value)


def test_an_unwritable_landing_zone_is_told(tmp_path: Path, publisher: Publisher) -> None:
    (tmp_path / "landing").write_text("a file where a folder should be")

    with pytest.raises(LandingError, match="can't be read"):
        land_january(FolderLanding(tmp_path / "landing"), publisher)


def test_a_source_folder_that_cannot_be_looked_at_is_the_sources_fault(landing: FolderLanding, tmp_path: Path) -> None:
    """No mode keeps a folder from root; a name that is too long fails in the same place."""
    with pytest.raises(SourceError, match=r"a can't be read: File name too long\. Nothing of it was landed"):
        land(landing, str(tmp_path / ("a" * 300)), DatasetFile("green", JANUARY))


class TestFolder:
    """A folder as the source."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "source"
        (folder / "deep" / "er").mkdir(parents=True)
        return folder

    def test_it_is_searched_with_its_subfolders(
        self, landing: FolderLanding, folder: Path, months: list[bytes]
    ) -> None:
        file = folder / "deep" / "er" / "green_tripdata_2023-01.parquet"
        file.write_bytes(months[0])
        (folder / "green_tripdata_2023-01.pandas-rewrite.parquet").write_bytes(months[1])

        landed = land(landing, str(folder), DatasetFile("green", JANUARY))

        assert bytes_of(landing, landed) == months[0]
        assert landed.origin == file.as_uri()
        assert land(landing, folder.as_uri(), DatasetFile("green", JANUARY), refresh=True) == landed

    def test_two_different_files_of_one_name_are_an_error_that_names_both(
        self, landing: FolderLanding, folder: Path, months: list[bytes]
    ) -> None:
        one, other = (folder / where / "green_tripdata_2023-01.parquet" for where in ("deep", "deep/er"))
        one.write_bytes(months[0])
        other.write_bytes(months[0])
        land(landing, str(folder), DatasetFile("green", JANUARY))

        other.write_bytes(months[1])
        with pytest.raises(SourceError) as caught:
            land(landing, str(folder), DatasetFile("green", JANUARY), refresh=True)
        assert str(one) in str(caught.value)
        assert str(other) in str(caught.value)

    def test_a_month_that_is_not_there_is_not_published(self, landing: FolderLanding, folder: Path) -> None:
        with pytest.raises(NotPublishedError, match=r"green 2023-01 is not in .*source"):
            land(landing, str(folder), DatasetFile("green", JANUARY))

    def test_a_folder_that_is_not_there_is_told(self, landing: FolderLanding, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="does not exist"):
            land(landing, str(tmp_path / "nowhere"), DatasetFile("green", JANUARY))

    @pytest.mark.parametrize("size", [11, 40_000, -1])
    def test_a_file_cut_short_does_not_land(
        self, landing: FolderLanding, folder: Path, months: list[bytes], size: int
    ) -> None:
        (folder / "green_tripdata_2023-01.parquet").write_bytes(months[0][:size])

        with pytest.raises(SourceError, match="cut short"):
            land(landing, str(folder), DatasetFile("green", JANUARY))

        assert nothing_landed(landing)

    def test_a_landing_zone_is_a_source_and_its_origin_is_carried_over(
        self, landing: FolderLanding, publisher: Publisher, months: list[bytes], tmp_path: Path
    ) -> None:
        first = land_january(landing, publisher)
        publisher.publish(PATH, months[1])
        second = land_january(landing, publisher, refresh=True)
        other = FolderLanding(tmp_path / "other")

        landed = land(other, str(landing.store.root), DatasetFile("green", JANUARY))

        assert (
            first.sha256
            != second.sha256
            == landed.sha256
            == sha256_of(tmp_path / "other" / "green_trips" / landed.file.name)
        )
        assert (landed.origin, landed.etag) == (second.origin, second.etag)
        assert land(other, publisher.url, DatasetFile("green", JANUARY), refresh=True) == landed

    def test_a_landing_zone_whose_file_was_changed_is_no_source(
        self, landing: FolderLanding, publisher: Publisher, months: list[bytes], tmp_path: Path
    ) -> None:
        landed = land_january(landing, publisher)
        (landing.store.root / "green_trips" / landed.file.name).write_bytes(months[1])

        with pytest.raises(SourceError, match="changed after it was landed there"):
            land(FolderLanding(tmp_path / "other"), str(landing.store.root), DatasetFile("green", JANUARY))

    @pytest.mark.parametrize(("content", "cause"), [("", "JSONDecodeError"), ('{"rows": 5}', "'landed_at'")])
    def test_a_record_there_that_cannot_be_read_is_told(
        self, landing: FolderLanding, publisher: Publisher, tmp_path: Path, content: str, cause: str
    ) -> None:
        land_january(landing, publisher)
        record = next(landing.store.root.rglob("*.parquet.json"))
        record.write_text(content)

        with pytest.raises(SourceError, match=rf"{record.name}.*{cause}.*If it is a file of your own, rename it"):
            land(FolderLanding(tmp_path / "other"), str(landing.store.root), DatasetFile("green", JANUARY))

    def test_a_link_to_nowhere_is_the_sources_fault(self, landing: FolderLanding, tmp_path: Path) -> None:
        link = tmp_path / "green_tripdata_2023-01.parquet"
        link.symlink_to(tmp_path / "gone")

        with pytest.raises(SourceError, match=rf"{link} can't be read: No such file.*TLC_SOURCE"):
            land(landing, str(tmp_path), DatasetFile("green", JANUARY))

    def test_a_file_that_cannot_be_read_is_the_sources_fault(
        self, landing: FolderLanding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "green_tripdata_2023-01.parquet"
        file.touch()
        real = Path.open

        def denied(path: Path, *arguments: Any, **options: Any) -> Any:  # no mode keeps a file from root
            if path == file:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", denied)

        with pytest.raises(SourceError, match=rf"{file} can't be read: Permission denied.*TLC_SOURCE"):
            land(landing, str(tmp_path), DatasetFile("green", JANUARY))


@pytest.mark.parametrize("source", ["http://[::1", "http://127.0.0.1:port", "http://tlc..example"])
def test_an_address_that_is_none_is_told(landing: FolderLanding, source: str) -> None:
    with pytest.raises(SourceError, match=r"TLC_SOURCE.* no valid address|address.* is invalid.*TLC_SOURCE"):
        land(landing, source, DatasetFile("green", JANUARY), patience=HASTE)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks9://someone:password@127.0.0.1:1"),
        ("HTTP_PROXY", "http://[::1"),
        ("HTTP_PROXY", "http://someone:pass/word@127.0.0.1:1"),
        ("HTTP_PROXY", "http://someone:pass#word@127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ],
)
def test_a_proxy_or_certificates_that_cannot_be_used_are_named(
    landing: FolderLanding, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=rf"{variable}=") as caught:
        land_january(landing, publisher)

    assert "pass" not in str(caught.value).replace("In a proxy's password", "")
    assert caught.value.__context__ is None  # whose text may have it


class TestGenerated:
    """A generated file counts as not landed, and is one whichever way it comes."""

    @pytest.fixture
    def generated(self, landing: FolderLanding, tmp_path: Path) -> Landed:
        file = write_month(tmp_path / "generated.parquet", "green", JANUARY, 100)
        return landing.put(DatasetFile("green", JANUARY), file, "generated://green/2023-01")

    def test_it_gives_way_to_the_published_one(
        self, landing: FolderLanding, publisher: Publisher, generated: Landed
    ) -> None:
        landed = land_january(landing, publisher)

        assert landed.sha256 != generated.sha256
        assert landed.origin.startswith("http")

    @pytest.mark.usefixtures("generated")
    def test_it_is_never_loaded_in_place_of_the_published_one(
        self, landing: FolderLanding, publisher: Publisher
    ) -> None:
        publisher.always[PATH] = status(500)

        with pytest.raises(UnreachableError):
            land_january(landing, publisher)

    @pytest.mark.usefixtures("generated")
    def test_published_months_are_not_put_beside_it(
        self, landing: FolderLanding, publisher: Publisher, months: list[bytes]
    ) -> None:
        publisher.publish("trip-data/green_tripdata_2023-02.parquet", months[1])

        with pytest.raises(LandingError, match=r"green 2023-01.*make demo"):
            land(landing, publisher.url, DatasetFile("green", Month(2023, 2)), patience=HASTE)

        land_january(landing, publisher)
        land(landing, publisher.url, DatasetFile("green", Month(2023, 2)), patience=HASTE)

    def test_it_is_known_by_what_it_says_of_itself_and_kept_apart(
        self, landing: FolderLanding, publisher: Publisher, tmp_path: Path
    ) -> None:
        folder = tmp_path / "downloads"
        folder.mkdir()
        for month in (1, 2):
            write_month(folder / f"green_tripdata_2023-0{month}.parquet", "green", Month(2023, month), 100)
        land_january(landing, publisher)
        other = FolderLanding(tmp_path / "other")

        with pytest.raises(LandingError, match=r"green 2023-02 is a generated .*published months \(green 2023-01\)"):
            land(landing, str(folder), DatasetFile("green", Month(2023, 2)))
        made = [land(other, str(folder), DatasetFile("green", Month(2023, month))) for month in (1, 2)]
        with pytest.raises(LandingError, match=r"green 2023-01 is a published .*generated months \(green 2023-02\)"):
            land_january(other, publisher)

        assert [landed.origin for landed in made] == [
            f"generated://trip-data/green_tripdata_2023-0{month}.parquet" for month in (1, 2)
        ]
        assert [landed.file.part for landed in landing.listing()] == [JANUARY]
        assert other.listing() == made


def test_the_record_keeps_the_marks(landing: FolderLanding, publisher: Publisher) -> None:
    landed = land_january(landing, publisher)

    record = json.loads((landing.store.root / "green_trips" / f"{landed.file.name}.json").read_text())

    assert record["etag"] == landed.etag
    assert record["last_modified"] == landed.last_modified
