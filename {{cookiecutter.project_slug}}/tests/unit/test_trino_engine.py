"""Trino's client: a statement that may have been taken is never sent twice."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from tests.unit.servers import Quiet, serving

from lakehouse.engines.trino import TrinoEngine
from lakehouse.errors import ServiceError
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

        with pytest.raises(ServiceError, match=f"Trino at {url} answered"):
            engine.query(statement)

        engine.close()
        assert Busy.statements == [statement]
