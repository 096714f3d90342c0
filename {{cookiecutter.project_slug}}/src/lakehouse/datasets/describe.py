"""The tables of docs/data.md, made from the declarations: `python -m lakehouse.datasets.describe` prints them.

`make docs` writes them into the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lakehouse.datasets.model import BEGINNING, END, Column, Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS, is_monthly
from lakehouse.errors import SettingsError

BEGIN, FINISH = "<!-- made by `make docs` from src/lakehouse/datasets -->", "<!-- end of what is made -->"


def tables() -> str:
    """Every dataset: its columns with all their names, and era by era, what differs and what the loader does."""
    parts = []
    for dataset in DATASETS.values():
        parts += [_columns(dataset), *([_eras(dataset)] if is_monthly(dataset) else [])]
    return "\n\n".join(parts)


def _columns(dataset: Dataset) -> str:
    rows = [
        f"| `{column.name}` | {_type(column)} | {_names(column)} | {_required(dataset, column)} | {column.doc} |"
        for column in dataset.columns
    ]
    head = "| column of the raw table | type | called in files | a file must have it | |\n|---|---|---|---|---|"
    return "\n".join([f"### `{dataset.table}`: its columns", "", head, *rows])


def _type(column: Column) -> str:
    ranged = column.type == "double" or column.role == "count"
    return f"{column.type}, ±{column.largest:,}" if ranged else column.type


def _names(column: Column) -> str:
    named = [f"`{name.text}`{_span(name.since, name.until)}" for name in column.names]
    return ", ".join(named) or f"`{column.name}`"


def _span(since: Month, until: Month) -> str:
    if since == BEGINNING and until == END:
        return ""
    if since == BEGINNING:
        return f" (to {until})"
    return f" (from {since})" if until == END else f" ({since} to {until})"


def _required(dataset: Dataset, column: Column) -> str:
    if column.required_since is None:
        return "no"
    values = ", with values" if column.never_empty else ""
    if column.required_since <= dataset.first_month and column.required_until == END:
        return f"yes{values}"
    since = max(column.required_since, dataset.first_month)
    return f"from {since}{values}" if column.required_until == END else f"{since} to {column.required_until}{values}"


def eras(dataset: Dataset) -> list[Month]:
    """The first month of each era. An era begins where the name or the duty of a column begins or ends."""
    edges = {dataset.first_month}
    for column in dataset.columns:
        for name in column.names:
            edges |= {name.since, name.until.next if name.until < END else BEGINNING}
        if column.required_since is not None:
            edges |= {column.required_since, column.required_until.next if column.required_until < END else BEGINNING}
    return sorted(edge for edge in edges if edge >= dataset.first_month)


def _eras(dataset: Dataset) -> str:
    firsts = eras(dataset)
    rows = []
    for i, first in enumerate(firsts):
        last = "on" if i + 1 == len(firsts) else f"to {_before(firsts[i + 1])}"
        before = firsts[i - 1] if i else None
        rows.append(f"| {first} {last} | {'; '.join(_differs(dataset, before, first)) or 'as before'} |")
    head = "| months | what differs from the months before, and what the loader does |\n|---|---|"
    return "\n".join([f"### `{dataset.table}`: era by era", "", head, *rows])


def _before(month: Month) -> Month:
    return Month(month.year - (month.month == 1), (month.month - 2) % 12 + 1)


def _differs(dataset: Dataset, before: Month | None, month: Month) -> Iterator[str]:
    if before is None:
        must = [f"`{c.published_name(month)}`" for c in dataset.columns if c.required_in(month)]
        yield f"files must have {', '.join(must)}"
        if absent := [f"`{c.name}`" for c in dataset.columns if not c.required_in(month)]:
            yield f"may lack, and then null: {', '.join(absent)}"
        return
    for column in dataset.columns:
        old, new = column.published_name(before), column.published_name(month)
        if column.required_in(month) and not column.required_in(before):
            yield f"`{new}` must be there: refused without it"
        elif column.required_in(before) and not column.required_in(month):
            yield f"`{old}` is no longer published: `{column.name}` is null"
        elif column.names and not any(name.used_in(month) for name in column.names):
            if any(name.used_in(before) for name in column.names):
                yield f"`{old}` is no longer text: `{column.name}` is null"
        elif old != new:
            yield f"`{old}` is now `{new}`: both are `{column.name}`"


def write(page: Path) -> bool:
    """Put the tables between the page's two marks; whether that changed it.

    Raises:
        SettingsError: the page has no such marks.
    """
    text = page.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, finish, tail = rest.partition(FINISH)
    if not (begin and finish):
        raise SettingsError(f"{page} lacks the marks {BEGIN} and {FINISH}, between which the tables go.")
    made = f"{head}{BEGIN}\n\n{tables()}\n\n{FINISH}{tail}"
    if made != text:
        page.write_text(made, encoding="utf-8")
    return made != text


if __name__ == "__main__":
    print(tables())
