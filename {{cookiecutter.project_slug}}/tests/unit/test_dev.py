"""What `make dev` does when a part of Dagster is killed. A program that starts others stands in for `dg dev`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.waiting import until

from lakehouse import dev
from lakehouse.dev import Dev, main
from lakehouse.locks import held

# Starts two processes that stay when it is killed, writes all three numbers, and ends on SIGINT or with the first,
# which has the port.
STAND_IN = """
import os, signal, subprocess, sys, time
sleep = "import time; time.sleep(300)"
inner = f"subprocess.Popen([sys.executable, '-c', {sleep!r}, 'dagster api grpc'])"
server = f"import subprocess, sys; {inner}; {sleep}"
serve = "import socket, sys, time; server = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(300)"
page = subprocess.Popen([sys.executable, "-c", serve, sys.argv[3]])
code = subprocess.Popen([sys.executable, "-c", server, "dagster code-server start"])
def end(*_):
    for one in (page, code):
        one.kill()
    sys.exit(0)
signal.signal(signal.SIGINT, end)
open(sys.argv[1], "a").write(f"{os.getpid()} {page.pid} {code.pid}\\n")
page.wait()
end()
"""


# Opens its port after a while, and ends.
OPENS_LATE = """
import socket, sys, time
time.sleep(1)
with socket.create_server(("127.0.0.1", int(sys.argv[2]))):
    time.sleep(3)
"""


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


class Running:
    """`make dev` in a thread of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.dev = Dev(home, [])
        self.dev.command = [sys.executable, "-c", STAND_IN, str(home / "started"), "--port", free_port()]
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.code = self.dev.run()

    def started(self, number: int) -> list[int]:
        """The processes of the start of this number: the stand-in, its page, its code server."""
        path = self.home / "started"
        until(lambda: path.exists() and path.read_text(encoding="utf-8").count("\n") >= number)
        return [int(pid) for pid in path.read_text(encoding="utf-8").splitlines()[number - 1].split()]

    def has_its_port(self) -> bool:
        """Whether the page has opened its port."""
        return dev._taken(self.dev.command) is not None

    def noted(self, pids: list[int]) -> bool:
        """Whether these processes are known to it."""
        return all(str(pid) in (self.home / dev.FILE).read_text(encoding="utf-8") for pid in pids)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(dev, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(dev, "SHORT_SECONDS", 0.0)
    running = Running(tmp_path)
    yield running
    running.dev.end()
    running.thread.join(60)
    assert running.code == 0
    pids = [int(pid) for pid in (tmp_path / "started").read_text(encoding="utf-8").split()]
    until(lambda: not any(alive(pid) for pid in pids))  # a killed process is there for a moment


def alive(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return not Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].startswith(" Z")
    except OSError:
        return False


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")


@linux
def test_it_starts_again_and_leaves_no_part_of_the_one_that_was_killed(running: Running) -> None:
    first = running.started(1)
    until(lambda: running.noted(first))
    until(running.has_its_port)

    os.kill(first[0], signal.SIGKILL)

    assert running.started(2) != first
    until(lambda: not any(map(alive, first)))


@linux
def test_numbers_of_another_host_are_left_alone(tmp_path: Path) -> None:
    """Containers may share a home, and count their processes alone."""
    at = Dev(tmp_path, [])
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as process:
        at._note([process.pid])
        noted = json.loads((tmp_path / dev.FILE).read_text("utf-8"))
        (tmp_path / dev.FILE).write_text(json.dumps(noted | {"host": "another"}), "utf-8")
        at._end_left()
        assert process.poll() is None

        (tmp_path / dev.FILE).write_text(json.dumps(noted), "utf-8")
        at._end_left()
        assert process.wait(60) == -signal.SIGKILL


@linux
def test_it_starts_again_when_its_page_is_killed(running: Running) -> None:
    first = running.started(1)

    os.kill(first[1], signal.SIGKILL)

    running.started(2)


@linux
def test_a_code_server_whose_inner_process_is_gone_is_ended(running: Running) -> None:
    _, _, code = running.started(1)
    inner: list[int] = []

    def found() -> bool:
        inner[:] = [one.pid for one in dev._processes() if one.parent == code]
        return bool(inner) and code in running.dev._with_inner

    until(found)
    os.kill(inner[0], signal.SIGKILL)

    until(lambda: not alive(code))


def test_what_can_not_start_is_not_started_for_ever(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = Dev(tmp_path, [])
    broken.command = [sys.executable, "-c", "import sys; print('the port is taken'); sys.exit(3)"]

    assert broken.run() == 3
    assert "ended as soon as it was started" in capfd.readouterr().err


def test_it_says_that_it_is_starting_until_its_page_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "LOOK_SECONDS", 0.1)
    port = free_port()
    late = Dev(tmp_path, [])
    late.command = [sys.executable, "-c", OPENS_LATE, "--port", port]

    late.run()

    said = [line.strip() for line in capfd.readouterr().err.splitlines()]
    assert said[:2] == ["Dagster is starting.", "0 s: Dagster is starting"]
    assert said.count(f"Dagster's page is ready: http://127.0.0.1:{port}") == 1
    assert "is starting" not in said[-2]


def test_a_number_that_is_no_port_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert Dev(tmp_path, ["--host", "127.0.0.1", "--port", "99999"]).run() == 1
    assert "error: 99999 is no port. Nothing was started." in capfd.readouterr().err


def test_files_that_cannot_be_made_are_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    (tmp_path / dev.LOCK).mkdir()
    with pytest.raises(SystemExit, match=r"^error: .*dev\.lock: .*\. Dagster stopped there\. "):
        main()
    (tmp_path / "dagster.yaml").unlink()
    (tmp_path / "dagster.yaml").mkdir()

    with pytest.raises(SystemExit, match=r"^error: .*dagster\.yaml can't be made: .*\. Nothing was started\."):
        main()


def test_one_home_has_one_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    locked = pytest.raises(SystemExit, match=r"Dagster of this project is locked")

    with held(tmp_path / dev.LOCK, "Dagster of this project"), locked:
        main()


def test_a_taken_port_is_said_before_anything_is_started(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code = Dev(tmp_path, ["--host", "127.0.0.1", "--port", str(port)]).run()

    said = capfd.readouterr().err
    assert code == 1
    assert said.startswith(f"error: Port {port} is taken by another program. Nothing was started.")
    assert "DAGSTER_PORT" in said
    assert list(tmp_path.iterdir()) == []
