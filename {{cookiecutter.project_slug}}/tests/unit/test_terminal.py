"""What a person sees on a terminal: tables in which no number and no time is broken, however narrow it is."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from lakehouse.cli import terminal
from lakehouse.cli.terminal import print_table

COLUMNS = ("committed (UTC)", "snapshot_id", "operation", "added", "deleted", "rows", "what")
ROWS = [
    (
        datetime(2024, 3, 5, 12, 30, 1, tzinfo=UTC),
        8123456789012345678,
        "overwrite",
        2964624,
        0,
        2964624,
        "yellow 2024-01",
    ),
    (
        datetime(2024, 4, 5, 12, 30, 1, tzinfo=UTC),
        1123456789012345678,
        "overwrite",
        3007526,
        7,
        5972150,
        "yellow 2024-02",
    ),
]
WHOLE = ("2024-03-05 12:30:01", "8123456789012345678", "2,964,624", "5,972,150")


def printed(monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    """The table as a terminal of this width shows it."""
    shown = io.StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=shown, width=width, highlight=False))
    print_table("History", COLUMNS, ROWS, empty="nothing")
    return shown.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_numbers_and_times_are_never_broken(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    text = printed(monkeypatch, width)

    assert all(value in text for value in WHOLE)
    assert max(map(len, text.splitlines())) <= width


def test_a_wide_terminal_shows_a_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, 160).splitlines()

    assert [
        line for line in lines if "yellow 2024-02" in line and "5,972,150" in line and "1123456789012345678" in line
    ]


def test_a_narrow_one_shows_the_columns_one_below_another(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.rstrip() for line in printed(monkeypatch, 80).splitlines()]

    assert "snapshot_id      8123456789012345678" in lines
    assert lines.count("") == len(ROWS)
