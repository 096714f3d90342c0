"""Several files at once: processes land, read, write and audit one file each; commits come one by one, in order.

The command's own process imports nothing slow. It starts the workers and gives each a file. A worker may commit once
all files before its own are done. So the table gets the same snapshots in the same order as from one process. A file
that is refused ends the command, and nothing of the files after it is loaded.

A file may be refused because of what an earlier file of the same command was about to change. So a file that is refused
before its turn is tried once more at its turn, and only that counts.

A worker ends with the command, also if that is killed: it ends at once then, in the middle of whatever it does. Every
commit is whole or not made.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, resource_tracker
from typing import Any, Protocol

from lakehouse.datasets.file import DatasetFile
from lakehouse.errors import LakehouseError
from lakehouse.loading.orders import Accepted, Advanced, Commit, Failed, Loaded, Logged, Options, Order, Stop, Warned
from lakehouse.loading.worker import work

END_SECONDS = 10.0  # for a worker to remove what it has staged, after `Stop`


class Bars(Protocol):
    """Shows how far several files are."""

    shows: bool
    """Whether anybody sees it."""

    def update(self, what: str, done: int | None, total: int | None) -> None:
        """Show how far `what` is, for example `loading yellow 2024-01`; None: it has ended."""

    def warn(self, text: str) -> None:
        """Print a warning."""


def load_at_once(files: Sequence[DatasetFile], options: Options, jobs: int, bars: Bars) -> Generator[Loaded]:
    """Land and load months or days of a dataset in `jobs` processes; what each load did, in the order of the files.

    Closing the iterator early stops the files that are not done.

    Raises:
        LakehouseError: of the first file that can't be loaded; those before it are loaded, those after it are not.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    workers: list[_Worker] = []
    try:
        workers.extend(_Worker(threads, bars.shows) for _ in range(min(jobs, len(files))))
        yield from _Turns(files, options, workers, bars).run()
    finally:
        for worker in workers:
            worker.tell(Stop())
        deadline = time.monotonic() + END_SECONDS
        for worker in workers:
            worker.end(deadline)


class _Worker:
    """A process that lands and loads one file after another. `place` is that of its file among all, if it has one."""

    def __init__(self, threads: int, shows: bool) -> None:
        spawn = get_context("spawn")
        self.connection, its = spawn.Pipe()
        self.place: int | None = None
        self.had_turn = False  # whether all files before its own were done when it began
        self.waits = False  # for its turn to commit
        self.process = spawn.Process(target=work, args=(its, threads, shows), daemon=True)
        # Ctrl-C goes to all processes of a terminal. A worker does not see it, and ends by `Stop`.
        with _no_interrupts():
            self.process.start()
        its.close()

    def tell(self, message: object) -> None:
        """Send it a message; one that has ended gets none."""
        with suppress(OSError):
            self.connection.send(message)

    def end(self, deadline: float) -> None:
        """Wait until it has ended; kill it if it takes too long."""
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


class _Turns:
    """Which worker does which file, and which may commit: the one whose file is the first that is not done."""

    def __init__(self, files: Sequence[DatasetFile], options: Options, workers: list[_Worker], bars: Bars) -> None:
        self.files, self.options, self.workers, self.bars = files, options, workers, bars
        self.turn = 0  # the place of the first file that is not done
        self.next = 0  # the place of the first file that nobody has begun
        self.again: set[int] = set()  # places of files that failed before their turn
        self.loaded: dict[int, Loaded] = {}
        self.failed: dict[int, Exception] = {}
        self.warnings: dict[int, list[str]] = {}

    def run(self) -> Iterator[Loaded]:
        """Do all files; what each load did, in their order."""
        while self.turn < len(self.files):
            self._give_files()
            self._let_commit()
            ready = connection.wait([worker.connection for worker in self.workers])
            for worker in [worker for worker in self.workers if worker.connection in ready]:
                self._take(worker)
            while self.turn in self.loaded:
                self._warn_of_turn()
                yield self.loaded.pop(self.turn)
                self.turn += 1
            if self.turn in self.failed:
                self._warn_of_turn()
                raise self.failed[self.turn]

    def _give_files(self) -> None:
        """Give files to workers without one. After a file that has failed none is begun until that is done."""
        for worker in self.workers:
            if worker.place is not None:
                continue
            if self.turn in self.again:
                self.again.remove(self.turn)
                self._give(worker, self.turn)
            elif self.next < len(self.files) and not self.again and not self.failed:
                self._give(worker, self.next)
                self.next += 1

    def _give(self, worker: _Worker, place: int) -> None:
        worker.place, worker.had_turn, worker.waits = place, place == self.turn, False
        self.warnings[place] = []
        worker.tell(Order(self.files[place], self.options))

    def _let_commit(self) -> None:
        for worker in self.workers:
            if worker.waits and worker.place == self.turn:
                worker.waits = False
                worker.tell(Commit())

    def _take(self, worker: _Worker) -> None:
        """Take one message of a worker."""
        try:
            message: Any = worker.connection.recv()
        except (EOFError, OSError):
            self._lose(worker)
            return
        place = worker.place
        match message:
            case Advanced(what, done, total):
                self.bars.update(what, done, total)
            case Logged(logger, level, text):
                logging.getLogger(logger).log(level, "%s", text)
            case Warned(text) if place is not None:
                self.warnings[place].append(text)
            case Accepted():
                worker.waits = True
            case Loaded() if place is not None:
                self.loaded[place], worker.place = message, None
            case Failed(error) if place is not None:
                worker.place = None
                if worker.had_turn:
                    self.failed[place] = error
                else:
                    self.again.add(place)

    def _lose(self, worker: _Worker) -> None:
        """A worker has ended by itself."""
        self.workers = [other for other in self.workers if other is not worker]
        worker.process.join()
        code = worker.process.exitcode or 0
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        place = self.turn if worker.place is None else worker.place
        self.failed[place] = LakehouseError(
            f"The process that lands and loads {self.files[place].label} {how}. The table holds all rows of this file "
            "or none of them. Run the same command again, with fewer --jobs if the machine has too little memory."
        )

    def _warn_of_turn(self) -> None:
        for text in self.warnings[self.turn]:
            self.bars.warn(text)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hold interrupts back. A process that is started meanwhile never gets one from a terminal."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start, which is a part of the first worker's, lets interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
