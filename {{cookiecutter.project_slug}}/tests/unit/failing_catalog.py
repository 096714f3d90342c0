"""A REST catalog that can be opened, and then fails."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tests.unit.servers import Quiet, serving


class Failing(Quiet):
    """A REST catalog that gives its configuration and fails at everything else; what has /console in it is a page."""

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        if "/console" in self.path:
            self.send(200, "text/html", b"<!doctype html><title>Console</title>")
        elif self.path.startswith("/v1/config"):
            self.answer(200, {"defaults": {}, "overrides": {}})
        else:
            self.answer(500, {"error": {"message": "no disk", "type": "InternalServerError", "code": 500}})


def failing_catalog() -> AbstractContextManager[str]:
    """Its address, while it listens."""
    return serving(Failing)
