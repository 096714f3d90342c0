"""`rollback`, `tag`, `maintain`, `backup`, `restore`, `adopt`: which versions stay, and what puts a lakehouse right."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.cli.app import (
    KEEP,
    VERSION,
    Json,
    TableName,
    app,
    complete_table,
    examples,
    load_settings,
    opened_catalog,
)

# What a command needs is imported in it: `lakehouse --help` and a no-op load should not wait for dbt or DuckDB.
# ruff: noqa: PLC0415

_LONGEST_DAYS = 36500  # as in settings.py, which would be slow to import here


@app.command(
    rich_help_panel=KEEP,
    epilog=examples(
        "lakehouse rollback raw.green_trips 1234567890 --expect 9876543210",
        "lakehouse rollback raw.green_trips audited-2024",
    ),
)
def rollback(
    table: TableName,
    version: Annotated[str, typer.Argument(metavar="VERSION", help=VERSION)],
    expect: Annotated[
        int | None, typer.Option(metavar="SNAPSHOT", help="Refuse unless this is the current snapshot.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make another version what plain queries read. Nothing is lost: roll back to the newer one to undo it."""
    from lakehouse.cli.terminal import print_line
    from lakehouse.iceberg.refs import rollback as roll_back

    with opened_catalog() as catalog:
        current = roll_back(catalog, table, version, expect=expect)
    print_line(f"{table} is at snapshot {current}", {"table": table, "snapshot_id": current}, as_json=as_json)


@app.command(
    rich_help_panel=KEEP,
    epilog=examples(
        "lakehouse tag raw.green_trips audited-2024",
        "lakehouse tag raw.green_trips before 1234567890",
        "lakehouse tag raw.green_trips before --remove",
    ),
)
def tag(
    table: TableName,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The tag; it never moves, and keeps its version from expiry.")
    ],
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help=f"{VERSION} The current one unless given.")
    ] = None,
    *,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the tag away. Its version may expire then, like any other.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Give a version a name, or take the name away."""
    from lakehouse.cli.terminal import print_line
    from lakehouse.iceberg.refs import tag as tag_version
    from lakehouse.iceberg.refs import untag

    if remove and version is not None:
        raise typer.BadParameter(
            "--remove takes no version; leave the version out. Nothing was done.", param_hint="VERSION"
        )
    with opened_catalog() as catalog:
        snapshot_id = untag(catalog, table, name) if remove else tag_version(catalog, table, name, version)
    done = f"{table}: {name} {'was' if remove else 'is'} snapshot {snapshot_id}"
    print_line(done, {"table": table, "tag": name, "snapshot_id": snapshot_id}, as_json=as_json)


@app.command(
    rich_help_panel=KEEP,
    epilog=examples(
        "lakehouse maintain", "lakehouse maintain raw.green_trips --keep-days 30", "lakehouse maintain --now"
    ),
)
def maintain(
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="TABLE", autocompletion=complete_table, help="All tables unless given."),
    ] = None,
    *,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=_LONGEST_DAYS,
            help="Keep snapshots that are younger than this; LAKEHOUSE_KEEP_DAYS (7) unless given.",
        ),
    ] = None,
    unreferenced_days: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=_LONGEST_DAYS,
            help="Keep files younger than this that no snapshot names: a load may be writing them. With 0, see that "
            "no load is running. LAKEHOUSE_UNREFERENCED_DAYS (3) unless given.",
        ),
    ] = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Free all that can be freed: expire every snapshot that is neither current nor named, and remove "
            "files that no snapshot names after an hour.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Expire old snapshots, compact small files, remove what killed loads left. Branches and tags keep their data."""
    from datetime import timedelta

    from lakehouse.cli.terminal import out, print_json, print_table
    from lakehouse.history.maintenance import check_own
    from lakehouse.history.maintenance import maintain as maintain_now
    from lakehouse.history.tree import size
    from lakehouse.leftovers import remove_leftovers

    settings = load_settings()
    keep = timedelta(days=settings.keep_days if keep_days is None else keep_days)
    unreferenced = timedelta(days=settings.unreferenced_days if unreferenced_days is None else unreferenced_days)
    if now:
        keep, unreferenced = timedelta(0), timedelta(hours=1)
    check_own(settings)
    # First, because it needs no room on a full disk.
    leftovers = remove_leftovers(settings, unreferenced, settings.landing_versions)
    if not as_json:
        for one in leftovers:
            out.print(f"removed leftover {one.path} ({one.bytes:,} bytes)", markup=False, soft_wrap=True)
    done = maintain_now(
        settings,
        tables or None,
        keep=keep,
        unreferenced=unreferenced,
    )
    if as_json:
        print_json(
            [
                *({**one.as_dict(), "leftovers": []} for one in done),
                # No table's: what killed loads and builds left beside the tables.
                {
                    "table": None,
                    "expired_snapshots": 0,
                    "compacted_files": 0,
                    "removed_files": len(leftovers),
                    "freed_bytes": sum(one.bytes for one in leftovers),
                    "waiting_bytes": 0,
                    "seconds": 0.0,
                    "leftovers": [asdict(one) for one in leftovers],
                },
            ]
        )
        return
    print_table(
        "",
        ("table", "expired snapshots", "compacted files", "removed files", "freed"),
        [
            (
                one.table,
                one.expired_snapshots,
                one.compacted_files,
                one.removed_files,
                None if one.freed_bytes is None else size(one.freed_bytes),
            )
            for one in done
        ],
        empty="No table has rows yet. Begin with: lakehouse load yellow 2024-01",
    )
    if waiting := sum(one.waiting_bytes or 0 for one in done):
        out.print(
            f"{size(waiting)} more belong to no snapshot, and are too young to go: a load may be writing them. "
            "`lakehouse maintain --now` removes those that are an hour old.",
            markup=False,
        )


BackupFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the backup.")]


@app.command(rich_help_panel=KEEP, epilog=examples("lakehouse backup ../backup", "lakehouse backup ../backup --json"))
def backup(folder: BackupFolder, as_json: Json = False) -> None:
    """Copy tables with all their snapshots, and landed files, as they are at one moment. Again: only what is new."""
    from lakehouse.cli.terminal import print_line
    from lakehouse.history.backup import backup as back_up
    from lakehouse.history.tree import size

    done = back_up(load_settings(), folder)
    print_line(
        f"{folder} has {done.tables} tables with {done.snapshots} snapshots, and {done.landed_files} landed files: "
        f"{done.files} files, {size(done.bytes)}, {done.copied_files} of them new",
        done.as_dict(),
        as_json=as_json,
    )


@app.command(rich_help_panel=KEEP, epilog=examples("lakehouse restore ../backup", "lakehouse restore ../backup --json"))
def restore(folder: BackupFolder, as_json: Json = False) -> None:
    """Make an empty lakehouse the one in a backup: all tables, snapshots, names and landed files. Safe to repeat."""
    from lakehouse.cli.terminal import print_line
    from lakehouse.history.backup import restore as restore_all

    done = restore_all(load_settings(), folder)
    print_line(
        f"{done.place} is as it was on {done.at}: {done.tables} tables with {done.snapshots} snapshots, and "
        f"{done.landed_files} landed files",
        done.as_dict(),
        as_json=as_json,
    )


@app.command(rich_help_panel=KEEP, epilog=examples("lakehouse adopt", "lakehouse adopt --json"))
def adopt(as_json: Json = False) -> None:
    """Make a copied or moved LAKEHOUSE_HOME whole: rewrite the addresses in its metadata. Safe to repeat."""
    from lakehouse.cli.terminal import print_line
    from lakehouse.history.adopt import adopt as adopt_home

    done = adopt_home(load_settings())
    print_line(
        f"{done.place} is a whole lakehouse: {done.tables} tables, {done.rewritten_files} files of metadata rewritten",
        done.as_dict(),
        as_json=as_json,
    )
