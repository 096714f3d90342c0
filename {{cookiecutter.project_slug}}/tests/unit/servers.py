"""Servers of a test's own, on loopback, for as long as it needs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Quiet(BaseHTTPRequestHandler):
    """Answers in JSON, and writes nothing into the test's output."""

    def answer(self, status: int, words: object) -> None:
        """As JSON."""
        self.send(status, "application/json", json.dumps(words).encode())

    def send(self, status: int, kind: str, body: bytes) -> None:
        """As they are."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that answers so."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, str]], list[int]]]:
    """A webhook: its address, what it was sent, and how it answers, in turn."""
    texts: list[dict[str, str]] = []
    answers: list[int] = []

    class Webhook(Quiet):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(answers.pop(0) if answers else 200, {})

    with serving(Webhook) as address:
        yield address, texts, answers
