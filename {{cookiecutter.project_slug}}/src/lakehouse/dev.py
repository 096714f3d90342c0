"""`make dev`: Dagster on this machine, by `dg dev`, which is started again when a part of it was killed.

`dg dev` ends as a whole when its page or its daemon ends. Killed itself, it leaves both behind, and a second daemon
beside the first would start runs twice. A code server in it that was killed stays away. So its processes are looked at
every few seconds, and what is left of an earlier one is ended first. Runs are left alone.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from lakehouse.dagster_home import chosen, ready
from lakehouse.errors import LockedError, SettingsError
from lakehouse.filesystem import described
from lakehouse.locks import held
from lakehouse.processes import is_running

LOOK_SECONDS = 3.0
# One that ends sooner can't start: its port is taken, for example.
SHORT_SECONDS = 60.0
# A killed page keeps its port for a moment.
ENDING_SECONDS = 10.0
_LAST_PORT = 65535
FILE, LOCK = "dev.json", "dev.lock"
_LINE = re.compile(r"\s*(\d+)\s+(\d+)\s+(.*)")
# The process that Dagster's reloadable code server runs the code in; without it, the server answers with errors only.
OUTER, INNER = "dagster code-server start", "dagster api grpc"


@dataclass(frozen=True)
class Process:
    """A process of this machine, as `ps` shows it."""

    pid: int
    parent: int
    command: str


class Dev:
    """`dg dev` with these arguments, and what it has started. `home` is Dagster's."""

    def __init__(self, home: Path, arguments: list[str]) -> None:
        self.home = home
        self.command = [str(Path(sys.executable).parent / "dg"), "dev", *arguments]
        self.ended_by_us = False
        self._process: subprocess.Popen[bytes] | None = None
        self._with_inner: set[int] = set()

    def run(self) -> int:
        """Run until somebody ends it; the exit code."""
        while True:
            self._end_left()
            if taken := _taken(self.command):
                _say(f"error: {taken}")
                return 1
            began = time.monotonic()
            _say("Dagster is starting.")
            self._process = subprocess.Popen(self.command, start_new_session=True)  # noqa: S603 - our own command
            self._note([self._process.pid])
            if self.ended_by_us:  # between two starts
                self.end()
            is_open = False
            while True:
                with suppress(subprocess.TimeoutExpired):
                    code = self._process.wait(LOOK_SECONDS)
                    break
                self._look(self._process.pid)
                is_open = is_open or _is_open(self.command, time.monotonic() - began)
            if self.ended_by_us:
                return code
            if time.monotonic() - began < SHORT_SECONDS:
                self._end_left()
                _say("error: Dagster ended as soon as it was started. The lines above say why.")
                return code or 1
            _say("A part of Dagster was ended. It is started again.")

    def end(self, *_: object) -> None:
        """End it as Ctrl-C does."""
        self.ended_by_us = True
        if self._process:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    def _look(self, pid: int) -> None:
        """Note what it has started. End a code server whose inner process is gone: then Dagster starts it again."""
        seen = list(_processes())
        own = [one for one in seen if one.parent == pid]
        self._note([pid, *(one.pid for one in own)])
        for server in (one for one in own if OUTER in one.command):
            if any(one.parent == server.pid and INNER in one.command for one in seen):
                self._with_inner.add(server.pid)
            elif server.pid in self._with_inner:
                _kill(server.pid)

    def _note(self, pids: list[int]) -> None:
        with suppress(OSError):  # a full disk does not end Dagster
            noted = {"host": socket.gethostname(), "at": time.time(), "pids": pids}
            (self.home / FILE).write_text(json.dumps(noted), encoding="utf-8")

    def _end_left(self) -> None:
        """End what an earlier one has left, so that there is one page and one daemon, and the port is free.

        Numbers of another host say nothing about this one: containers may share a home.
        """
        try:
            found = json.loads((self.home / FILE).read_bytes())
            pids, at, host = [int(pid) for pid in found["pids"]], float(found["at"]), str(found["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if host != socket.gethostname():
            return
        left = [pid for pid in pids if is_running(pid, at)]
        for pid in left:
            _kill(pid)
        deadline = time.monotonic() + ENDING_SECONDS
        while any(is_running(pid, at) for pid in left) and time.monotonic() < deadline:
            time.sleep(0.05)


def _address(command: list[str]) -> tuple[str, str]:
    """The host and the port of Dagster's page, as `dg dev` is given them."""
    options = dict(pairwise(command))
    return options.get("--host", "127.0.0.1"), options.get("--port", "")


def _is_open(command: list[str], seconds: float) -> bool:
    """Whether Dagster's page can be opened by now. Says so, or for how many seconds Dagster has been starting."""
    host, port = _address(command)
    if not port.isdigit():
        return True
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        _say(f"{seconds:4.0f} s: Dagster is starting")
        return False
    _say(f"Dagster's page is ready: http://{f'[{host}]' if ':' in host else host}:{port}")
    return True


def _taken(command: list[str]) -> str | None:
    """What to do about a port that another program has. `dg dev` would say that it serves there, and wait for ever."""
    host, port = _address(command)
    if not port.isdigit():
        return None  # `dg dev` says what is wrong with it
    if not 0 < int(port) <= _LAST_PORT:
        return f"{port} is no port. Nothing was started. Set DAGSTER_PORT to a number from 1 to {_LAST_PORT}."
    try:
        socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return f"Dagster's page can't be at {host}:{port} ({error.strerror}). Nothing was started."
        return (
            f"Port {port} is taken by another program. Nothing was started. End that program, or give Dagster's page "
            "another port: `make dev DAGSTER_PORT=3001`, or DAGSTER_PORT in .env."
        )
    return None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[Process]:
    """All processes of this machine, with whole commands; none where it has no `ps`."""
    try:
        command = ["ps", "-wweo", "pid=,ppid=,args="]
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    except OSError:
        return
    for line in said.stdout.splitlines():
        if found := _LINE.match(line):  # arguments may have lines of their own
            yield Process(int(found[1]), int(found[2]), found[3])


def main() -> None:
    """Run Dagster for this project, with the arguments of `dg dev`."""
    try:
        home = chosen()
        ready(home)
    except SettingsError as error:
        sys.exit(f"error: {error}")
    os.environ["DAGSTER_HOME"] = str(home)
    dev = Dev(home, sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN):  # as `nohup` wants it
            signal.signal(number, dev.end)
    try:
        with held(home / LOCK, "Dagster of this project"):
            code = dev.run()
    except LockedError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {described(error, 'Dagster stopped there.')}")
    sys.exit(code)


if __name__ == "__main__":
    main()
