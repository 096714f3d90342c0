"""Walks both READMEs in empty containers, as a stranger would who has Python, make and git, and nothing else.

    python -m tests.walk [WAY ...]

A way is one person: a container of its own, a home without a file, and one shell on a terminal in which the commands
of the READMEs are run from top to bottom. The table has the code of each command, its seconds, and its longest silence:
the longest time in which the terminal showed nothing new. Commands in brackets stand in no README.

Packages come from the index; the publisher of trips can't be reached. tests/machine.py names the variables.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tests import machine
from tests.baking import PROJECT_DIR, TEMPLATE
from tests.machine import HOME, Command, Outcome
from tests.test_demo import commands

GOAL_SECONDS = 10.0  # of silence
OURS, THEIRS = "README.md", f"{PROJECT_DIR}/README.md"
NEEDS_SERVICES = {"Two targets, one project", "How do I move to the real stack, and bring my own data?"}


@dataclass(frozen=True)
class Way:
    """Commands of one person, from the folder of a clone on: first with a network, then without any."""

    commands: Sequence[Command]
    offline: Sequence[Command] = ()
    folder: str = f"{HOME}/lakehouse-template"
    machine: str = "true"  # what the owner of the machine does to it before


def lines(readme: str, without: Collection[str] = (), only: str | None = None) -> list[str]:
    """The commands of a README: without those below some headings, or only those below one."""
    sections = re.split(r"^#+ ", (TEMPLATE / readme).read_text(encoding="utf-8"), flags=re.MULTILINE)
    titled = [(section.partition("\n")[0], section) for section in sections]
    return commands("".join(text for title, text in titled if title not in without and only in (None, title)))


def as_read(*read: str) -> list[Command]:
    """Commands as a README has them."""
    return [DEV if line == "make dev" else Command(line) for line in read]


def set_up(*others: str) -> list[Command]:
    """Commands that stand in no README."""
    return [Command(line, is_set_up=True) for line in others]


DEV = Command("make dev", (0, 2, 130), opens_page=True)
[UVX] = [line for line in lines(OURS) if line.startswith("uvx ")]
FIRST, *MORE = [line for line in lines(OURS) if line != UVX]
BY_PIP = re.findall(r"`([^`\n]*\bbaker\b[^`\n]*)`", (TEMPLATE / OURS).read_text(encoding="utf-8"))
BY_HAND = [line for line in lines(THEIRS, only="Start") if "make" not in line]
BY_MAKE = [line for line in lines(THEIRS, NEEDS_SERVICES) if line not in BY_HAND]
TRAVEL = lines(THEIRS, only="Travel in time")

GENERATES = Command(FIRST, says="GENERATED")
BAKED = set_up("cd build/demo/nyc-taxi-lakehouse")
# Files that somebody has downloaded, in README's own folder.
DOWNLOAD = """
from pathlib import Path
from lakehouse.datasets.months import Month
from lakehouse.synthetic.generate import write_month, write_zones
folder = Path.home() / "Downloads" / "taxi"
folder.mkdir(parents=True)
write_zones(folder / "taxi_zone_lookup.csv")
for dataset, month in [("yellow", "2024-01"), ("yellow", "2024-02"), ("green", "2023-01"), ("green", "2023-02")]:
    write_month(folder / f"{dataset}_tripdata_{month}.parquet", dataset, Month.parse(month), 50_000)
"""
DOWNLOADED = set_up(f".venv/bin/python -c {shlex.quote(DOWNLOAD)}", "cd -", "export TLC_SOURCE=~/Downloads/taxi")
# A project of one's own. Enter is pressed at each question.
HOME_AGAIN = set_up('TEMPLATE="$PWD"', "cd")
HAS_UV = set_up("python3 -m venv ~/tools && ~/tools/bin/pip install --quiet uv", "PATH=~/tools/bin:$PATH")
ASKED = {line: f"yes '' | {line}" for line in (UVX, BY_PIP[-1])}
PROJECT = set_up("cd ~/nyc-taxi-lakehouse")
OWN = [*HAS_UV, *HOME_AGAIN, Command(ASKED[UVX], says=FIRST), *PROJECT]
OTHER_PROGRAM = 'python3 -m http.server --bind 127.0.0.1 "${DAGSTER_PORT:-3000}" >/dev/null 2>&1 &'
OTHER_PORT = "make dev DAGSTER_PORT=3001"
LOCKS = {"one": "requirements-dev.lock", "two": f"{PROJECT_DIR}/requirements-runtime.lock"}

WAYS = {
    # What `make demo` in a clone installs and nothing else, to compare with.
    "bare": Way(set_up(*(f"python3 -m venv {to} && {to}/bin/pip install -r '{lock}'" for to, lock in LOCKS.items()))),
    "pip": Way([GENERATES, *BAKED, *DOWNLOADED, *as_read(*MORE), *BAKED, *as_read(*BY_MAKE)]),
    "uv": Way([*OWN, GENERATES, *as_read(*TRAVEL, "make dev")]),
    "no make": Way(
        [*HOME_AGAIN, *as_read(*(ASKED.get(line, line) for line in BY_PIP)), *PROJECT, *as_read(*BY_HAND, *TRAVEL)],
        machine='rm "$(command -v make)"',
    ),
    "offline": Way([*OWN, *as_read("make runtime")], offline=[*PROJECT, GENERATES, *as_read(*TRAVEL, "make dev")]),
    "taken port": Way(
        [
            *(*OWN, *as_read("make runtime"), *set_up(OTHER_PROGRAM)),
            Command("make dev", (2,), "is taken by another program. Nothing was started."),
            Command(OTHER_PORT, DEV.codes, opens_page=True),
        ]
    ),
    "blanks": Way([GENERATES, *BAKED, *as_read(*TRAVEL, "make dev")], folder=f"{HOME}/Daten für März/lakehouse"),
}


def walk(way: Way) -> list[Outcome]:
    """Go a way, up to the first command that fails."""
    who = "-c user.name=stranger -c user.email=stranger@example.com"
    cloned = set_up("git init --quiet . && git add --all", f"git {who} commit --quiet --message 'The template'")
    with machine.online() as online:
        machine.docker("exec", online, "sh", "-c", way.machine)
        machine.copy_clone(online, way.folder)
        outcomes = machine.run(online, way.folder, [*cloned, *way.commands])
        if way.offline and not any(outcome.failed for outcome in outcomes):
            with machine.offline(online) as offline:
                outcomes += machine.run(offline, way.folder, way.offline)
    return outcomes


def main() -> None:
    """Go the ways that the command line names, or all, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"one of: {', '.join(WAYS)}; without one, all")
    ways = parser.parse_args().ways or list(WAYS)
    if unknown := [way for way in ways if way not in WAYS]:
        parser.error(f"there is no way {unknown[0]!r}")
    gone: dict[str, list[Outcome]] = {}
    for way in ways:
        gone[way] = walk(WAYS[way])
        print(f"\n{way}\n{'code':>6} {'seconds':>8} {'silence':>8}  command")
        for one in gone[way]:
            line = one.command.line.splitlines()[0]
            line = f"({line})" if one.command.is_set_up else line
            late = "!" if one.silence > GOAL_SECONDS else " "
            print(f"{one.code!s:>6} {one.seconds:8.1f} {one.silence:7.1f}{late}  {line[:100]}")
            if faults := one.faults():
                print(*faults, *one.said.splitlines()[-15:], sep="\n        ")
        sys.stdout.flush()
    if {"bare", "pip"} <= gone.keys():
        bare = sum(one.seconds for one in gone["bare"] if "install" in one.command.line)
        first = next(one.seconds for one in gone["pip"] if one.command == GENERATES)
        print(f"\nThe first report took {first:.0f} s, {first / bare:.2f} times the bare installation of {bare:.0f} s.")
        print(f"The goal is {1.3 * bare + 20:.0f} s: 1.3 times, and 20 s.")
    sys.exit(any(one.faults() for outcomes in gone.values() for one in outcomes))


if __name__ == "__main__":
    main()
