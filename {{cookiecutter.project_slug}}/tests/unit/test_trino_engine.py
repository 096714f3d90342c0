"""Trino's client: a statement that may have been taken is never sent twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from lakehouse.engines.trino import TrinoEngine
from lakehouse.errors import ServiceError
from lakehouse.settings import Settings


class Busy(BaseHTTPRequestHandler):
    """Takes no statement before it was asked `refusals` times, and answers 503 to whatever follows one."""

    refusals: ClassVar[int]
    statements: ClassVar[list[str]]

    def do_POST(self) -> None:
        """A statement."""
        statement = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.refusals:
            type(self).refusals -= 1
            self.answer(503)
            return
        self.statements.append(statement)
        url = f"http://{self.headers['Host']}"
        self.answer(200, id="q1", infoUri=url, nextUri=f"{url}/v1/statement/q1", stats={"state": "RUNNING"})

    def do_GET(self) -> None:
        """What became of it."""
        self.answer(503)

    def answer(self, status: int, **words: object) -> None:
        """As JSON."""
        body = json.dumps(words).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing to the test's output."""


@contextmanager
def busy(refusals: int) -> Iterator[str]:
    """The address of such a Trino."""
    Busy.refusals, Busy.statements = refusals, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize("refusals", [0, 2])
def test_a_statement_is_sent_until_it_is_taken_and_then_never_again(tmp_path: Path, refusals: int) -> None:
    statement = "insert into raw.numbers values 1"
    with busy(refusals) as url:
        engine = TrinoEngine(Settings(LAKEHOUSE_TARGET="trino", LAKEHOUSE_HOME=tmp_path, TRINO_URL=url))

        with pytest.raises(ServiceError, match=f"Trino at {url} answered"):
            engine.query(statement)

        engine.close()
        assert Busy.statements == [statement]
