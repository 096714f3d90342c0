"""One lock for everything that only one process may do at a time: waits have an end, and say for whom they wait.

The lock is the system's own (`flock`): it ends with the process that holds it. Some file systems have none. There the
lock file itself is the lock, and a killed process leaves it: one of this machine is noticed and its file taken over;
one of another machine can't be looked at, so the error says which file to remove.

While a lock is held, `<lock file>.holder` beside it says by whom. It is for messages; it locks nothing.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import socket
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import SoftFileLock, Timeout, lock_descriptor

from lakehouse.errors import LockedError
from lakehouse.filesystem import is_unsupported
from lakehouse.processes import has_ended

HOLDER_SUFFIX = ".holder"
FIRST_NOTICE_SECONDS = 3.0
NEXT_NOTICE_SECONDS = 60.0
_POLL_SECONDS = 0.2
_UNUSED_SECONDS = 60.0  # an empty lock file that is older was left by a system that has flock
_COMMAND_LENGTH = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock. `command` is empty and `since` None where nobody recorded them."""

    pid: int
    host: str
    command: str = ""
    since: datetime | None = None

    def __str__(self) -> str:
        command = f" (`{self.command}`)" if self.command else ""
        since = f", since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return f"process {self.pid} on host {self.host}{command}{since}"


class Lock:
    """The lock at `path`, whose folder exists. `what` is what it protects: "The build of this lakehouse".

    A lock object belongs to one thread, and is acquired once at a time.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what
        self._descriptor: int | None = None
        self._soft: SoftFileLock | None = None
        self._has_flock = True

    def acquire(self, wait: float = 0.0) -> None:
        """Take the lock. Wait up to `wait` seconds for another holder, and log for whom after 3 seconds.

        Raises:
            LockedError: another process holds it still; the message names the process, the file and what to do.
            OSError: the lock file can't be made.
        """
        started = time.monotonic()
        next_notice = FIRST_NOTICE_SECONDS
        while not self._try():
            waited = time.monotonic() - started
            if waited >= wait:
                raise LockedError(self._refusal(wait))
            if waited >= next_notice:
                log.warning("%s", self._notice(wait - waited))
                next_notice = waited + NEXT_NOTICE_SECONDS
            time.sleep(min(_POLL_SECONDS, wait - waited))
        self._note()

    def release(self) -> None:
        """Give the lock back. A child process that inherited `descriptor` goes on holding it until it ends."""
        with suppress(OSError):
            self._holder_file.unlink(missing_ok=True)
        if self._soft is not None:
            self._soft.release()
            self._soft = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def descriptor(self) -> int | None:
        """The open lock file, to be inherited by a child that shall hold the lock; None where there is no `flock`."""
        return self._descriptor

    def holder(self) -> Holder | None:
        """Who holds the lock, as far as it is recorded. Ask only after `acquire` failed."""
        noted = self._noted()
        marked = self._marked()
        if marked is None or (noted and (noted.pid, noted.host) == (marked.pid, marked.host)):
            return noted
        return marked

    @property
    def _holder_file(self) -> Path:
        return self.path.with_name(self.path.name + HOLDER_SUFFIX)

    def _try(self) -> bool:
        """One attempt, by the system's lock or, where there is none, by the lock file's existence."""
        try:
            descriptor, created = _open(self.path)
        except FileNotFoundError:  # removed between two calls
            if not self.path.parent.is_dir():
                raise
            return False
        try:
            locked = lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            if created and is_unsupported(error):
                self.path.unlink(missing_ok=True)  # else this lock file would be the lock of nobody
            os.close(descriptor)
            if is_unsupported(error):
                return self._try_soft()
            raise
        # A lock on a file that was removed meanwhile keeps nobody out.
        if locked and os.fstat(descriptor).st_nlink:
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def _try_soft(self) -> bool:
        self._has_flock = False
        self._clear_unused()
        soft = SoftFileLock(self.path)
        try:
            soft.acquire(timeout=0)
        except Timeout:
            return False
        self._soft = soft
        return True

    def _clear_unused(self) -> None:
        """Remove the empty lock file that stays where a system with `flock` released its lock."""
        with suppress(FileNotFoundError):
            found = self.path.stat()
            if not found.st_size and time.time() - found.st_mtime > _UNUSED_SECONDS and self._noted() is None:
                self.path.unlink(missing_ok=True)

    def _note(self) -> None:
        """Record this process as the holder. A disk that does not take it costs only the name in a message."""
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        holder = Holder(
            os.getpid(), socket.gethostname(), textwrap.shorten(command, _COMMAND_LENGTH), datetime.now(UTC)
        )
        with suppress(OSError):
            self._holder_file.write_text(json.dumps(asdict(holder), default=str), encoding="utf-8")

    def _noted(self) -> Holder | None:
        """The recorded holder, unless it is a process of this machine that has ended."""
        try:
            record = json.loads(self._holder_file.read_bytes())
            since = datetime.fromisoformat(record["since"])
            holder = Holder(int(record["pid"]), str(record["host"]), str(record["command"]), since)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None if _has_ended(holder) else holder

    def _marked(self) -> Holder | None:
        """The holder by the lock file's own text, which it has only where there is no `flock`."""
        try:
            pid, host = self.path.read_text(encoding="utf-8").splitlines()[:2]
            since = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
            return Holder(int(pid), host.partition("?")[0], since=since)
        except (OSError, ValueError):
            return None

    def _notice(self, left: float) -> str:
        who = self.holder() or "another process"
        return (
            f"{self.what} is locked by {who} (lock file: {self.path}). {self._if_gone()}"
            f"Waiting up to {_duration(left)} more."
        )

    def _refusal(self, wait: float) -> str:
        holder = self.holder()
        locked = f"still locked after {_duration(wait)}" if wait else "locked"
        end = f", or end process {holder.pid} on host {holder.host}" if holder else ""
        return (
            f"{self.what} is {locked} by {holder or 'another process'} (lock file: {self.path}), so this command "
            f"stopped. What it had finished before stays. Wait until that process ends{end}. "
            f"{self._if_gone()}Then run the same command again."
        )

    def _if_gone(self) -> str:
        """What to do where the lock file outlives its holder."""
        return "" if self._has_flock else f"If that process or its machine is gone, remove {self.path}. "


@contextmanager
def held(path: Path, what: str, *, wait: float = 0.0) -> Iterator[Lock]:
    """Hold the lock at `path` for as long as the context lasts; see `Lock.acquire`.

    Raises:
        LockedError: another process holds it still.
        OSError: the lock file can't be made.
    """
    lock = Lock(path, what)
    lock.acquire(wait)
    try:
        yield lock
    finally:
        lock.release()


def _open(path: Path) -> tuple[int, bool]:
    """The lock file, and whether this call made it. What it holds is left as it is."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, os.O_RDWR), False


def _has_ended(holder: Holder) -> bool:
    return holder.host == socket.gethostname() and has_ended(holder.pid)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
