"""A process that lands and loads one file after another for the command that started it, and ends with that.

It reads, converts, writes and audits on its own. Before each commit it asks, and waits. The command's own process is in
jobs.py.
"""

from __future__ import annotations

import _thread
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from lakehouse.errors import LakehouseError
from lakehouse.loading.orders import Accepted, Advanced, Commit, Failed, Loaded, Logged, Order, Stop, Warned
from lakehouse.progress import Progress

# The command's own process imports this file to start a worker, and should not wait for PyIceberg.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from lakehouse.landing import Landing
    from lakehouse.loading.bring import Shown

PROGRESS_SECONDS = 0.2  # how often it says how far it is, at the most


def work(connection: Connection, threads: int, shows: bool) -> None:
    """Do what `connection` says until it says `Stop` or its other end is gone. The main function of the process.

    Args:
        connection: to the command's process.
        threads: how many threads pyarrow may use for one table.
        shows: whether anybody looks at how far it is.
    """
    # A shell that starts a command in the background has it ignore interrupts; `Stop` is one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, said), name="listen", daemon=True).start()
    send = _Sender(connection)
    _log_to(send)
    try:
        import pyarrow as pa

        pa.set_cpu_count(threads)
        worker = _Worker(send, said, shows)
        while isinstance(order := said.get(), Order):
            worker.do(order)
    except KeyboardInterrupt:
        pass  # by `Stop`; what was staged is removed
    os._exit(0)  # to tear down all libraries takes time, and nothing of them is needed


def _listen(connection: Connection, said: SimpleQueue[Any]) -> None:
    """Pass on what the command's process says. End this process at once when that is gone, as if it was killed."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(1)
        said.put(message)
        if isinstance(message, Stop):
            _thread.interrupt_main()


class _Sender:
    """Sends messages one at a time; any thread may write a line of the log."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def __call__(self, message: Loaded | Accepted | Failed | Warned | Logged | Advanced) -> None:
        with self._lock:
            self._connection.send(message)


class _Worker:
    """Does its orders, with the catalog and the landing zone of this process."""

    def __init__(self, send: _Sender, said: SimpleQueue[Any], shows: bool) -> None:
        from lakehouse.loading.bring import Shown

        self.send, self.said, self.shows = send, said, shows
        self.opened: tuple[Catalog, Landing, str] | None = None
        self.shown: Shown = Shown(
            warn=lambda text: send(Warned(text)),
            landing=lambda label: self._bar(f"landing {label}"),
            loading=lambda label: self._bar(f"loading {label}"),
        )
        self.may_commit = False

    def do(self, order: Order) -> None:
        """Land and load one file, and say what it did or why it could not be done."""
        from lakehouse.loading.bring import bring

        self.may_commit = False
        try:
            catalog, landing, source = self._open()
            result = bring(
                catalog, landing, source, order.file, options=order.options, shown=self.shown, before_commit=self._ask
            )
        except LakehouseError as error:
            self.send(Failed(LakehouseError(str(error))))  # some of its kinds do not pickle
        except OSError as error:
            self.send(Failed(_as_is(error)))
        except Exception:  # noqa: BLE001 - the command's process raises it
            self.send(Failed(RuntimeError(traceback.format_exc())))
        else:
            self.send(Loaded(result.line, result.warnings, result.as_dict()))

    def _open(self) -> tuple[Catalog, Landing, str]:
        from lakehouse.iceberg.catalog import open_catalog
        from lakehouse.landing import open_landing
        from lakehouse.settings import load_settings

        if self.opened is None:
            settings = load_settings()
            self.opened = open_catalog(settings), open_landing(settings), settings.tlc_source
        return self.opened

    def _ask(self) -> None:
        """Wait until all files before this one are done. A load that begins again has its turn still."""
        if self.may_commit:
            return
        self.send(Accepted())
        if not isinstance(self.said.get(), Commit):
            raise KeyboardInterrupt
        self.may_commit = True

    @contextmanager
    def _bar(self, what: str) -> Iterator[Progress]:
        last = 0.0

        def update(done: int, total: int) -> None:
            nonlocal last
            if self.shows and time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                self.send(Advanced(what, done, total))

        try:
            yield update
        finally:
            if last:
                self.send(Advanced(what, None, None))


def _as_is(error: OSError) -> Exception:
    """The system's word; what a client has raised as its own error comes with its traceback."""
    if error.errno is None:
        return RuntimeError(traceback.format_exc())
    return OSError(error.errno, error.strerror, error.filename)


class _ToCommand(logging.Handler):
    """Gives a record to the command's process."""

    def __init__(self, send: _Sender) -> None:
        super().__init__(logging.WARNING)
        self.send = send

    def emit(self, record: logging.LogRecord) -> None:
        self.send(Logged(record.name, record.levelno, record.getMessage()))


def _log_to(send: _Sender) -> None:
    """Have the command's process print this project's warnings; no line of a library gets onto the terminal."""
    logging.getLogger("lakehouse").addHandler(_ToCommand(send))
    logging.getLogger().addHandler(logging.NullHandler())
    logging.captureWarnings(True)
