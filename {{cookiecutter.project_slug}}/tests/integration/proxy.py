"""A TCP proxy between a client and a service, to misbehave in between: cut, hang, dawdle, lose an answer."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

CHUNK = 1 << 16


class Proxy:
    """Listens on loopback and passes everything on to `upstream`, as its attributes say.

    Attributes:
        cut_after: reset every connection once so many bytes have gone up in all.
        hang: take connections and bytes, pass nothing on.
        delay: seconds that each piece waits, either way.
        bytes_per_second: each way.
        lose_answer: given what a connection has sent up since the last answer, whether to reset it when the answer
            comes, instead of passing that on. Asked once for each answer.
        sent_up: bytes so far.
        lost_answers: how often `lose_answer` said so.
    """

    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        self._upstream = (address.hostname or "127.0.0.1", address.port or 80)
        self.cut_after: int | None = None
        self.hang = False
        self.delay = 0.0
        self.bytes_per_second: float | None = None
        self.lose_answer: Callable[[bytes], bool] = lambda _: False
        self.sent_up = 0
        self.lost_answers = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._accepting.join(5)

    def cut(self) -> None:
        """Reset every connection that is open."""
        with self._lock:
            for connection in self._open:
                _reset(connection)
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut():
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._upstream, timeout=10)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            said = bytearray()
            for source, target, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, target, said, up), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, said: bytearray, up: bool) -> None:
        try:
            while data := source.recv(CHUNK):
                if up:
                    said += data
                    self.sent_up += len(data)
                elif self._loses(said):
                    break
                else:
                    said.clear()
                if self._is_cut():
                    break
                if self.hang:
                    continue
                if self.delay:
                    time.sleep(self.delay)
                if self.bytes_per_second:
                    time.sleep(len(data) / self.bytes_per_second)
                target.sendall(data)
            else:
                target.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        with self._lock:
            self._open -= {source, target}
        _reset(source)
        _reset(target)

    def _loses(self, said: bytearray) -> bool:
        if not said or not self.lose_answer(bytes(said)):
            return False
        self.lost_answers += 1
        return True

    def _is_cut(self) -> bool:
        return self.cut_after is not None and self.sent_up > self.cut_after


def _reset(connection: socket.socket) -> None:
    """Close with RST, as a machine that vanished and came back would."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # wakes a thread that waits in recv, which close alone does not
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
