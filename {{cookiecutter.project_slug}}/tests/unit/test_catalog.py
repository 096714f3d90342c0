"""What is said of a catalog or store that fails names it, and none of its secrets."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.iceberg.catalog import open_catalog, service_errors
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.settings import Settings

SECRET = "secret-of-the-loader"


class Failing(BaseHTTPRequestHandler):
    """A REST catalog that gives its configuration and fails at everything else."""

    def do_GET(self) -> None:
        known = self.path.startswith("/v1/config")
        failed = {"error": {"message": "no disk", "type": "InternalServerError", "code": 500}}
        body = json.dumps({"defaults": {}, "overrides": {}} if known else failed).encode()
        self.send_response(200 if known else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing to the test's output."""


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Settings]:
    """Settings whose catalog fails."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield Settings(
            LAKEHOUSE_TARGET="trino",
            LAKEHOUSE_HOME=tmp_path,
            REST_URL=f"http://127.0.0.1:{server.server_port}",
            S3_URL="http://127.0.0.1:9",
            S3_SECRET_KEY=SecretStr(SECRET),
        )
        server.shutdown()
        serving.join()


def test_a_catalog_or_store_that_fails_is_named_and_its_secret_is_not(failing: Settings) -> None:
    catalog = open_catalog(failing)

    with pytest.raises(ServiceError) as of_catalog, service_errors(catalog):
        catalog.load_table("raw.green_trips")
    with pytest.raises(ServiceError) as of_store, service_errors(catalog):
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation")

    assert failing.rest_url in str(of_catalog.value)
    assert failing.s3_url in str(of_store.value)
    assert SECRET not in f"{of_catalog.value} {of_store.value} {catalog!r} {failing!r}"


def _first(settings: Settings, together: Barrier, said: SimpleQueue[str]) -> None:
    """Open a catalog and make its tables at the same moment as others do."""
    together.wait(60)
    try:
        ensure_raw_tables(open_catalog(settings))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to name it
        said.put(f"{type(error).__name__}: {error}")
    else:
        said.put("done")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("attempt", range(5))
def test_processes_that_begin_a_lakehouse_together_all_find_it_made(tmp_path: Path, attempt: int) -> None:
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / str(attempt))
    forked = multiprocessing.get_context("fork")
    together, said = forked.Barrier(4), forked.SimpleQueue()

    processes = [forked.Process(target=_first, args=(settings, together, said)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    assert [said.get() for process in processes if process.exitcode == 0] == ["done"] * 4
    assert ensure_raw_tables(open_catalog(settings)) == []
