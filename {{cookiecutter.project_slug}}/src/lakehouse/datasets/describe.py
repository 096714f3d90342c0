"""The tables of docs/data.md, made from the declarations: `python -m lakehouse.datasets.describe` prints them.

`make docs` writes them into the page, which it names as an argument.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from lakehouse.datasets.model import BEGINNING, END, Column, Dataset
from lakehouse.datasets.parts import Daily, Monthly, Part, Whole
from lakehouse.errors import LakehouseError, SettingsError

BEGIN, FINISH = "<!-- made by `make docs` from src/lakehouse/datasets -->", "<!-- end of what is made -->"


def tables(datasets: Iterable[Dataset] | None = None) -> str:
    """Every dataset, or those given: its columns with all their names; era by era, what differs, and what loads do."""
    # Reads the declarations. Imported here, so that `main` can report a wrong one in one line.
    from lakehouse.datasets.registry import DATASETS  # noqa: PLC0415

    parts = []
    for dataset in DATASETS.values() if datasets is None else datasets:
        parts += [_columns(dataset), *([] if isinstance(dataset.parts, Whole) else [_eras(dataset, dataset.parts)])]
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
    zone = f", local times of {column.zone}" if column.zone else ""
    return f"{column.type}, ±{column.largest:,}" if ranged else f"{column.type}{zone}"


def _names(column: Column) -> str:
    named = [f"`{name.text}`{_span(name.since, name.until)}" for name in column.names]
    return ", ".join(named) or f"`{column.name}`"


def _span(since: Part, until: Part) -> str:
    if since == BEGINNING and until == END:
        return ""
    if since == BEGINNING:
        return f" (to {until})"
    return f" (from {since})" if until == END else f" ({since} to {until})"


def _required(dataset: Dataset, column: Column) -> str:
    if column.required_since is None:
        return "no"
    values = ", with values" if column.never_empty else ""
    first = dataset.first_part
    since = first if column.required_since.first_day <= first.first_day else column.required_since
    if since == first and column.required_until == END:
        return f"yes{values}"
    return f"from {since}{values}" if column.required_until == END else f"{since} to {column.required_until}{values}"


def eras(dataset: Dataset) -> list[Part]:
    """The first month or day of each era. It begins where the name or the duty of a column begins or ends."""
    if isinstance(dataset.parts, Whole):
        return []
    edges = {dataset.first_part.first_day}
    for column in dataset.columns:
        spans = [(name.since, name.until) for name in column.names]
        if column.required_since is not None:
            spans.append((column.required_since, column.required_until))
        for since, until in spans:
            edges |= {since.first_day, *([until.next.first_day] if until != END else [])}
    return [dataset.parts.kind.of(edge) for edge in sorted(edges) if edge >= dataset.first_part.first_day]


def _eras(dataset: Dataset, parts: Monthly | Daily) -> str:
    firsts = eras(dataset)
    rows = []
    for i, first in enumerate(firsts):
        last = "on" if i + 1 == len(firsts) else f"to {parts.kind.of(firsts[i + 1].first_day - timedelta(days=1))}"
        before = firsts[i - 1] if i else None
        rows.append(f"| {first} {last} | {'; '.join(_differs(dataset, before, first)) or 'as before'} |")
    head = f"| {parts.word}s | what differs from the {parts.word}s before, and what the loader does |\n|---|---|"
    return "\n".join([f"### `{dataset.table}`: era by era", "", head, *rows])


def _differs(dataset: Dataset, before: Part | None, part: Part) -> Iterator[str]:
    if before is None:
        must = [f"`{c.published_name(part)}`" for c in dataset.columns if c.required_in(part)]
        yield f"files must have {', '.join(must)}"
        if absent := [f"`{c.name}`" for c in dataset.columns if not c.required_in(part)]:
            yield f"may lack, and then null: {', '.join(absent)}"
        return
    for column in dataset.columns:
        old, new = column.published_name(before), column.published_name(part)
        if column.required_in(part) and not column.required_in(before):
            yield f"`{new}` must be there: refused without it"
        elif column.required_in(before) and not column.required_in(part):
            yield f"`{old}` is no longer published: `{column.name}` is null"
        elif column.names and not any(name.used_in(part) for name in column.names):
            if any(name.used_in(before) for name in column.names):
                yield f"`{old}` is no longer text: `{column.name}` is null"
        elif old != new:
            yield f"`{old}` is now `{new}`: both are `{column.name}`"


def write(page: Path, datasets: Iterable[Dataset] | None = None) -> bool:
    """Put the tables (of every dataset, or of those given) between the page's two marks; whether that changed it.

    Raises:
        SettingsError: the page can't be read, or has no such marks.
        OSError: it can't be written.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise SettingsError(
            f"{page} can't be read: {said}. Nothing was written. Get the page back from your repository, and run the "
            "same command again."
        ) from error
    head, begin, rest = text.partition(BEGIN)
    _, finish, tail = rest.partition(FINISH)
    if not (begin and finish):
        raise SettingsError(
            f"{page} lacks the lines {BEGIN} and {FINISH}. Nothing was written. Put both lines back: what stands "
            "between them is replaced by the tables. Then run the same command again."
        )
    made = f"{head}{BEGIN}\n\n{tables(datasets)}\n\n{FINISH}{tail}"
    if made != text:
        page.write_text(made, encoding="utf-8")
    return made != text


def main() -> None:
    """Print the tables, or write them into the page that the first argument names. A wrong declaration is one line."""
    try:
        if sys.argv[1:]:
            write(Path(sys.argv[1]))
        else:
            print(tables())
    except LakehouseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
