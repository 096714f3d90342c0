"""What `make mutants` takes for the lines of a change, and the list of survivors that are known."""

from __future__ import annotations

import pytest
import yaml
from tests.measure import PROJECT
from tests.mutants.__main__ import KNOWN, lines_that_run_it, name_of

CODE = """\
LIMIT = 3


@cache
def first(value=LIMIT):
    if (
        value
        > LIMIT
    ):
        return 1
    return 2


def second():
    return 3
"""


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (15, {15}),
        (8, {6, 7, 8, 9}),  # a condition, without what depends on it
        (4, set(range(6, 12))),  # a function's head, by its body
        (1, {*range(6, 12), 15}),  # what runs at the import, by every function
    ],
)
def test_a_change_meets_the_tests_of_the_lines_that_it_is_in(line: int, lines: set[int]) -> None:
    assert lines_that_run_it(CODE, line) == lines


@pytest.mark.parametrize(
    ("context", "test"),
    [
        ("|tests/unit/test_a.py::test_b[c d]", "tests/unit/test_a.py::test_b[c d]"),
        ("tests/unit/test_a.py::test_b", "tests/unit/test_a.py::test_b"),
        ("tests/unit/test_a.py::test_b (call)", "tests/unit/test_a.py::test_b"),
        ("tests/unit/test_a.py::test_b (setup)|other", "tests/unit/test_a.py::test_b"),
        ("", ""),
    ],
)
def test_a_process_that_a_test_starts_counts_as_the_test(context: str, test: str) -> None:
    assert name_of(context) == test


def test_known_survivors_are_lines_of_today_and_say_why() -> None:
    for known in yaml.safe_load(KNOWN.read_text("utf-8")):
        assert known["why"]
        code = [line.strip() for line in (PROJECT / known["file"]).read_text("utf-8").splitlines()]
        assert known["was"] in " ".join(code), f"{known['file']} has changed: look again at {known['was']}"
