"""`python -m tests.mutants [FILE…]`: change src/lakehouse a little, many times, and report what no test noticed.

A mutant meets the tests that took its line when `make coverage` ran: the shortest first, as many as run within the
budget, until one fails. Asked are the four rooms that write, read and keep tables: a sample that a seed decides.
Survivors that are known, with the reason why, are in known.yml. The result is also in build/mutants.json.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue

import yaml
from coverage import CoverageData
from tests.measure import DATA, PROJECT, TIMES

ROOMS = ("loading", "iceberg", "history", "engines")
KNOWN = Path(__file__).with_name("known.yml")
# What a copy of the project does without. The environment is the project's own.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "build", "data", "logs", "target", "__pycache__", ".*_cache", ".env")
ENOUGH = 85  # percent that a test must notice
STARTING_SECONDS = 60


@dataclass(frozen=True)
class Mutant:
    """One change: what the line was and is, and all of its file's code with it."""

    file: str
    line: int
    was: str
    now: str
    code: str


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: `noticed` by a test, `survived`, or `not tried`: only tests that need Docker take it."""

    mutant: Mutant
    outcome: str
    by: str
    tests: int
    seconds: float


class Tests:
    """Which tests take a line, from what `make coverage` kept."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._data = CoverageData(str(DATA))
        self._data.read()
        self._seconds = {
            f"{case.get('classname')}.{case.get('name')}": float(case.get("time", 0))
            for case in ET.parse(TIMES).iter("testcase")  # noqa: S314 - pytest wrote it
            if not list(case)  # one that failed or was skipped says nothing
        }

    @cached_property
    def _of_files(self) -> dict[str, list[str]]:
        """The tests of each file, by pytest's names."""
        files: dict[str, list[str]] = defaultdict(list)
        for name in {name_of(context) for context in self._data.measured_contexts()}:
            files[name.partition("::")[0]].append(name)
        return files

    def of(self, mutant: Mutant) -> tuple[list[str], bool]:
        """The shortest tests that take a mutant's line, and whether any test at all takes it."""
        contexts = self._data.contexts_by_lineno(str(PROJECT / mutant.file))
        lines = lines_that_run_it((PROJECT / mutant.file).read_text("utf-8"), mutant.line)
        names = {name_of(name) for line in lines for name in contexts.get(line, ())} - {""}
        # What a fixture of many tests took is its file's.
        tests = {test for name in names for test in ([name] if "::" in name else self._of_files.get(name, []))}
        chosen, seconds = [], 0.0
        for test in sorted(tests, key=lambda test: (self._time(test), test)):
            seconds += self._time(test)
            if seconds <= self._budget:
                chosen.append(test)
        return chosen, bool(names)

    def _time(self, test: str) -> float:
        """Seconds; endless for one that did not pass, or that needs Docker."""
        if test.startswith("tests/integration/"):
            return float("inf")
        path, _, name = test.partition("::")
        case = f"{path.removesuffix('.py').replace('/', '.')}.{name.replace('::', '.')}"  # as pytest's XML has it
        return self._seconds.get(case, float("inf"))


def name_of(context: str) -> str:
    """The test of a context: a process that a test starts has pytest's `tests/x.py::test_y (call)`."""
    return re.sub(r" \((setup|call|teardown)\)$", "", context.partition("|")[0] or context.partition("|")[2])


def lines_that_run_it(code: str, line: int) -> set[int]:
    """A statement's lines. What runs when its module is imported is tested by all that runs in the module."""
    functions = [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _spans(node, line)
    ]
    if not functions:
        return {
            number
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for number in range(node.body[0].lineno, _end(node) + 1)
        }
    function = max(functions, key=lambda node: node.lineno)
    if line < function.body[0].lineno:  # its head
        return set(range(function.body[0].lineno, _end(function) + 1))
    inside = [node for node in ast.walk(function) if isinstance(node, ast.stmt) and node.lineno <= line <= _end(node)]
    statement = max(inside, key=lambda node: node.lineno)
    body = getattr(statement, "body", None)  # of a compound statement the head alone
    return set(range(statement.lineno, body[0].lineno if body else _end(statement) + 1)) | {line}


def _spans(function: ast.FunctionDef | ast.AsyncFunctionDef, line: int) -> bool:
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return first <= line <= _end(function)


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


class Bench:
    """Copies of the project, one for each worker, in which a mutant's tests run."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._free: SimpleQueue[Path] = SimpleQueue()
        self._ticks = 0
        self._lock = threading.Lock()
        for number in range(jobs):
            copy = folder / f"copy{number}"
            shutil.copytree(PROJECT, copy, ignore=LEFT_OUT)
            (copy / ".venv").symlink_to(PROJECT / ".venv")
            self._free.put(copy)

    def run(self, mutant: Mutant | None, tests: Sequence[str], seconds: float) -> tuple[int | None, list[str]]:
        """pytest's code, None after `seconds`, and the tests that failed. Without a mutant all of the tests run."""
        copy = self._free.get()
        try:
            if mutant is not None:
                self._write(copy / mutant.file, mutant.code)
            return _pytest(copy, [*(["-x"] if mutant else []), *tests], seconds)
        finally:
            if mutant is not None:
                self._write(copy / mutant.file, (PROJECT / mutant.file).read_text("utf-8"))
            self._free.put(copy)

    def _write(self, path: Path, code: str) -> None:
        path.write_text(code, "utf-8")
        with self._lock:
            self._ticks += 1
            changed = 1_000_000_000 + self._ticks
        os.utime(path, (changed, changed))  # compiled code is taken again by time, in seconds, and size


def _pytest(copy: Path, arguments: Sequence[str], seconds: float) -> tuple[int | None, list[str]]:
    options = ["-q", "--no-header", "--tb=no", "-rfE", "-p", "no:cacheprovider", "-W", "ignore"]
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, "--basetemp", f"{scratch}/tests", *arguments],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy / "src"), "HYPOTHESIS_STORAGE_DIRECTORY": f"{scratch}/examples"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = running.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)  # and all that a test left running
            running.wait()
        said.seek(0)
        text = said.read()
    if code not in {None, 0, 1, 2}:
        raise RuntimeError(f"pytest could not run {' '.join(arguments)}: {text[-2000:]}")
    return code, re.findall(r"^(?:FAILED|ERROR) (\S+?\.py(?:::.*?)?)(?: - .*)?$", text, re.MULTILINE)


def ask(mutant: Mutant, tests: Tests, bench: Bench, budget: float) -> Outcome:
    """Run a mutant's tests. One that does not end counts as noticed."""
    chosen, taken = tests.of(mutant)
    begun = time.monotonic()
    outcome, by = "survived" if not taken or chosen else "not tried", ""
    if chosen:
        code, failed = bench.run(mutant, chosen, STARTING_SECONDS + 3 * budget)
        if code != 0:
            outcome, by = "noticed", failed[0] if failed else "no end" if code is None else "does not start"
    return Outcome(mutant, outcome, by, len(chosen), round(time.monotonic() - begun, 1))


def make(files: Sequence[str], count: int, seed: int, python: str) -> Iterator[Mutant]:
    """Mutants, by the tool that makes them, in its own environment."""
    command = [python, str(Path(__file__).with_name("make.py")), str(count), str(seed), *files]
    made = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True, encoding="utf-8")
    yield from (Mutant(**json.loads(line)) for line in made.stdout.splitlines())


def main() -> int:
    """Give 0, or 1 if too few were noticed or a test fails without a change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="files in src/lakehouse; without, those of the four rooms")
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float, default=30.0, help="seconds that a mutant's tests took when measured")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tool", default=sys.executable, help="the Python that has cosmic-ray")
    asked = parser.parse_args()
    if not (DATA.is_file() and TIMES.is_file()):
        sys.exit("error: Nobody knows which test takes which line. Run `make coverage` first.")
    source = PROJECT / "src" / "lakehouse"
    paths = [source / name for name in asked.files] or [
        path for room in ROOMS for path in sorted((source / room).glob("*.py"))
    ]
    mutants = list(make([str(path.relative_to(PROJECT)) for path in paths], asked.sample, asked.seed, asked.tool))
    tests = Tests(asked.budget)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(asked.jobs) as workers:
        bench = Bench(Path(folder), asked.jobs)
        for outcome in workers.map(lambda mutant: ask(mutant, tests, bench, asked.budget), mutants):
            outcomes.append(outcome)
            mutant = outcome.mutant
            print(f"{outcome.outcome:10} {mutant.file}:{mutant.line}  {mutant.now[:80]}", flush=True)
        witnesses = sorted({outcome.by for outcome in outcomes if "::" in outcome.by})
        _, unfit = bench.run(None, witnesses, 3600) if witnesses else (0, [])
    told = [
        {name: value for name, value in (asdict(each.mutant) | asdict(each)).items() if name not in {"mutant", "code"}}
        for each in outcomes
    ]
    (PROJECT / "build" / "mutants.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    return report(outcomes, unfit)


def report(outcomes: Sequence[Outcome], unfit: Sequence[str]) -> int:
    """Print the survivors and the share of what was noticed."""
    known = yaml.safe_load(KNOWN.read_text("utf-8"))
    reasons = {(each["file"], each["was"], each["now"]): each["why"] for each in known}
    for each in outcomes:
        if each.outcome == "survived":
            mutant = each.mutant
            why = reasons.get((mutant.file, mutant.was, mutant.now), "" if each.tests else "no test takes it")
            print(f"\n{mutant.file}:{mutant.line}  {why}\n  - {mutant.was}\n  + {mutant.now}")
    count = Counter(outcome.outcome for outcome in outcomes)
    tried = count["noticed"] + count["survived"]
    share = 100 * count["noticed"] / tried if tried else 0.0
    print(f"\n{count['noticed']} of {tried} mutants were noticed: {share:.1f} %.")
    if count["not tried"]:
        print(f"{count['not tried']} more were not tried: only tests that need Docker take their lines.")
    for test in unfit:
        print(f"error: {test} fails without a change too. What it noticed does not count.")
    return 1 if unfit or share < ENOUGH else 0


if __name__ == "__main__":
    sys.exit(main())
