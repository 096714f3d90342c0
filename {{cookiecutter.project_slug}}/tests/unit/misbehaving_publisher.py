"""A publisher on loopback that does what real ones do on bad days. Every fault is bounded: nothing hangs for ever."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq

Answer = Callable[["Handler", "PublishedBytes"], None]


def as_published(file: Path) -> bytes:
    """A generated month without the mark that says it is one."""
    content = BytesIO()
    pq.write_table(pq.read_table(file).replace_schema_metadata(), content, compression="zstd")
    return content.getvalue()


@dataclass
class PublishedBytes:
    """What one path serves, and since when."""

    content: bytes
    modified: float = 1_700_000_000.0

    @property
    def etag(self) -> str:
        return f'"{sha256(self.content).hexdigest()[:16]}"'


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Publisher:
    """Serves `files`; `faults` holds answers for a path's next requests, `heads` for the next checks of marks."""

    url: str = ""
    files: dict[str, PublishedBytes] = field(default_factory=dict)
    faults: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    always: dict[str, Answer] = field(default_factory=dict)
    heads: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def publish(self, path: str, content: bytes, modified: float = 1_700_000_000.0) -> None:
        self.files[path] = PublishedBytes(content, modified)

    def asked(self, method: str = "GET") -> list[Request]:
        return [request for request in self.requests if request.method == method]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    publisher: Publisher

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.publisher.requests.append(Request(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        published = self.publisher.files.get(path, PublishedBytes(b""))
        if self.command == "HEAD" and self.publisher.heads:
            self.publisher.heads.pop(0)(self, published)
        elif self.command == "GET" and (waiting := self.publisher.faults[path]):
            waiting.pop(0)(self, published)
        elif self.command == "GET" and path in self.publisher.always:
            self.publisher.always[path](self, published)
        elif path not in self.publisher.files:
            self.status(403)
        else:
            serve(self, published)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Keep quiet."""

    def status(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def begin(self, published: PublishedBytes, code: int, length: int, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", published.etag)
        self.send_header("Last-Modified", formatdate(published.modified, usegmt=True))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()


def serve(handler: Handler, published: PublishedBytes, upto: int | None = None) -> None:
    """As a good publisher does: whole, in part, or not at all if nothing changed; cut after `upto` bytes if said."""
    content, wanted = published.content, handler.headers.get("Range")
    if handler.headers.get("If-None-Match") == published.etag:
        handler.send_response(304)
        handler.end_headers()
        return
    start = 0
    if wanted and handler.headers.get("If-Range") == published.etag:
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            handler.status(416, Content_Range=f"bytes */{len(content)}")
            return
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.begin(published, 206, len(content) - start, Content_Range=span)
    else:
        handler.begin(published, 200, len(content))
    if handler.command == "GET":
        handler.wfile.write(content[start : None if upto is None else start + upto])
    if upto is not None:
        handler.cut()


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda handler, _: handler.status(code, body, **headers)


def cut_after(size: int) -> Answer:
    """Promises all of it, and hangs up after `size` bytes."""
    return lambda handler, published: serve(handler, published, upto=size)


def hang_up() -> Answer:
    """Closes the connection without a word."""
    return lambda handler, _: handler.cut()


def short_length(size: int) -> Answer:
    """Says that the file ends after `size` bytes."""

    def answer(handler: Handler, published: PublishedBytes) -> None:
        handler.begin(published, 200, size)
        handler.wfile.write(published.content[:size])

    return answer


def web_page(content_type: str = "text/html; charset=utf-8") -> Answer:
    return lambda handler, _: handler.status(200, b"<!DOCTYPE html><html>Log in</html>", Content_Type=content_type)


def change_to(publisher: Publisher, path: str, content: bytes, after: int, *, cut: bool) -> Answer:
    """Another version takes the file's place after `after` bytes: hung up there, or mixed into the same answer."""

    def answer(handler: Handler, published: PublishedBytes) -> None:
        handler.begin(published, 200, len(published.content))
        handler.wfile.write(published.content[:after])
        publisher.publish(path, content, modified=1_700_009_999.0)
        if cut:
            handler.cut()
        else:
            handler.wfile.write(content[after : len(published.content)].ljust(len(published.content) - after, b"."))

    return answer


def drip(bytes_at_once: int, pause: float, limit: float) -> Answer:
    """A few bytes now and then, for at most `limit` seconds."""

    def answer(handler: Handler, published: PublishedBytes) -> None:
        handler.begin(published, 200, len(published.content))
        end = time.monotonic() + limit
        for start in range(0, len(published.content), bytes_at_once):
            if time.monotonic() > end:
                break
            try:
                handler.wfile.write(published.content[start : start + bytes_at_once])
                handler.wfile.flush()
            except OSError:
                break
            time.sleep(pause)
        handler.cut()

    return answer


@contextmanager
def running() -> Iterator[Publisher]:
    """A publisher on a free port of loopback, for as long as the context lasts."""
    publisher = Publisher()
    handler = type("PublisherHandler", (Handler,), {"publisher": publisher})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    publisher.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
