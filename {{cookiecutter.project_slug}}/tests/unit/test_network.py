"""Services on this machine are asked directly, whatever proxy the environment names; a proxy that is taken is named."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing

import boto3
import pytest
import requests
from botocore.config import Config
from tests.recorder import PROXIES, Recorder
from tests.unit.servers import Quiet, serving

from lakehouse import children
from lakehouse.cli.doctor import Finding, examine
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.engines.trino import TrinoEngine
from lakehouse.errors import LakehouseError
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import open_landing
from lakehouse.network import way_to
from lakehouse.settings import Settings, settings_with


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with closing(Recorder()) as recorder:
        for name in PROXIES:
            monkeypatch.setenv(name, recorder.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "")
        yield recorder


def closed_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def asked_all(settings: Settings) -> list[str]:
    """What each client says of its service."""
    said = []
    for ask in (
        lambda: open_catalog(settings),
        lambda: open_landing(settings).find(DatasetFile("green", Month(2024, 1))),
        lambda: TrinoEngine(settings).query("select 1"),
    ):
        with pytest.raises(LakehouseError) as error:
            ask()
        said.append(str(error.value))
    return said


def test_no_client_takes_a_proxy_to_this_machine(proxy: Recorder) -> None:
    port = closed_port()
    for host in ("127.0.0.1", "localhost", "127.0.0.2"):
        urls = dict.fromkeys(("TRINO_URL", "REST_URL", "S3_URL"), f"http://{host}:{port}")
        said = asked_all(settings_with({"LAKEHOUSE_TARGET": "trino", "S3_SECRET_KEY": "x" * 8, **urls}))
        assert all("proxy" not in words for words in said)

    assert proxy.asked == []
    # what a child gets, dbt with its own client too
    assert "127.0.0.1" in children.environment({})["NO_PROXY"]


def test_a_service_elsewhere_is_asked_through_the_named_proxy(proxy: Recorder) -> None:
    urls = dict.fromkeys(("TRINO_URL", "REST_URL", "S3_URL"), "http://services.invalid:1234")

    said = asked_all(settings_with({"LAKEHOUSE_TARGET": "trino", "S3_SECRET_KEY": "x" * 8, **urls}))

    assert len(proxy.asked) >= 3
    way = proxy.url.removeprefix("http://")
    assert all(f"(through the proxy {way}; the variable NO_PROXY names" in words for words in said)


def test_what_the_user_says_of_proxies_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "example.com, 10.0.0.1")
    settings_with({})
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.com,10.0.0.1,localhost,127.0.0.1,::1"

    monkeypatch.setenv("no_proxy", "*")
    settings_with({})
    assert os.environ["no_proxy"] == "*"


@pytest.mark.parametrize("login", ["user:secret@", "user:s/ecret@", "user:s#ecret@", "user:s?e@cret@", ""])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxys_login_is_not_told(monkeypatch: pytest.MonkeyPatch, scheme: str, login: str) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", f"{scheme}{login}proxy.example:3128")

    assert way_to("http://services.invalid") == (
        "http://services.invalid (through the proxy proxy.example:3128; "
        "the variable NO_PROXY names hosts to reach without it)"
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (200, "answers"),
        (503, "answers 503"),
        (403, "does not give the zone lookup, it answers 403"),
        (404, "has no zone lookup, it answers 404"),
    ],
)
def test_the_doctor_says_what_a_site_answers(answer: int, said: str) -> None:
    class Site(Quiet):
        def do_HEAD(self) -> None:  # noqa: N802 - http.server calls it so
            self.answer(answer, {})

    with serving(Site) as address:
        found = of_source(settings_with({"TLC_SOURCE": address}))

    assert found.found == f"{address} {said}"
    assert ("overloaded" in found.way_out) == (answer == 503)


def test_the_doctor_shows_no_password_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://someone:pass/word@127.0.0.1:1")

    found = of_source(settings_with({"TLC_SOURCE": "http://files.invalid"}))

    assert found.state == "warn"
    assert "HTTP_PROXY=http://127.0.0.1:1" in found.found
    assert "someone" not in repr(found)


def of_source(settings: Settings) -> Finding:
    """What the doctor says of the source."""
    return next(finding for finding in examine(settings) if finding.what == "TLC_SOURCE")


def test_requests_and_botocore_agree_on_what_is_direct(proxy: Recorder) -> None:
    """The two libraries below our clients: one that no longer looks into NO_PROXY would be seen here."""
    settings_with({})
    url = f"http://127.0.0.1:{closed_port()}"

    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=2)
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(Exception, match="Could not connect"):
        client.list_buckets()

    assert proxy.asked == []
