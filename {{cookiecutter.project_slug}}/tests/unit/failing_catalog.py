"""A REST catalog that can be opened, and then fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Failing(BaseHTTPRequestHandler):
    """A REST catalog that gives its configuration and fails at everything else; below /console, a page for people."""

    def do_GET(self) -> None:
        known = self.path.startswith("/v1/config")
        page = self.path.startswith("/console")
        failed = {"error": {"message": "no disk", "type": "InternalServerError", "code": 500}}
        body = json.dumps({"defaults": {}, "overrides": {}} if known else failed).encode()
        body = b"<!doctype html><title>Console</title>" if page else body
        self.send_response(200 if known or page else 500)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing to the test's output."""


@contextmanager
def failing_catalog() -> Iterator[str]:
    """Its address, while it listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        serving = Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
