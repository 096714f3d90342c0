"""An empty machine to type commands into: a container with Python, make and git, a shell on a terminal, and a clock.

PYTHON_IMAGE names another image than `images.env`, WALK_DOCKER_ARGS more arguments of `docker run`. Variables that say
where packages come from go into the container. It is removed with all that it has.
"""

from __future__ import annotations

import codecs
import functools
import os
import pty
import re
import select
import shlex
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.baking import PROJECT_DIR, TEMPLATE, export

HOME = "/home/stranger"
SOURCES = [
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CERT", "UV_DEFAULT_INDEX", "UV_NATIVE_TLS"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
]
TOOLS = "RUN apt-get update -qq && apt-get install -yqq --no-install-recommends make git"
SILENCE_SECONDS = 30.0  # the goal is 10, on a machine that does nothing else
PIPS_SILENCE_SECONDS = 180.0  # an older pip prints nothing while it installs what it has downloaded
PATIENCE_SECONDS = 900.0
PAGE = re.compile(r"Dagster's page is ready: (http://[\d.:]+)")
# A daemon of Dagster warns at its first start that it looks at what comes from now on.
BAD = re.compile(r"^(?!.*No cursor for event type).*(?:Traceback|WARNING|\bWarning).*$", re.MULTILINE)
MARK = re.compile("\x1e(\\d+)\r?\n")


@dataclass(frozen=True)
class Command:
    """A line for the shell, and what is to come of it."""

    line: str
    codes: tuple[int, ...] = (0,)
    says: str = ""
    opens_page: bool = False  # it stays: once its page answers, it is ended by Ctrl-C
    is_set_up: bool = False  # stands in no README


@dataclass(frozen=True)
class Outcome:
    """What came of a command; its code is None if it did not end."""

    command: Command
    code: int | None
    seconds: float
    silence: float
    said: str

    @property
    def failed(self) -> bool:
        """Whether nobody could go on from here."""
        return self.code not in self.command.codes or self.command.says not in self.said

    def faults(self) -> list[str]:
        """What was not as it is to be, each in one sentence."""
        found = [f"It ended with code {self.code}."] if self.code not in self.command.codes else []
        found += [f"It does not say {self.command.says!r}."] if self.command.says not in self.said else []
        if self.command.is_set_up:
            return found
        longest = PIPS_SILENCE_SECONDS if " pip install " in self.command.line else SILENCE_SECONDS
        found += [f"It was silent for {self.silence:.0f} s."] if self.silence > longest else []
        return found + [f"It says {line.strip()!r}." for line in BAD.findall(self.said)]


def docker(*arguments: str) -> str:
    """Ask Docker; what it answers. It raises CalledProcessError where it refuses."""
    return subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@functools.cache
def image() -> str:
    """An image with Python, make and git: the pinned one, or that of PYTHON_IMAGE; what it lacks is added."""
    images = (TEMPLATE / PROJECT_DIR / "images.env").read_text(encoding="utf-8")
    name = os.environ.get("PYTHON_IMAGE") or re.findall(r"^PYTHON_IMAGE=(.*)$", images, re.MULTILINE)[0]
    has_tools = ["docker", "run", "--rm", name, "sh", "-c", "command -v make && command -v git"]
    if subprocess.run(has_tools, stdout=subprocess.DEVNULL, check=False).returncode == 0:
        return name
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "Dockerfile").write_text(f"FROM {name}\n{TOOLS}\n", encoding="utf-8")
        return docker("build", "--quiet", empty)


@contextmanager
def machine(*arguments: str) -> Iterator[str]:
    """A container of a person called stranger, who owns an empty home; its id."""
    settings = [f"--env={source}" for source in SOURCES if source in os.environ]
    started = docker("run", "--detach", "--rm", "--init", *arguments, *settings, image(), "sleep", "infinity")
    try:
        user = f"useradd --no-create-home --home-dir {HOME} --shell /bin/bash stranger && chown stranger {HOME}"
        docker("exec", started, "sh", "-c", user)
        yield started
    finally:
        docker("rm", "--force", "--volumes", started)


@contextmanager
def online() -> Iterator[str]:
    """A machine that reaches a package index, and not the publisher of trips: its name leads nowhere."""
    settings = TEMPLATE / PROJECT_DIR / "src" / "lakehouse" / "settings.py"
    [publisher] = re.findall(r'^PUBLISHER = "https://(.*)"$', settings.read_text(encoding="utf-8"), re.MULTILINE)
    more = shlex.split(os.environ.get("WALK_DOCKER_ARGS", ""))
    with machine("--volume", HOME, f"--add-host={publisher}:127.0.0.1", *more) as started:
        yield started


@contextmanager
def offline(other: str) -> Iterator[str]:
    """A machine with the home of another one, and without any network."""
    with machine("--volumes-from", other, "--network=none") as started:
        yield started


def copy_clone(where: str, folder: str) -> None:
    """Bring the files that git tracks to a machine."""
    with tempfile.TemporaryDirectory() as scratch:
        docker("exec", "--user=stranger", where, "mkdir", "-p", folder)
        docker("cp", "--quiet", f"{export(Path(scratch) / 'template')}/.", f"{where}:{folder}")
        docker("exec", where, "chown", "-R", "stranger", folder)


def run(where: str, folder: str, commands: Sequence[Command]) -> list[Outcome]:
    """Run commands in one shell on a terminal, up to the first that fails."""
    mark = "printf '\\036%d\\n' $?"  # the code of the command before
    script = "\n".join(["trap : INT", *(f"{mark}\n{command.line}" for command in commands), mark])
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    shell = ["docker", "exec", "-it", "--user=stranger", f"--workdir={folder}", f"--env=HOME={HOME}"]
    shell += ["--env=LANG=C.UTF-8", where, "bash", "-c", script]
    process = subprocess.Popen(shell, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        return list(_outcomes(where, ours, commands))
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _outcomes(where: str, terminal: int, commands: Sequence[Command]) -> Iterator[Outcome]:
    """What comes of each command, by what the terminal shows and when."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    waiting, command = list(commands), Command("", is_set_up=True)
    said, silence, began, left = "", 0.0, time.monotonic(), False
    last = began
    while select.select([terminal], [], [], PATIENCE_SECONDS)[0]:
        try:
            said += decoder.decode(os.read(terminal, 65536))
        except OSError:  # Linux says so of a terminal that nobody has open any more
            break
        silence, last = max(silence, time.monotonic() - last), time.monotonic()
        while mark := MARK.search(said):
            outcome = Outcome(command, int(mark[1]), last - began, silence, said[: mark.start()])
            said, silence, began, left = said[mark.end() :], 0.0, last, False
            if command.line:
                yield outcome
            if not waiting or outcome.failed:
                return
            command = waiting.pop(0)
        if command.opens_page and not left and (page := PAGE.search(said)):
            ask = f"import urllib.request; urllib.request.urlopen('{page[1]}', timeout=60).read()"
            docker("exec", where, "python3", "-c", ask)
            os.write(terminal, b"\x03")
            left = True
    yield Outcome(command, None, time.monotonic() - began, time.monotonic() - last, said)
