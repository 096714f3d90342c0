"""`lakehouse …`: thin. Each command calls what the Dagster assets call, and prints."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lakehouse.cli.logs import print_anything, show_own_only
from lakehouse.datasets.model import DATASETS, ZONES_DATASET, dataset_named
from lakehouse.datasets.months import Month, parse_months
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings, load_settings, project_dir

# What a command needs is imported in it: `lakehouse --help` and a no-op load should not wait for dbt or DuckDB.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from lakehouse.engines import Engine
    from lakehouse.loading.load import LoadResult

app = typer.Typer(
    name="lakehouse",
    help="Load monthly taxi files into Iceberg tables, build marts with dbt, and travel through their history.",
    epilog="Begin with `lakehouse load zones`, `lakehouse load yellow 2024-01` and `lakehouse build`. Each command "
    "explains itself: `lakehouse load --help`.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another build, up to two hours, and say who runs it; else fail.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _datasets(incomplete: str) -> list[str]:
    """Datasets, for the shell's completion."""
    return [name for name in (*DATASETS, ZONES_DATASET) if name.startswith(incomplete)]


def _tables(incomplete: str) -> list[str]:
    """Tables, for the shell's completion: from what is declared, since no shell should wait for a catalog."""
    models = project_dir() / "dbt" / "models"
    declared = [dataset.table for dataset in DATASETS.values()] + ["raw.taxi_zones"]
    for schema, folder in (("silver", "staging"), ("gold", "marts")):
        declared += sorted(f"{schema}.{path.stem}" for path in (models / folder).glob("*.sql"))
    return [name for name in declared if name.startswith(incomplete)]


def examples(*commands: str) -> str:
    """The end of a command's help: each example on a line of its own, to be copied."""
    return "\n\n".join(["Examples:", *(f"$ {command}" for command in commands)])


# Headings of `lakehouse --help`.
DATA, LOOK, KEEP, MACHINE = "Load and build", "Look", "Keep and undo", "This machine"
TableName = Annotated[
    str, typer.Argument(metavar="TABLE", autocompletion=_tables, help="For example raw.yellow_trips.")
]
VERSION = "A snapshot's id, a branch or tag, or a time (UTC)."


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 refused or failed (one message on stderr), 2 usage."""
    print_anything()
    show_own_only()
    try:
        app()
    except LakehouseError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno is None:  # no word of the system's: a client's own error
            raise
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}. The command stopped there; what was done before stays. {_fix(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def _fix(error: OSError) -> str:
    """What the system's error proves, and no more."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "See that the disk has room (`lakehouse maintain --now` frees some), and run the same command again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "See that you may read and write it, and run the same command again."
        case _:
            return "`lakehouse doctor` looks at what the commands need."


def _fail(message: str) -> NoReturn:
    from lakehouse.cli.terminal import err

    err.print(f"[bold red]error:[/] {_escaped(message)}", soft_wrap=True)
    sys.exit(1)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@contextmanager
def _engine() -> Iterator[tuple[Settings, Engine]]:
    from lakehouse.engines import open_engine

    settings = load_settings()
    engine = open_engine(settings)
    try:
        yield settings, engine
    finally:
        engine.close()


@contextmanager
def _catalog() -> Iterator[Catalog]:
    from lakehouse.iceberg.catalog import open_catalog, service_errors

    catalog = open_catalog(load_settings())
    with service_errors(catalog):
        yield catalog


def _version(wanted: bool) -> None:
    if wanted:
        from lakehouse import __version__

        typer.echo(f"lakehouse {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command(
    rich_help_panel=DATA,
    epilog=examples(
        "lakehouse load yellow 2024-01 2024-02",
        "lakehouse load green 2023-01..2023-06",
        "lakehouse load zones",
        "lakehouse load yellow 2024-01 --refresh",
    ),
)
def load(
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET", autocompletion=_datasets, help=f"{', '.join(DATASETS)} or {ZONES_DATASET}."),
    ],
    months: Annotated[
        list[str] | None, typer.Argument(metavar="MONTH", help="2024-01, or a span 2024-01..2024-06.")
    ] = None,
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the publisher again, even for what is landed.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Load even these very bytes; `build --full-refresh` takes them to silver then."),
    ] = False,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="0 rows, or fewer than half of what is replaced, are meant.")
    ] = False,
    allow_strays: Annotated[
        bool,
        typer.Option(
            "--allow-strays",
            help="Accept a file whose rows are mostly of another month, or that is loaded as another month.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Land what is not landed, then load it: one snapshot a month, or none if the table holds it already."""
    from lakehouse.cli.terminal import download_bar, print_json, rows_bar
    from lakehouse.iceberg.catalog import open_catalog
    from lakehouse.landing import open_landing
    from lakehouse.landing.land import land
    from lakehouse.loading.load import load as load_month

    wanted = _wanted(dataset, months or [])
    settings = load_settings()
    landing = open_landing(settings)
    catalog = open_catalog(settings)
    results: list[LoadResult] = []
    try:
        for month in wanted:
            what = f"{dataset} {month}" if month else dataset
            with download_bar(f"landing {what}", quiet=as_json) as progress:
                land(landing, settings.tlc_source, dataset, month, refresh=refresh, progress=progress)
            with rows_bar(f"loading {what}", quiet=as_json) as progress:
                result = load_month(
                    catalog,
                    landing,
                    dataset,
                    month,
                    again=again,
                    allow_shrink=allow_shrink,
                    allow_strays=allow_strays,
                    progress=progress,
                )
            results.append(result)
            _report_load(what, result, quiet=as_json)
    finally:
        if as_json and results:  # also of months before one that failed
            print_json([{**asdict(r), "month": str(r.month) if r.month else None} for r in results])


def _wanted(dataset: str, words: list[str]) -> list[Month | None]:
    """The months to load; [None] for the zone lookup, which has none."""
    if dataset == ZONES_DATASET:
        if words:
            raise typer.BadParameter("the zone lookup has no months: lakehouse load zones", param_hint="MONTH")
        return [None]
    if dataset not in DATASETS:
        known = ", ".join([*DATASETS, ZONES_DATASET])
        raise typer.BadParameter(f"there is no dataset {dataset!r}; known: {known}", param_hint="DATASET")
    try:
        found = parse_months(words)
    except LakehouseError as error:
        raise typer.BadParameter(str(error), param_hint="MONTH") from None
    if not found:
        raise typer.BadParameter(f"which month? For example: lakehouse load {dataset} 2024-01", param_hint="MONTH")
    first = dataset_named(dataset).first_month
    if early := [month for month in found if month < first]:
        raise typer.BadParameter(f"{dataset} begins with {first}; there is no {early[0]}", param_hint="MONTH")
    return list(found)


def _report_load(what: str, result: LoadResult, *, quiet: bool) -> None:
    from lakehouse.cli.terminal import err, out

    if not quiet:
        made = f"snapshot {result.snapshot_id}" if result.snapshot_id else "no new snapshot"
        out.print(f"{what}  {result.action}  {result.rows:,} rows  {made}  {result.seconds:.1f} s", markup=False)
    for column in result.unknown_columns:
        err.print(
            f"warning: {what} brings a column {column!r} that nobody declared; it was loaded without it. "
            "The landed file keeps it.",
            markup=False,
            soft_wrap=True,
        )
    if result.clock:
        err.print(f"warning: {result.clock}.", markup=False, soft_wrap=True)


@app.command(
    rich_help_panel=DATA,
    epilog=examples(
        "lakehouse build",
        "lakehouse build --select fct_daily_trips",
        "lakehouse build --select stg_green_trips+",
        "lakehouse build --full-refresh",
    ),
)
def build(
    select: Annotated[
        str | None, typer.Option("--select", "-s", help="dbt's selection; everything without it.")
    ] = None,
    full_refresh: Annotated[
        bool,
        typer.Option("--full-refresh", help="Rebuild all of silver: after `load --again`, or a rollback in silver."),
    ] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Run dbt: silver, gold and their tests. Of silver, months whose bytes changed are rebuilt; all, if its SQL did."""
    from lakehouse.cli.terminal import err, out, print_json
    from lakehouse.transform import build as run_dbt

    with err.status("dbt is starting") as status:
        result = run_dbt(
            load_settings(),
            select=select,
            full_refresh=full_refresh,
            wait=wait,
            progress=lambda line: status.update(_escaped(line)),
        )
    for warning in result.warnings:
        err.print(f"warning: {warning}", markup=False, soft_wrap=True)
    if result.raw_moved:
        err.print(
            f"warning: {', '.join(result.raw_moved)} changed during the build, so tables may show different states of "
            "raw. Build again.",
            markup=False,
            soft_wrap=True,
        )
    if as_json:
        print_json(asdict(result))
    else:
        out.print(
            f"built {len(result.models)} models, {len(result.tests)} tests passed, {result.seconds:.1f} s", markup=False
        )


@app.command(rich_help_panel=LOOK, epilog=examples("lakehouse landed", "lakehouse landed --versions"))
def landed(
    *,
    versions: Annotated[bool, typer.Option("--versions", help="Earlier versions of republished files too.")] = False,
    as_json: Json = False,
) -> None:
    """Which files are landed: from where, when, with which bytes."""
    from lakehouse.cli.terminal import print_json, print_table
    from lakehouse.landing import open_landing
    from lakehouse.landing.land import is_generated

    landing = open_landing(load_settings())
    current = landing.listing()
    listed = [v for one in current for v in landing.versions(one.dataset, one.month)] if versions else current
    if as_json:
        print_json(
            [
                {
                    **asdict(one),
                    "month": str(one.month) if one.month else None,
                    "current": one in current,
                    "synthetic": is_generated(one),
                }
                for one in listed
            ]
        )
        return
    print_table(
        "Files landed",
        ("dataset", "month", "landed (UTC)", "bytes", "sha256", "origin"),
        [
            (
                one.dataset,
                f"{one.month or ''}{' synthetic' if is_generated(one) else ''}",
                one.landed_at,
                one.size,
                f"{one.sha256[:8]}{'' if one in current else ' replaced'}",
                one.origin,
            )
            for one in listed
        ],
        empty="No file is landed yet. Begin with: lakehouse load yellow 2024-01",
    )


@app.command(rich_help_panel=LOOK, epilog=examples("lakehouse months", "lakehouse months --json"))
def months(as_json: Json = False) -> None:
    """Which months the raw tables hold, and from which bytes."""
    from lakehouse.cli.terminal import print_json, print_table
    from lakehouse.history.history import months as months_of
    from lakehouse.landing import open_landing

    with _engine() as (settings, engine):
        rows = months_of(engine, open_landing(settings))
    if as_json:
        print_json([row.as_dict() for row in rows])
        return
    print_table(
        "Months loaded",
        ("dataset", "month", "rows", "snapshot_id", "loaded (UTC)", "sha256"),
        [
            (
                r.dataset,
                f"{r.month}{' synthetic' if r.synthetic else ''}",
                r.rows,
                r.snapshot_id,
                r.loaded_at,
                (r.source_sha256 or "mixed")[:8],
            )
            for r in rows
        ],
        empty="No month is loaded yet. Begin with: lakehouse load yellow 2024-01",
    )


@app.command(
    rich_help_panel=LOOK,
    epilog=examples("lakehouse history raw.green_trips", "lakehouse history gold.fct_daily_trips --json"),
)
def history(table: TableName, as_json: Json = False) -> None:
    """A table's snapshots, oldest first: when, by which load, how many rows came and went."""
    from lakehouse.cli.terminal import print_json, print_table
    from lakehouse.history.history import history as history_of

    with _engine() as (_, engine):
        rows = history_of(engine, table)
    if as_json:
        print_json([row.as_dict() for row in rows])
        return
    print_table(
        f"History of {table}",
        ("snapshot_id", "committed (UTC)", "operation", "month", "added", "deleted", "total", "refs"),
        [
            (
                r.snapshot_id,
                r.committed_at,
                r.operation,
                f"{r.file_month or ''}{' synthetic' if r.synthetic else ''}",
                r.added_rows,
                r.deleted_rows,
                r.total_rows,
                ", ".join((*r.refs, "rolled back") if r.rolled_back else r.refs),
            )
            for r in rows
        ],
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
    from lakehouse.cli.terminal import print_json, print_table
    from lakehouse.engines.reading import refuse_writing

    with _engine() as (_, engine):
        refuse_writing(statement, engine.name)
        result = engine.query(statement, as_of=as_of)
    if as_json:
        print_json(result.to_pylist())
        return
    rows: list[tuple[Any, ...]] = list(zip(*(column.to_pylist() for column in result.columns), strict=True))
    print_table("", result.column_names, rows, empty="No rows.")


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
    from lakehouse.cli.terminal import out, print_json
    from lakehouse.history.tree import tree as tree_of

    with _catalog() as catalog:
        found = tree_of(catalog, table, as_of)
    if as_json:
        print_json(found.as_dict())
    else:
        out.print(found.renderable())


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
    from lakehouse.cli.terminal import out, print_json
    from lakehouse.history.diff import diff as diff_of

    with _engine() as (_, engine), _catalog() as catalog:
        found = diff_of(engine, catalog, table, from_version, to_version)
    if as_json:
        print_json(found.as_dict())
    else:
        out.print(found.renderable())


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
    from lakehouse.cli.terminal import out, print_json
    from lakehouse.iceberg.refs import rollback as roll_back

    with _catalog() as catalog:
        current = roll_back(catalog, table, version, expect=expect)
    if as_json:
        print_json({"table": table, "snapshot_id": current})
    else:
        out.print(f"{table} is at snapshot {current}", markup=False)


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
    from lakehouse.cli.terminal import out, print_json
    from lakehouse.iceberg.refs import tag as tag_version
    from lakehouse.iceberg.refs import untag

    if remove and version is not None:
        raise typer.BadParameter("with --remove there is no version to give", param_hint="VERSION")
    with _catalog() as catalog:
        snapshot_id = untag(catalog, table, name) if remove else tag_version(catalog, table, name, version)
    if as_json:
        print_json({"table": table, "tag": name, "snapshot_id": snapshot_id})
    else:
        out.print(f"{table}: {name} {'was' if remove else 'is'} snapshot {snapshot_id}", markup=False)


@app.command(rich_help_panel=DATA, epilog=examples("lakehouse publish", "lakehouse publish --json"))
def publish(wait: Wait = False, as_json: Json = False) -> None:
    """Build and test; when all is green, show the result to readers of schema `published`."""
    from lakehouse.cli.terminal import err, out, print_json
    from lakehouse.history.publish import publish as publish_now

    with err.status("dbt is starting") as status:
        publication = publish_now(load_settings(), wait=wait, progress=lambda line: status.update(_escaped(line)))
    if as_json:
        print_json(publication.as_dict())
    else:
        out.print(f"published {len(publication.snapshots)} tables as {publication.name}", markup=False)


@app.command(
    rich_help_panel=KEEP,
    epilog=examples(
        "lakehouse maintain", "lakehouse maintain raw.green_trips --keep-days 30", "lakehouse maintain --now"
    ),
)
def maintain(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="TABLE", autocompletion=_tables, help="All tables unless given.")
    ] = None,
    *,
    keep_days: Annotated[float, typer.Option(min=0, help="Keep snapshots that are younger than this.")] = 7,
    unreferenced_days: Annotated[
        float,
        typer.Option(
            min=0,
            help="Keep files younger than this that no snapshot names: a load may be writing them. With 0, see that "
            "no load is running.",
        ),
    ] = 3,
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
    keep = timedelta(0) if now else timedelta(days=keep_days)
    unreferenced = timedelta(hours=1) if now else timedelta(days=unreferenced_days)
    check_own(settings)
    # First, because it needs no room on a full disk.
    leftovers = remove_leftovers(settings, unreferenced)
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
        empty="There are no tables yet. Begin with: lakehouse load yellow 2024-01",
    )
    if waiting := sum(one.waiting_bytes or 0 for one in done):
        out.print(
            f"{size(waiting)} more belong to no snapshot, and are too young to go: a load may be writing them. "
            "`lakehouse maintain --now` removes those that are an hour old.",
            markup=False,
        )


@app.command(rich_help_panel=KEEP, epilog=examples("lakehouse adopt", "lakehouse adopt --json"))
def adopt(as_json: Json = False) -> None:
    """Make a copied or moved LAKEHOUSE_HOME whole: rewrite the addresses in its metadata. Safe to repeat."""
    from lakehouse.cli.terminal import out, print_json
    from lakehouse.history.adopt import adopt as adopt_home

    done = adopt_home(load_settings())
    if as_json:
        print_json(done.as_dict())
    else:
        out.print(
            f"{done.place} is a whole lakehouse: {done.tables} tables, {done.rewritten_files} files of metadata "
            "rewritten",
            markup=False,
        )


@app.command(rich_help_panel=DATA, epilog=examples("lakehouse report", "lakehouse report --json"))
def report(as_json: Json = False) -> None:
    """Print the snapshot report, and write it as reports/snapshots.html."""
    from lakehouse.cli.terminal import out, print_json
    from lakehouse.report import make_report, report_file

    settings = load_settings()
    made = make_report(settings)
    path = made.write(report_file())
    if as_json:
        print_json(made.json)
    else:
        from rich.markdown import Markdown

        out.print(Markdown(made.markdown))
        out.print(f"\nWritten to {path}", markup=False)


@app.command(rich_help_panel=MACHINE, epilog=examples("lakehouse doctor", "lakehouse doctor --json"))
def doctor(as_json: Json = False) -> None:
    """Say what is missing on this machine for the target, and how to get it."""
    from lakehouse.cli.doctor import examine
    from lakehouse.cli.terminal import out, print_json

    findings = examine(load_settings())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "missing": "[red]no[/]  "}[finding.state]
            out.print(f"{mark} {_escaped(finding.what)}: {_escaped(finding.found)}", soft_wrap=True)
            if finding.state != "ok":
                out.print(f"     {_escaped(finding.way_out)}", soft_wrap=True)
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
