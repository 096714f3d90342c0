"""What the command line prints: tables for people, JSON for programs, progress bars, one message for an error."""

from __future__ import annotations

import json
import math
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

# into a pipe or file, tables are as wide as their content
WIDE = 200
out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False)

ROWS_SHOWN, BYTES_SHOWN = 200, 16
LEAST_WIDTH = 8  # of a column of text, in characters


class Printable(Protocol):
    """A result with a form for programs and one for people."""

    def as_dict(self) -> dict[str, Any]:
        """What JSON prints."""

    def renderable(self) -> Any:
        """What rich prints."""


def print_json(value: object) -> None:
    """One JSON document on stdout, nothing else.

    Decimals are numbers with all their digits, times ISO text, bytes hexadecimal digits. JSON has no NaN and no
    infinity: they are null.
    """
    # json writes no decimal as a number, so a mark that no value can hold keeps its place
    mark = secrets.token_hex(8)
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(_finite(value, mark), default=_plain, indent=2, ensure_ascii=plain, allow_nan=False)
    sys.stdout.write(re.sub(rf'"{mark}([^"]*)"', r"\1", text) + "\n")


def _finite(value: object, mark: str) -> object:
    """The same with null for each float that is no number, and decimals as marked text."""
    match value:
        case dict():
            return {key: _finite(item, mark) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item, mark) for item in value]
        case float() if not math.isfinite(value):
            return None
        case Decimal():
            return f"{mark}{value:f}" if value.is_finite() else None
        case _:
            return value


def _plain(value: object) -> object:
    """Times as ISO text, bytes as hexadecimal digits."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str, exact: bool = False
) -> None:
    """A table for people; `empty` says what to do where there are no rows.

    With `exact`, whole numbers and times stand as they are: a year is not 2,024, and no fraction of a second is lost.
    Numbers and times are never broken. Where the terminal is too narrow for them, the columns stand one below another.
    """
    if not rows:
        out.print(empty, markup=False)
        return
    seen = rows[:ROWS_SHOWN]
    by_column = list(zip(*rows, strict=True))
    numeric = [
        all(isinstance(value, int | float | Decimal | None) and not isinstance(value, bool) for value in values)
        for values in by_column
    ]
    whole = [
        right or all(isinstance(value, date | None) for value in values)
        for right, values in zip(numeric, by_column, strict=True)
    ]
    cells = [[shown(name, value, exact=exact) for name, value in zip(columns, row, strict=True)] for row in seen]
    widths = [
        max(map(len, (name, *texts))) if unbroken else min(LEAST_WIDTH, max(map(len, (name, *texts))))
        for name, texts, unbroken in zip(columns, zip(*cells, strict=True), whole, strict=True)
    ]
    if sum(widths) + 2 * len(widths) <= out.width:
        table = Table(
            title=title or None, title_justify="left", header_style="bold", title_style="bold", box=box.SIMPLE_HEAD
        )
        for name, right, unbroken in zip(columns, numeric, whole, strict=True):
            table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=unbroken)
        for texts in cells:
            table.add_row(*texts)
    else:
        table = Table.grid(padding=(0, 2))
        table.title, table.title_justify, table.title_style = title or None, "left", "bold"
        for texts in cells:
            table.add_row()
            for name, text in zip(columns, texts, strict=True):
                table.add_row(Text(name, style="bold"), text)
    out.print(table)
    if len(rows) > ROWS_SHOWN:
        out.print(f"… {len(rows) - ROWS_SHOWN:,} more rows; --json gives all.", markup=False)


def print_rows(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    data: Sequence[object],
    as_json: bool,
    empty: str,
    exact: bool = False,
) -> None:
    """The same rows as JSON for programs (`data`) or as a table for people, as `print_table` makes it."""
    if as_json:
        print_json(data)
    else:
        print_table(title, columns, rows, empty=empty, exact=exact)


def print_tree(found: Printable, *, as_json: bool) -> None:
    """A result that knows both of its forms."""
    if as_json:
        print_json(found.as_dict())
    else:
        out.print(found.renderable())


def print_line(text: str, data: object, *, as_json: bool) -> None:
    """What a command did: one line for people, or JSON for programs."""
    if as_json:
        print_json(data)
    else:
        out.print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """One warning on stderr."""
    err.print(f"warning: {text}", markup=False, soft_wrap=True)


def shown(name: str, value: object, *, exact: bool = False) -> str:
    """A value as a person reads it: thousands apart, times to the second, ids whole, of bytes the first ones.

    With `exact`, thousands are not apart, and times have their fractions of a second. A time that has a zone says so
    with +00:00, unless the column's name does.
    """
    match value:
        case None:
            text = "-"
        case bool():
            text = str(value).lower()
        case datetime():
            zoned = value.tzinfo is not None and "(UTC)" not in name
            fraction = f".{value:%f}".rstrip("0") if exact and value.microsecond else ""
            text = f"{value:%Y-%m-%d %H:%M:%S}{fraction}{value.isoformat()[-6:] if zoned else ''}"
        case Decimal():
            text = f"{value:f}"
        case bytes():
            text = value[:BYTES_SHOWN].hex() + (f"… ({len(value):,} bytes)" if len(value) > BYTES_SHOWN else "")
        case int() if not exact and not name.endswith("_id") and "snapshot" not in name:
            text = f"{value:,}"
        case _:
            text = str(value).replace("[", r"\[")
    return text


@contextmanager
def download_bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar in bytes, on stderr; nothing where that is no terminal or `quiet`."""
    with _bar(DownloadColumn(), what, quiet) as update:
        yield update


@contextmanager
def rows_bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar in rows, on stderr; nothing where that is no terminal or `quiet`."""
    with _bar(MofNCompleteColumn(), what, quiet) as update:
        yield update


class SeveralBars:
    """Progress bars of what goes on at once, on stderr; nothing where that is no terminal or `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self.shows = err.is_terminal and not quiet
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        # Both ways of printing go past it: only stderr is its own.
        self.progress = Progress(
            *columns,
            console=err,
            transient=True,
            disable=not self.shows,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}

    def update(self, what: str, done: int | None, total: int | None) -> None:
        """Show how far `what` is; None: it has ended, and is shown no more."""
        if done is None:
            self.progress.remove_task(self._tasks.pop(what))
            return
        if what not in self._tasks:
            self._tasks[what] = self.progress.add_task(what)
        self.progress.update(self._tasks[what], completed=done, total=total or None)

    def warn(self, text: str) -> None:
        """Print a warning above the bars."""
        warn(text)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bars off the terminal while something is printed on stdout."""
        self.progress.stop()
        try:
            yield
        finally:
            self.progress.start()


@contextmanager
def several_bars(*, quiet: bool) -> Iterator[SeveralBars]:
    """Progress bars of what goes on at once."""
    bars = SeveralBars(quiet=quiet)
    with bars.progress:
        yield bars


@contextmanager
def _bar(column: Any, what: str, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    hidden = quiet or not err.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), column, TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=hidden) as progress:
        task = progress.add_task(what, total=None)

        def update(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield update
