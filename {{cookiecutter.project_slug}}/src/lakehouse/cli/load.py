"""`load`, `build`, `publish`, `reproduce`, `report`: files become tables, and tables become pages."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.app import (
    DATA,
    Json,
    NamesDatasets,
    Wait,
    app,
    dataset_names,
    escaped,
    examples,
    load_settings,
    parts_of,
    require_dataset,
)

# What a command needs is imported in it: `lakehouse --help` and a no-op load should not wait for dbt or DuckDB.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from pathlib import Path

    from lakehouse.datasets.file import DatasetFile
    from lakehouse.dbt_start import Dbt
    from lakehouse.loading.orders import Loaded, Options
    from lakehouse.transform import BuildResult


@app.command(
    rich_help_panel=DATA,
    cls=NamesDatasets,
    epilog=examples(
        "lakehouse load yellow 2024-01 2024-02",
        "lakehouse load green 2023-01..2023-06",
        "lakehouse load zones",
        "lakehouse load yellow 2024-01 --refresh",
        "lakehouse load yellow 2023-01..2023-12 --jobs 2",
        "lakehouse load yellow 2024-03 --build",
    ),
)
def load(
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET", autocompletion=dataset_names, help="{all}."),
    ],
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MONTH",
            help="2024-01, or a span 2024-01..2024-06. For a dataset that comes by the day: 2024-01-05.",
        ),
    ] = None,
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the publisher again, even for what is landed.")
    ] = False,
    full_refresh: Annotated[
        bool,
        typer.Option("--full-refresh", help="Refresh; of a dataset with a cursor, extract all rows again."),
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Reload a file that is already loaded. `build --full-refresh` then takes it to silver."
        ),
    ] = False,
    allow_shrink: Annotated[
        bool,
        typer.Option(
            "--allow-shrink", help="Accept a file with no rows, or with fewer than half of the rows it replaces."
        ),
    ] = False,
    allow_strays: Annotated[
        bool,
        typer.Option(
            "--allow-strays",
            help="Accept a file whose rows are mostly of another month or day, or that is loaded as another one.",
        ),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            min=1,
            help="Land and load so many months at once, each in a process of its own. Commits stay in order.",
        ),
    ] = 1,
    then_build: Annotated[
        bool,
        typer.Option(
            "--build",
            help="Then run `lakehouse build`; dbt starts while files are loaded. The zones are loaded first where they "
            "are missing.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Land what is not landed, then load it: one snapshot a file, or none if the table holds it already."""
    from lakehouse.cli.terminal import out, print_json
    from lakehouse.loading.orders import Options

    files = _files(dataset, parts or [])
    options = Options(
        refresh=refresh,
        full_refresh=full_refresh,
        again=again,
        allow_shrink=allow_shrink,
        allow_strays=allow_strays,
    )
    loads: list[dict[str, Any]] = []
    built: dict[str, Any] = {}
    try:
        if then_build:
            from lakehouse.dbt_start import Dbt

            with Dbt(load_settings()) as dbt:
                dbt.start()
                _load_all(_with_zones(files), options, jobs, loads, quiet=as_json)
                result = run_build(dbt)
            built = asdict(result)
            if not as_json:
                out.print(summary(result), markup=False, soft_wrap=True)
        else:
            _load_all(files, options, jobs, loads, quiet=as_json)
    finally:
        if as_json and loads:  # also of files before one that failed
            print_json({"loads": loads, "build": built or None} if then_build else loads)


def _load_all(
    files: list[DatasetFile], options: Options, jobs: int, loads: list[dict[str, Any]], *, quiet: bool
) -> None:
    """Load these files, say what each load did, and add it to `loads`."""
    from lakehouse.cli.terminal import out, warn

    with closing(_loaded(files, options, jobs, quiet=quiet)) as all_loaded:
        for loaded in all_loaded:
            loads.append(loaded.values)
            if not quiet:
                out.print(loaded.line, markup=False)
            for warning in loaded.warnings:
                warn(warning)


def _with_zones(files: list[DatasetFile]) -> list[DatasetFile]:
    """These files, and the zones before them if they are trips and their table is empty: gold joins both."""
    from lakehouse.datasets.file import DatasetFile
    from lakehouse.datasets.registry import dataset_named
    from lakehouse.iceberg.catalog import open_catalog
    from lakehouse.iceberg.tables import is_empty

    if not any(dataset_named(file.dataset).is_trips for file in files):
        return files
    zones = DatasetFile("zones")
    missing = is_empty(open_catalog(load_settings()), dataset_named(zones.dataset).table)
    return [zones, *files] if missing else files


def _loaded(files: list[DatasetFile], options: Options, jobs: int, *, quiet: bool) -> Generator[Loaded]:
    """Land and load these files; what each load did, in their order."""
    if min(jobs, len(files)) == 1:
        yield from _one_after_another(files, options, quiet=quiet)
        return
    from lakehouse.cli.terminal import several_bars
    from lakehouse.loading.jobs import load_at_once

    with several_bars(quiet=quiet) as bars, closing(load_at_once(files, options, jobs, bars)) as at_once:
        for loaded in at_once:
            with bars.hidden():
                yield loaded


def _one_after_another(files: list[DatasetFile], options: Options, *, quiet: bool) -> Generator[Loaded]:
    from lakehouse.cli.terminal import download_bar, rows_bar, warn
    from lakehouse.iceberg.catalog import open_catalog
    from lakehouse.landing import open_landing
    from lakehouse.loading.bring import Shown, bring
    from lakehouse.loading.orders import Loaded

    settings = load_settings()
    landing, catalog = open_landing(settings), open_catalog(settings)
    shown = Shown(
        warn=warn,
        landing=lambda label: download_bar(f"landing {label}", quiet=quiet),
        loading=lambda label: rows_bar(f"loading {label}", quiet=quiet),
    )
    for file in files:
        result = bring(catalog, landing, settings.tlc_source, file, options=options, shown=shown)
        yield Loaded(result.line, result.warnings, result.as_dict())


def _files(dataset: str, words: list[str]) -> list[DatasetFile]:
    """The files to load, in the order of the words."""
    from lakehouse.datasets.file import DatasetFile
    from lakehouse.datasets.parts import Whole
    from lakehouse.datasets.registry import dataset_named

    require_dataset(dataset, dataset_names())
    declared = dataset_named(dataset)
    parts = declared.parts
    if isinstance(parts, Whole):
        if words:
            raise typer.BadParameter(
                f"the dataset {dataset} has no months. Nothing was done. Write: lakehouse load {dataset}",
                param_hint="MONTH",
            )
        return [DatasetFile(dataset)]
    hint = parts.word.upper()
    found = parts_of(parts.kind, words)
    if not found:
        example = f"lakehouse load {dataset} {parts.example}"
        raise typer.BadParameter(f"no {parts.word} is given. Nothing was done. For example: {example}", param_hint=hint)
    if early := [part for part in found if part.first_day < parts.since.first_day]:
        raise typer.BadParameter(
            f"the dataset {dataset} begins with {parts.since}, so it has no {early[0]}. Nothing was done.",
            param_hint=hint,
        )
    return [DatasetFile(dataset, part) for part in found]


@app.command(
    rich_help_panel=DATA,
    epilog=examples(
        "lakehouse build",
        "lakehouse build --select fct_daily_trips",
        "lakehouse build --select stg_green_trips+",
        "lakehouse build --full-refresh",
        "lakehouse build --again",
        "lakehouse build --select fct_daily_trips --unit-tests",
    ),
)
def build(
    select: Annotated[
        str | None, typer.Option("--select", "-s", help="dbt's selection; everything without it.")
    ] = None,
    *,
    full_refresh: Annotated[
        bool,
        typer.Option("--full-refresh", help="Rebuild all of silver: after `load --again`, or a rollback in silver."),
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Run all of dbt even if nothing is new.")] = False,
    unit_tests: Annotated[
        bool,
        typer.Option("--unit-tests", help="Run dbt's unit tests too, each before its model. They need no rows."),
    ] = False,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Run dbt if anything is new: silver, gold and their tests.

    Of silver, months whose bytes changed are rebuilt; all, if its SQL did.
    """
    from lakehouse.cli.terminal import print_line
    from lakehouse.dbt_start import Dbt

    with Dbt(load_settings()) as dbt:
        if again or full_refresh or unit_tests:
            dbt.start()
        dbt.start_if_likely()
        result = run_build(dbt, select=select, full_refresh=full_refresh, again=again, unit_tests=unit_tests, wait=wait)
    print_line(summary(result), asdict(result), as_json=as_json)


def run_build(dbt: Dbt, *, wait: bool = True, **options: Any) -> BuildResult:
    """Run this dbt if anything is new, with the options of `build`, and say what it warned of."""
    from lakehouse.cli.terminal import err, warn
    from lakehouse.transform import build as build_now
    from lakehouse.transform import repeated

    with err.status("dbt is starting") as status:
        result = repeated(
            lambda: build_now(
                load_settings(), wait=wait, progress=lambda line: status.update(escaped(line)), dbt=dbt, **options
            )
        )
    for warning in result.warnings:
        warn(warning)
    if result.raw_moved:
        warn(
            f"{', '.join(result.raw_moved)} changed during the build, so tables may show different states of raw. "
            "Build again."
        )
    return result


def summary(result: BuildResult) -> str:
    """What a build did, as lines for a person."""
    done = f"built {len(result.models)} models, {len(result.tests)} tests passed, {result.seconds:.1f} s"
    if result.nothing_new_since:
        done = f"Nothing new since the build of {result.nothing_new_since}: silver and gold are as they would be."
    left = result.unit_tests_not_run
    notes = [f"Unit tests that did not run: {left}. `lakehouse build --unit-tests` runs them."] if left else []
    if result.models_unchanged or result.tests_unchanged:
        notes.append(
            f"Nothing is new for {result.models_unchanged} other models and {result.tests_unchanged} other tests. "
            "`lakehouse build --again` runs them too."
        )
    return "\n".join((*result.merged, *notes, done))


@app.command(rich_help_panel=DATA, epilog=examples("lakehouse publish", "lakehouse publish --json"))
def publish(wait: Wait = True, as_json: Json = False) -> None:
    """Build and test; when all is green, show the result to readers of schema `published`."""
    from lakehouse.cli.terminal import err, print_line
    from lakehouse.dbt_start import Dbt

    with Dbt(load_settings()) as dbt, err.status("dbt is starting") as status:
        dbt.start_if_likely()
        from lakehouse.history.publish import publish as publish_now

        publication = publish_now(
            load_settings(), wait=wait, progress=lambda line: status.update(escaped(line)), dbt=dbt
        )
    done = f"published {len(publication.snapshots)} tables as {publication.name}"
    print_line(done, publication.as_dict(), as_json=as_json)


@app.command(rich_help_panel=DATA, epilog=examples("lakehouse reproduce publication-20240101T120000Z"))
def reproduce(
    publication: Annotated[
        str, typer.Argument(metavar="PUBLICATION", help="The name that `lakehouse publish` printed: publication-….")
    ],
    as_json: Json = False,
) -> None:
    """Compute the gold of a publication again from its raw tables, and compare. The exit code is 1 if they differ."""
    from lakehouse.cli.terminal import err, out, print_json, print_table
    from lakehouse.history.reproduce import lines
    from lakehouse.history.reproduce import reproduce as reproduce_now

    with err.status("dbt is starting") as status:
        found = reproduce_now(load_settings(), publication, progress=lambda line: status.update(escaped(line)))
    if as_json:
        print_json(found.as_dict())
    else:
        print_table(
            "",
            ("table", "rows", "only published", "only reproduced", "columns that differ", "result"),
            [
                (
                    one.table,
                    one.rows,
                    one.published_rows,
                    one.reproduced_rows,
                    ", ".join(one.columns),
                    "equal" if one.equal else "differs",
                )
                for one in found.tables
            ],
            empty="",
        )
        for one in found.tables:
            if not one.equal:
                said = [
                    f"{one.table} may differ because {one.reason}.",
                    *(f"  {line}" for line in lines(one.first_rows)),
                ]
                out.print("\n".join(said), markup=False, soft_wrap=True)
        if found.equal:
            out.print(f"{publication} is reproduced: all {len(found.tables)} tables of gold are equal.", markup=False)
    if not found.equal:
        raise typer.Exit(1)


@app.command(rich_help_panel=DATA, epilog=examples("lakehouse report", "lakehouse report --json"))
def report(as_json: Json = False) -> None:
    """Print the snapshot report; write it as reports/snapshots.html, and the trips as reports/dashboard.html."""
    write_report(as_json=as_json)


def write_report(*, as_json: bool = False) -> tuple[Path, Path]:
    """Make the report, write its two pages, print it, and return where the pages are: snapshots, then dashboard."""
    from lakehouse.cli.terminal import out, print_json
    from lakehouse.report import make_report, reports_dir

    settings = load_settings()
    made = make_report(settings)
    pages = made.write(reports_dir())
    if as_json:
        print_json(made.json)
    else:
        from rich.markdown import Markdown

        out.print(Markdown(made.markdown))
        out.print("\nWritten to {} and {}".format(*pages), markup=False, soft_wrap=True)
    return pages
