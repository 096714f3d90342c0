"""`landed`, `months`, `history`, `sql`, `tree`, `diff`: they show what is there, and change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.app import (
    LOOK,
    VERSION,
    Json,
    TableName,
    app,
    examples,
    load_settings,
    opened_catalog,
    opened_engine,
)

# What a command needs is imported in it: `lakehouse --help` and a no-op load should not wait for dbt or DuckDB.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from lakehouse.datasets.parts import Part


def _heading(parts: Iterable[Part | None]) -> str:
    """What to call a column of these parts."""
    from lakehouse.datasets.days import Day

    return "month or day" if any(isinstance(part, Day) for part in parts) else "month"


@app.command(rich_help_panel=LOOK, epilog=examples("lakehouse landed", "lakehouse landed --versions"))
def landed(
    *,
    versions: Annotated[bool, typer.Option("--versions", help="Earlier versions of republished files too.")] = False,
    as_json: Json = False,
) -> None:
    """Which files are landed: from where, when, with which bytes."""
    from lakehouse.cli.terminal import print_rows, warn
    from lakehouse.landing import open_landing
    from lakehouse.landing.record import is_generated

    landing = open_landing(load_settings())
    current, left = landing.contents()
    if left:
        warn(
            f"Files of {' and '.join(left)} are in the landing zone, and not in this list: no such dataset is "
            "declared. They stay as they are. Declare it again, or remove its folder from the landing zone."
        )
    listed = [v for one in current for v in landing.versions(one.file)] if versions else current
    print_rows(
        "Files landed",
        ("dataset", _heading(one.file.part for one in listed), "landed (UTC)", "bytes", "sha256", "origin"),
        [
            (
                one.file.dataset,
                f"{one.file.part or ''}{' synthetic' if is_generated(one) else ''}",
                one.landed_at,
                one.size,
                f"{one.sha256[:8]}{'' if one in current else ' replaced'}",
                one.origin,
            )
            for one in listed
        ],
        data=[{**one.as_dict(), "current": one in current, "synthetic": is_generated(one)} for one in listed],
        as_json=as_json,
        empty="No file is landed yet. Begin with: lakehouse load yellow 2024-01",
    )


@app.command(rich_help_panel=LOOK, epilog=examples("lakehouse months", "lakehouse months --json"))
def months(as_json: Json = False) -> None:
    """Which months and days the raw tables hold, and from which bytes."""
    show_months(as_json=as_json)


def show_months(*, as_json: bool = False) -> None:
    """Print what is loaded."""
    from lakehouse.cli.terminal import print_rows
    from lakehouse.history.history import loaded
    from lakehouse.landing import open_landing

    with opened_engine() as (settings, engine):
        rows = loaded(engine, open_landing(settings))
    print_rows(
        "Months loaded",
        ("dataset", _heading(row.file.part for row in rows), "rows", "snapshot_id", "loaded (UTC)", "sha256"),
        [
            (
                r.dataset,
                f"{r.part}{' synthetic' if r.synthetic else ''}",
                r.rows,
                r.snapshot_id,
                r.loaded_at,
                (r.source_sha256 or "mixed")[:8],
            )
            for r in rows
        ],
        data=[row.as_dict() for row in rows],
        as_json=as_json,
        empty="No month is loaded yet. Begin with: lakehouse load yellow 2024-01",
    )


@app.command(
    rich_help_panel=LOOK,
    epilog=examples("lakehouse history raw.green_trips", "lakehouse history gold.fct_daily_trips --json"),
)
def history(table: TableName, as_json: Json = False) -> None:
    """A table's snapshots, oldest first: when, by which load, how many rows came and went."""
    from lakehouse.cli.terminal import print_rows
    from lakehouse.history.history import history as history_of

    with opened_engine() as (_, engine):
        rows = history_of(engine, table)
    part = "day" if any(row.file_date for row in rows) else "month"
    # A merge writes rows again that did not change: what has changed tells more than what was written.
    by_key = any(row.inserted is not None for row in rows)
    counts = ("inserted", "updated", "removed") if by_key else ("added", "deleted")
    aside = any(row.set_aside is not None for row in rows)
    print_rows(
        f"History of {table}",
        (
            "snapshot_id",
            "committed (UTC)",
            "operation",
            part,
            *counts,
            *(["set aside"] if aside else []),
            "total",
            "refs",
        ),
        [
            (
                r.snapshot_id,
                r.committed_at,
                r.operation,
                f"{r.part or ''}{' synthetic' if r.synthetic else ''}",
                *((r.inserted, r.updated, r.removed) if by_key else (r.added_rows, r.deleted_rows)),
                *([r.set_aside] if aside else []),
                r.total_rows,
                ", ".join((*r.refs, "rolled back") if r.rolled_back else r.refs),
            )
            for r in rows
        ],
        data=[row.as_dict() for row in rows],
        as_json=as_json,
        empty=f"{table} has no snapshot yet.",
    )


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        'lakehouse sql "select count(*) from raw.green_trips"',
        'lakehouse sql "select count(*) from raw.green_trips" --as-of 2024-03-01T12:00:00',
        'lakehouse sql "select * from gold.fct_daily_trips" --as-of published --json',
        'lakehouse sql "select 1 from raw.green_trips" --as-of raw.green_trips@1234567890',
    ),
)
def sql(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One statement.")],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="REF|TIMESTAMP|TABLE@SNAPSHOT", help="Read every table as of this version."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read with SQL, by the target's engine, now or as of a version. Nothing is changed."""
    show_query(statement, as_of=as_of, as_json=as_json)


def show_query(statement: str, *, as_of: str | None = None, as_json: bool = False) -> None:
    """Run one statement that only reads, and print its rows."""
    from lakehouse.cli.terminal import print_rows
    from lakehouse.engines.protocol import not_shown
    from lakehouse.engines.read_only import refuse_writing

    with opened_engine() as (_, engine):
        refuse_writing(statement, engine.name)
        result = engine.query(statement, as_of=as_of)
    try:
        data = result.to_pylist()
    except (ValueError, OverflowError) as error:
        raise not_shown(error) from error
    rows = [tuple(row.values()) for row in data]
    print_rows("", result.column_names, rows, data=data, as_json=as_json, empty="No rows.", exact=True)


@app.command(
    rich_help_panel=LOOK,
    epilog=examples("lakehouse tree raw.green_trips", "lakehouse tree raw.green_trips --as-of 1234567890"),
)
def tree(
    table: TableName,
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="VERSION", help=VERSION)] = None,
    as_json: Json = False,
) -> None:
    """A table's own tree: metadata file, snapshot, manifest list, manifests, data files with rows and bounds."""
    from lakehouse.cli.terminal import print_tree
    from lakehouse.history.tree import tree as tree_of

    with opened_catalog() as catalog:
        found = tree_of(catalog, table, as_of)
    print_tree(found, as_json=as_json)


@app.command(
    rich_help_panel=LOOK,
    epilog=examples(
        "lakehouse diff raw.green_trips 1234567890 9876543210",
        "lakehouse diff gold.fct_daily_trips published main",
        "lakehouse diff raw.green_trips 2024-03-01T12:00:00 main",
    ),
)
def diff(
    table: TableName,
    from_version: Annotated[str, typer.Argument(metavar="FROM", help=VERSION)],
    to_version: Annotated[str, typer.Argument(metavar="TO", help="Another one.")],
    as_json: Json = False,
) -> None:
    """What changed between two versions: per file month added, removed and changed rows, and the first of each."""
    from lakehouse.cli.terminal import print_tree
    from lakehouse.history.diff import diff as diff_of

    with opened_engine() as (_, engine), opened_catalog() as catalog:
        found = diff_of(engine, catalog, table, from_version, to_version)
    print_tree(found, as_json=as_json)
