"""The file in src/lakehouse/datasets that declares a guessed dataset, as a person would write it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from lakehouse.datasets.formats import Parquet
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Daily, Monthly
from lakehouse.scaffold.form import literal, settings_of
from lakehouse.scaffold.guess import Guess

WIDTH = 120
_INDENT = " " * 4


def declaration(guess: Guess) -> str:
    """The text of the file: imports, and one `Dataset`. A comment before each guess says why."""
    dataset = guess.dataset
    body = "\n".join(_dataset(guess))
    first = f"\nFIRST = {_part(dataset)}\n" if "=FIRST" in body else ""
    return f"{_heading(guess)}\n\nfrom __future__ import annotations\n\n{_imports(dataset, body)}{first}\n{body}\n"


def _heading(guess: Guess) -> str:
    text = (
        f"`lakehouse new-dataset` guessed this from {guess.looked_at}. Correct what is wrong: a "
        "comment says why each guess was made."
    )
    escaped = _as_one_line(text).replace("\\", "\\\\").replace('"""', "'''")
    title = _as_one_line(guess.dataset.title)
    return f'"""{title}.\n\n' + textwrap.fill(escaped, WIDTH) + '\n"""'


def _imports(dataset: Dataset, body: str) -> str:
    model = [name for name in ("BEGINNING", "Column", "Dataset", "Name") if f"{name}(" in body or f"={name}" in body]
    lines = []
    if isinstance(dataset.parts, Daily):
        lines.append("from lakehouse.datasets.days import Day")
    if not isinstance(dataset.format, Parquet):
        lines.append(f"from lakehouse.datasets.formats import {type(dataset.format).__name__}")
    lines.append(f"from lakehouse.datasets.model import {', '.join(model)}")
    if isinstance(dataset.parts, Monthly):
        lines.append("from lakehouse.datasets.months import Month")
    lines.append(f"from lakehouse.datasets.parts import {type(dataset.parts).__name__}")
    if dataset.source:
        lines.append("from lakehouse.datasets.sources import Query")
    return "\n".join(lines) + "\n"


def _part(dataset: Dataset) -> str:
    match dataset.parts:
        case Daily(since=day):
            return f"Day({day.year}, {day.month}, {day.day})"
        case Monthly(since=month):
            return f"Month({month.year}, {month.month})"
        case _:
            return "BEGINNING"


def _dataset(guess: Guess) -> Iterator[str]:
    dataset = guess.dataset
    parts = type(dataset.parts).__name__
    variable = dataset.name.upper()
    yield f"{variable}{'_' * (variable in ('FIRST', 'BEGINNING'))} = Dataset("  # these two have a meaning here
    yield f"{_INDENT}name={literal(dataset.name)},"
    yield f"{_INDENT}title={literal(dataset.title)},"
    yield f"{_INDENT}table={literal(dataset.table)},"
    yield f"{_INDENT}files={literal(dataset.files)},"
    yield f"{_INDENT}parts={parts}({'' if parts == 'Whole' else 'since=FIRST'}),"
    if not isinstance(dataset.format, Parquet) or dataset.source:
        for note in guess.notes:
            yield from _comment(note, 1)
    if dataset.source:
        yield from _call(f"{_INDENT}source=Query(", settings_of(dataset.source), ")", 1)
    if not isinstance(dataset.format, Parquet):
        yield from _call(f"{_INDENT}format={type(dataset.format).__name__}(", settings_of(dataset.format), ")", 1)
    if dataset.key:
        yield from _comment(guess.key, 1)
        yield f"{_INDENT}key=({', '.join(map(literal, dataset.key))}{',' if len(dataset.key) == 1 else ''}),"
    yield f"{_INDENT}columns=("
    for column in dataset.columns:
        yield from _comment(guess.why[column.name], 2)
        yield from _call(f"{_INDENT * 2}Column(", _arguments(column), ")", 2)
    yield f"{_INDENT}),"
    if guess.left_out:
        for name, why in guess.left_out.items():
            yield from _comment(f"{name!r} is left out: {why}", 1)
        names = [*map(literal, dataset.ignored)]
        yield from _call(f"{_INDENT}ignored=(", names, ",)" if len(names) == 1 else ")", 1)
    yield ")"


def _arguments(column: Column) -> list[str]:
    found = [literal(column.name), literal(column.type)]
    if column.names:
        found.append(f"({''.join(f'Name({literal(name.text)}),' for name in column.names)})")
    if column.required_since is not None:
        found.append(f"required_since={'BEGINNING' if column.required_since == BEGINNING else 'FIRST'}")
    if column.role:
        found.append(f"role={literal(column.role)}")
    if column.never_empty:
        found.append("never_empty=True")
    if column.nulls is not None:
        found.append(f"nulls={literal(column.nulls)}")
    return found


def _call(opening: str, arguments: list[str], closing: str, depth: int) -> Iterator[str]:
    """A call or tuple on one line, or as the formatter breaks it: all arguments on the next, or one a line."""
    line = f"{opening}{', '.join(arguments)}{closing},"
    if len(line) <= WIDTH:
        yield line
        return
    indent = _INDENT * (depth + 1)
    yield opening
    yield from (f"{indent}{argument}," for argument in arguments)
    yield f"{_INDENT * depth}{closing.lstrip(',')},"


def _comment(text: str, depth: int) -> list[str]:
    start = f"{_INDENT * depth}# "
    return textwrap.wrap(
        _as_one_line(text), WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False
    )


def _as_one_line(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
