"""`new-dataset`: from sample files to a dataset that loads them. `example`: copies one that is ready."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.app import DATA, Json, app, examples

# What a command needs is imported in it: `lakehouse --help` should not wait for DuckDB.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from lakehouse.scaffold.guess import Guess


@app.command(
    "new-dataset",
    rich_help_panel=DATA,
    epilog=examples(
        "lakehouse new-dataset orders ~/Downloads/orders.csv",
        "lakehouse new-dataset sales sales_2024-01-05.csv sales_2024-01-06.csv",
        "lakehouse new-dataset rentals --database RENTALS_URL --table public.rental",
    ),
)
def new_dataset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the dataset shall be called, such as orders.")],
    samples: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SAMPLE", help="Files of it, CSV, JSON lines, Excel or parquet: the more, the better the guess."
        ),
    ] = None,
    *,
    database: Annotated[
        str,
        typer.Option("--database", metavar="VARIABLE", help="In place of files: the variable of a database's address."),
    ] = "",
    table: Annotated[str, typer.Option("--table", help="The table in this database: NAME or SCHEMA.NAME.")] = "",
    as_json: Json = False,
) -> None:
    """Look at sample files or a table, and write what a dataset needs: a declaration, a staging model and its tests."""
    if bool(samples) == bool(database) or bool(database) != bool(table):
        raise typer.BadParameter("give sample files, or --database and --table. Nothing was done.", param_hint="SAMPLE")
    from lakehouse.cli.terminal import err, out, print_json, print_table, warn
    from lakehouse.scaffold.guess import guess
    from lakehouse.scaffold.write import Project, check_free, write
    from lakehouse.settings import project_dir

    project = Project(project_dir())
    check_free(project, name)
    with err.status("reading the samples"):
        if samples:
            found = guess(name, [Path(path).expanduser() for path in samples])
        else:
            from lakehouse.scaffold.table import guess_table

            found = guess_table(name, database, table)
    written = write(project, found)
    facts = _facts(found, written)
    if as_json:
        print_json(facts)
        return
    rows = [(column["name"], column["type"], column["file"], column["why"]) for column in facts["columns"]]
    title = f"{name}, guessed from {found.looked_at}"
    print_table(title, ["column", "type", "called in files", "why"], rows, empty="")
    for column, why in found.left_out.items():
        warn(f"The column {column!r} is left out: {why}.")
    for note in found.notes:
        warn(note)
    for what in ("format", "parts", "time", "key"):
        if facts[what]:
            out.print(f"{what}: {facts[what]}", markup=False, soft_wrap=True)
    if found.dataset.source:
        out.print(f"source: {facts['source']}", markup=False, soft_wrap=True)
    else:
        out.print(f"files: {facts['files']}, looked for in the folder {facts['folder']}", markup=False, soft_wrap=True)
    for path in written:
        out.print(f"wrote {path}", markup=False, soft_wrap=True)
    out.print("\nCorrect what is wrong. Then:", markup=False)
    for command in facts["next"]:
        out.print(f"  {command}", markup=False, soft_wrap=True)


@app.command(rich_help_panel=DATA, epilog=examples("lakehouse example", "lakehouse example iris"))
def example(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which example; without a name they are listed.")] = "",
    *,
    as_json: Json = False,
) -> None:
    """Copy an example into the project: a dataset with its models, ready to load. Nothing is overwritten."""
    from lakehouse.cli.terminal import out, print_json, print_table
    from lakehouse.scaffold.example import copy_example, examples_of
    from lakehouse.scaffold.write import Project
    from lakehouse.settings import project_dir

    project = Project(project_dir())
    known = examples_of(project)
    if not name:
        if as_json:
            print_json([{"example": one.name, "shows": one.title} for one in known.values()])
            return
        print_table("Examples", ["example", "shows"], [(one.name, one.title) for one in known.values()], empty="none")
        out.print("Copy one into the project: lakehouse example NAME", markup=False, soft_wrap=True)
        return
    copied = copy_example(project, name)
    if as_json:
        facts = {"example": name, "copied": [str(path) for path in copied], "next": known[name].next_commands}
        print_json(facts)
        return
    for path in copied:
        out.print(f"copied {path}", markup=False, soft_wrap=True)
    page = known[name].page.relative_to(project.root)
    out.print(f"\n{page} says what it shows. The commands:", markup=False, soft_wrap=True)
    for command in known[name].next_commands:
        out.print(f"  {command}", markup=False, soft_wrap=True)


def _facts(found: Guess, written: list[Path]) -> dict[str, Any]:
    """What was guessed and written, as JSON has it."""
    from lakehouse.scaffold.dbt import model_name
    from lakehouse.scaffold.form import as_declared

    dataset = found.dataset
    source = dataset.source
    folder = "" if source else os.path.commonpath([sample.path.absolute().parent for sample in found.samples])
    words = " ".join(str(sample.part) for sample in found.samples if sample.part)
    model = model_name(found)
    query = f'lakehouse sql "select * from silver.{model} limit 10"'
    return {
        "dataset": dataset.name,
        "table": dataset.table,
        "rows": found.rows,
        "format": as_declared(dataset.format),
        "files": dataset.files,
        "parts": as_declared(dataset.parts),
        "folder": folder,
        "source": source.origin if source else "",
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "file": column.published_name(None),
                "why": found.why[column.name],
                "never_empty": column.name in found.filled,
            }
            for column in dataset.columns
        ],
        "key": f"{', '.join(dataset.key)} ({found.key})" if dataset.key else found.key,
        "time": found.time,
        "notes": list(found.notes),
        "left_out": found.left_out,
        "written": [str(path) for path in written],
        "next": [
            f"{'' if source else f'TLC_SOURCE={shlex.quote(folder)} '}lakehouse load {dataset.name} {words}".rstrip(),
            f"lakehouse build --select {model}",
            query,
        ],
    }
