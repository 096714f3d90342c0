"""Trino's client: a statement that may have been taken is never sent twice; who is up, and who is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.unit.servers import Quiet, serving

from lakehouse.engines.trino import TrinoEngine, is_up
from lakehouse.errors import QueryError, ServiceError
from lakehouse.settings import Settings


class Busy(Quiet):
    """Takes no statement before it was asked `refusals` times, and answers 503 to whatever follows one."""

    refusals: ClassVar[int]
    statements: ClassVar[list[str]]

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        """A statement."""
        statement = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.refusals:
            type(self).refusals -= 1
            self.answer(503, {})
            return
        self.statements.append(statement)
        url = f"http://{self.headers['Host']}"
        running = {"state": "RUNNING"}
        self.answer(200, {"id": "q1", "infoUri": url, "nextUri": f"{url}/v1/statement/q1", "stats": running})

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        """What became of it."""
        self.answer(503, {})


@pytest.mark.parametrize("refusals", [0, 2])
def test_a_statement_is_sent_until_it_is_taken_and_then_never_again(tmp_path: Path, refusals: int) -> None:
    statement = "insert into raw.numbers values 1"
    Busy.refusals, Busy.statements = refusals, []
    with serving(Busy) as url:
        engine = TrinoEngine(Settings(LAKEHOUSE_TARGET="trino", LAKEHOUSE_HOME=tmp_path, TRINO_URL=url))

        with pytest.raises(ServiceError, match=f"Trino at {url} answered .* was sent may have taken effect, or not"):
            engine.query(statement)

        engine.close()
        assert Busy.statements == [statement]


class Page(Quiet):
    """A page for people, whatever is asked."""

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        """Whatever is sent."""
        self.send(200, "text/html", b"<!doctype html><title>Console</title>")


def test_what_answers_and_is_no_trino_is_told(tmp_path: Path) -> None:
    with serving(Page) as url:
        engine = TrinoEngine(Settings(LAKEHOUSE_TARGET="trino", LAKEHOUSE_HOME=tmp_path, TRINO_URL=url))

        with pytest.raises(ServiceError, match=f"The service at {url} is no Trino, or a proxy .* Correct TRINO_URL"):
            engine.query("select 1")

        engine.close()


class Answering(Quiet):
    """Gives one answer to each statement."""

    words: ClassVar[tuple[int, Any]]

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        """Whatever is sent."""
        self.answer(*self.words)


RESULT = {"id": "q1", "infoUri": "http://127.0.0.1", "stats": {"state": "FINISHED"}}
DATE = {"name": "d", "type": "date", "typeSignature": {"rawType": "date", "arguments": []}}
CONFLICT = {"message": "Failed to commit", "errorCode": 1, "errorName": "ICEBERG_COMMIT_ERROR", "errorType": "EXTERNAL"}


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        ((500, "the query 403 failed"), ServiceError, "answered error 500: .*403"),
        ((401, "who are you"), ServiceError, "refuses the request of"),
        ((200, RESULT | {"columns": [DATE], "data": [["290000-01-01"]]}), QueryError, "a value that can't be shown"),
        (
            (200, RESULT | {"error": CONFLICT}),
            ServiceError,
            "or the catalog did not confirm the change. What this command had finished before stays. `lakehouse",
        ),
        (
            (200, RESULT | {"error": CONFLICT | {"errorName": "ICEBERG_CATALOG_ERROR"}}),
            ServiceError,
            "a service that it needs failed. What this command had finished before stays. Check that",
        ),
    ],
    ids=["failed", "refused", "a year beyond Python's", "conflict", "outage"],
)
def test_an_answer_of_trino_gets_its_own_cause(
    tmp_path: Path, words: tuple[int, Any], kind: type[Exception], says: str
) -> None:
    Answering.words = words
    with serving(Answering) as url:
        engine = TrinoEngine(Settings(LAKEHOUSE_TARGET="trino", LAKEHOUSE_HOME=tmp_path, TRINO_URL=url))

        with pytest.raises(kind, match=says):
            engine.query("select 1")

        engine.close()


class Saying(Quiet):
    """Gives one answer to all."""

    words: ClassVar[tuple[int, Any]]

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        """Whatever is asked."""
        self.answer(*self.words)


@pytest.mark.parametrize(
    ("words", "up"),
    [
        ((200, {"starting": False}), True),
        ((200, {"starting": True}), False),
        ((503, {}), False),
        ((401, "a proxy that wants a login first"), True),
    ],
)
def test_trino_is_up_when_it_has_started(tmp_path: Path, words: tuple[int, Any], *, up: bool) -> None:
    Saying.words = words
    with serving(Saying) as url:
        settings = Settings(LAKEHOUSE_TARGET="trino", LAKEHOUSE_HOME=tmp_path, TRINO_URL=url)
        assert is_up(settings) is up

    assert not is_up(settings)  # nobody listens there now
