"""Fixtures of the suites on real services: a stack for each test process, one test at a time in it.

The names of namespaces and tables are fixed (raw, silver, gold), and a fault test takes a service away from everybody:
so a test has its stack to itself and finds it empty. A lock between processes holds that where several use one: a
borrowed stack, or that of a process which has died. With pytest-xdist the controller owns the containers: it lives
longest, and what is left after it was killed is cleared away by testcontainers' reaper.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from tests.integration.faults import PROPERTY, Outcome, table
from tests.integration.lake import Lake
from tests.integration.stack import Stack, attached, started_at_once
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# These start services beside those of their process, gigabytes of them: one after the other, in one process.
STARTS_SERVICES = tuple(
    f"tests/integration/test_{name}.py::" for name in ("secure", "workers", "compose", "deployment", "dashboards")
)
OWNED = pytest.StashKey[tuple[ExitStack, list[Stack]]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the suites; with `LAKEHOUSE_TEST_SEED` shuffle files, and the tests in each, alike in every process."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)
    if seed := os.environ.get("LAKEHOUSE_TEST_SEED"):
        chance = random.Random(seed)  # noqa: S311 - an order of tests
        place = {path: chance.random() for path in sorted({item.path for item in items})}
        items.sort(key=lambda item: (place[item.path], chance.random()))


def pytest_report_header() -> list[str]:
    seed = os.environ.get("LAKEHOUSE_TEST_SEED")
    return [f"order of tests: LAKEHOUSE_TEST_SEED={seed}"] if seed else []


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist's controller, before each worker starts: its stack. The first call starts those of all workers."""
    stacks = _owned(node.config)
    number = int(node.gateway.id.removeprefix("gw"))  # one that replaces a dead worker counts on
    node.workerinput["stack"] = stacks[number % len(stacks)].to_json()


class OneByOne(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process the next test, in order; the tests that start services come first, and all go to one process.

    pytest-xdist's own mark for a group has no effect with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "services" if nodeid.startswith(STARTS_SERVICES) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneByOne:
    return OneByOne(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWNED in config.stash:
        config.stash[OWNED][0].close()


def _owned(config: pytest.Config) -> list[Stack]:
    if OWNED not in config.stash:
        cleanup = ExitStack()
        borrowed = os.environ.get("LAKEHOUSE_STACK") == "attach"
        processes = len(config.getoption("tx", [])) or 1
        stacks = [attached()] if borrowed else cleanup.enter_context(started_at_once(processes))
        config.stash[OWNED] = (cleanup, stacks)
    return config.stash[OWNED][1]


@pytest.fixture(scope="session")
def running_stack(pytestconfig: pytest.Config) -> Stack:
    """The services, without having them to oneself."""
    given = getattr(pytestconfig, "workerinput", {}).get("stack")
    return Stack(**json.loads(given)) if given else _owned(pytestconfig)[0]


@pytest.fixture
def stack(
    running_stack: Stack, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stack]:
    """The services, to oneself; their logs are shown if the test fails."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with FileLock(shared / f"stack-{running_stack.network}.lock", timeout=1800):
        start = time.time()
        yield running_stack
        if request.node.stash.get(FAILED, False):
            for service in running_stack.containers:
                request.node.add_report_section("teardown", service, running_stack.logs(service, since=start, tail=60))


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of faults; in JSON too where `LAKEHOUSE_STACK_LOGS` names a folder."""
    outcomes = [
        replace(Outcome(**json.loads(value)), kept=kept)
        for result, kept in (("passed", True), ("failed", False))
        for report in terminalreporter.getreports(result)
        if report.when == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if outcomes:
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(table(outcomes)))
        if folder := os.environ.get("LAKEHOUSE_STACK_LOGS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / "faults.json").write_text(json.dumps([asdict(o) for o in outcomes], indent=2), "utf-8")


@pytest.fixture
def lake(stack: Stack, tmp_path: Path) -> Iterator[Lake]:
    """An empty lakehouse on the stack."""
    lake = Lake(stack, tmp_path)
    lake.empty()
    yield lake
    lake.close()
