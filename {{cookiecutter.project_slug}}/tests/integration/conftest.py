"""Fixtures of the suites on real services: one stack for the whole run, one test at a time in it.

The names of namespaces and tables are fixed (raw, silver, gold), and a fault test takes a service away from everybody:
so a test that uses the stack has it to itself, by a lock between processes, and finds it empty. A stack per worker
process would take 3 GB each. With pytest-xdist the controller owns the containers: it lives longest, and what is left
after it was killed is cleared away by testcontainers' reaper.
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
from tests.integration.stack import Stack, attached, started

OWNED = pytest.StashKey[tuple[ExitStack, Stack]]()


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
    """pytest-xdist's controller, before each worker starts: one stack for all of them."""
    node.workerinput["stack"] = _owned(node.config).to_json()


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWNED in config.stash:
        config.stash[OWNED][0].close()


def _owned(config: pytest.Config) -> Stack:
    if OWNED not in config.stash:
        cleanup = ExitStack()
        borrowed = os.environ.get("LAKEHOUSE_STACK") == "attach"
        stack = attached() if borrowed else cleanup.enter_context(started())
        config.stash[OWNED] = (cleanup, stack)
    return config.stash[OWNED][1]


@pytest.fixture(scope="session")
def running_stack(pytestconfig: pytest.Config) -> Stack:
    """The services, without having them to oneself."""
    given = getattr(pytestconfig, "workerinput", {}).get("stack")
    return Stack(**json.loads(given)) if given else _owned(pytestconfig)


@pytest.fixture
def stack(
    running_stack: Stack, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stack]:
    """The services, to oneself; their logs are shown if the test fails."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with FileLock(shared / "stack.lock", timeout=1800):
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
