"""Locks: one holder, waits that end and name the holder, with the system's locks and without them."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lakehouse import locks
from lakehouse.errors import LockedError
from lakehouse.locks import Lock, held
from lakehouse.settings import project_dir

fcntl = pytest.importorskip("fcntl", reason="Windows locks files in another way")

# A process that holds a lock until it is killed. With `none`, it is on a system without flock.
HOLDER = """
import errno, fcntl, sys
from pathlib import Path

def without(descriptor, operation):
    raise OSError(errno.ENOSYS, "Function not implemented")

if sys.argv[2] == "none":
    fcntl.flock = without
from lakehouse.locks import Lock
lock = Lock(Path(sys.argv[1]), "It")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
WITH, WITHOUT = "flock", "none"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "build.lock"


@contextmanager
def holding_process(path: Path, flock: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), flock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_dir() / "src")},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def take_flock_away(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def without(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", without)


@pytest.fixture(params=[WITH, WITHOUT])
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system with locks, and one without."""
    if request.param == WITHOUT:
        take_flock_away(monkeypatch, errno.ENOSYS)
    return str(request.param)


def test_a_lock_that_is_held_is_refused_at_once(path: Path, flock: str) -> None:
    with holding_process(path, flock) as process, pytest.raises(LockedError) as caught:
        Lock(path, "The build").acquire()

    said = str(caught.value)
    assert f"The build is locked by process {process.pid} on host {socket.gethostname()} (`-c " in said
    assert "so this command stopped. What it had finished before stays. Wait until that process ends, or" in said
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", said)
    assert f"lock file: {path}" in said
    assert ("gone, remove" in said) == (flock == WITHOUT)


def test_a_wait_ends_and_says_for_whom_it_was(
    path: Path, flock: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "FIRST_NOTICE_SECONDS", 0.0)

    with holding_process(path, flock) as process, pytest.raises(LockedError, match="still locked after"):
        Lock(path, "The build").acquire(wait=0.3)

    (notice,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert f"process {process.pid}" in notice
    assert str(path) in notice
    assert ("gone, remove" in notice) == (flock == WITHOUT)


def test_a_short_wait_says_nothing(path: Path, flock: str, caplog: pytest.LogCaptureFixture) -> None:
    first = Lock(path, "It")
    first.acquire()
    timer = threading.Timer(0.2, first.release)
    timer.start()

    with held(path, "It", wait=30):
        timer.join()

    assert not caplog.records
    assert flock in (WITH, WITHOUT)


def test_the_lock_of_a_killed_process_is_free(path: Path, flock: str) -> None:
    with holding_process(path, flock) as process:
        process.kill()
        process.wait()

        with held(path, "It") as lock:
            assert lock.holder() is not None
            assert f"process {os.getpid()} on" in str(lock.holder())


@pytest.mark.usefixtures("flock")
def test_a_released_lock_leaves_no_holder(path: Path) -> None:
    with held(path, "It"):
        assert path.with_name("build.lock.holder").exists()

    assert not path.with_name("build.lock.holder").exists()
    with held(path, "It"):
        pass


def test_a_lock_left_by_another_machine_says_what_to_remove(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_flock_away(monkeypatch, errno.ENOSYS)
    path.write_text("4711\nanother-container?pidns-f0000001\n")

    with pytest.raises(LockedError) as caught:
        Lock(path, "The build").acquire(wait=0.2)

    assert "process 4711 on host another-container, since" in str(caught.value)
    assert f"or end process 4711 on host another-container. If that process or its machine is gone, remove {path}." in (
        str(caught.value)
    )
    assert path.exists()


def test_a_live_lock_is_never_taken_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_flock_away(monkeypatch, errno.ENOSYS)

    with holding_process(path, WITHOUT) as process:
        os.utime(path, (0, 0))  # however old it looks
        with pytest.raises(LockedError):
            Lock(path, "It").acquire(wait=0.5)
        assert path.read_text().startswith(f"{process.pid}\n")


@pytest.mark.parametrize("number", ["ENOSYS", "ENOTSUP", "ENOLCK", "EINVAL"])
def test_every_answer_for_no_locks_falls_back(path: Path, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    take_flock_away(monkeypatch, getattr(errno, number))

    with held(path, "It"), pytest.raises(LockedError):
        Lock(path, "It").acquire()
    assert not path.exists()


def test_a_disk_fault_is_no_missing_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_flock_away(monkeypatch, errno.EIO)

    with pytest.raises(OSError, match="Input/output"):
        Lock(path, "It").acquire()


def test_a_lock_file_of_a_system_with_locks_keeps_nobody_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(path, "It"):
        pass
    assert path.read_bytes() == b""
    os.utime(path, (0, 0))
    take_flock_away(monkeypatch, errno.ENOSYS)

    with held(path, "It"):
        pass


def test_a_child_that_inherits_the_lock_holds_it(path: Path) -> None:
    lock = Lock(path, "It")
    lock.acquire()
    assert lock.descriptor is not None
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[lock.descriptor]
    ) as child:
        lock.release()

        with pytest.raises(LockedError, match="another process"):
            Lock(path, "It").acquire()
        child.kill()
        child.wait()

    with held(path, "It"):
        pass
