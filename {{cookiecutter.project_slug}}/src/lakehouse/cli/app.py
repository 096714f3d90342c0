"""The application `lakehouse`, and what its commands share.

Commands are thin: each calls functions below and prints. One file holds one group of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from lakehouse.errors import LakehouseError

# What a command needs is imported in it: `lakehouse --help` and a no-op load should not wait for dbt or DuckDB.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from lakehouse.datasets.days import Day
    from lakehouse.datasets.months import Month
    from lakehouse.datasets.parts import Part
    from lakehouse.engines import Engine
    from lakehouse.settings import Settings

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
    bool,
    typer.Option(
        "--wait/--no-wait", help="Wait for another build, up to two hours, and say who runs it; or fail at once."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def load_settings() -> Settings:
    """The settings of this process. They are imported here: `--help` does without pydantic, which reads them."""
    from lakehouse.settings import load_settings as load

    return load()


def complete_table(incomplete: str) -> list[str]:
    """List tables for the shell's completion: declared ones, since a shell should not wait for a catalog."""
    from lakehouse.datasets.registry import DATASETS
    from lakehouse.settings import project_dir

    models = project_dir() / "dbt" / "models"
    declared = [table for dataset in DATASETS.values() for table in (dataset.table, dataset.rejected_table) if table]
    for schema, folder in (("silver", "staging"), ("gold", "marts")):
        declared += sorted(f"{schema}.{path.stem}" for path in (models / folder).glob("*.sql"))
    return [name for name in declared if name.startswith(incomplete)]


def dataset_names(incomplete: str = "") -> list[str]:
    """List datasets for the shell's completion."""
    from lakehouse.datasets.registry import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]


def monthly_names(incomplete: str = "") -> list[str]:
    """List the datasets that come by the month, for the shell's completion."""
    from lakehouse.datasets.registry import monthly

    return [dataset.name for dataset in monthly() if dataset.name.startswith(incomplete)]


class NamesDatasets(TyperCommand):
    """A command whose help names datasets, as `{all}` or `{monthly}`: only its own page reads their declarations."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, with the names in their help."""
        for parameter in self.params:
            if isinstance(parameter, TyperArgument) and parameter.help and "{" in parameter.help:
                parameter.help = parameter.help.format(
                    all=", ".join(dataset_names()), monthly=" or ".join(monthly_names())
                )
        return super().get_params(ctx)


def require_dataset(name: str, among: Iterable[str]) -> None:
    """Refuse a name that is none of these datasets."""
    if name not in (names := list(among)):
        known = ", ".join(names)
        raise typer.BadParameter(
            f"there is no dataset {name!r}. Nothing was done. The datasets are: {known}", param_hint="DATASET"
        )


def parsed_months(words: list[str]) -> list[Month]:
    """Read months and spans, as they are typed."""
    from lakehouse.datasets.parts import parse_months

    with _as_typed("MONTH"):
        return parse_months(words)


def parts_of(kind: type[Month | Day], words: list[str]) -> list[Part]:
    """Read months or days, and spans of them, as they are typed."""
    from lakehouse.datasets.parts import parse_parts

    with _as_typed(kind.__name__.upper()):
        return parse_parts(kind, words)


@contextmanager
def _as_typed(argument: str) -> Iterator[None]:
    """A wrong word is a wrong argument."""
    try:
        yield
    except LakehouseError as error:
        raise typer.BadParameter(f"{error} Nothing was done.", param_hint=argument) from None


def examples(*commands: str) -> str:
    """End a command's help with examples, each on a line of its own, to be copied."""
    return "\n\n".join(["Examples:", *(f"$ {command}" for command in commands)])


# Headings of `lakehouse --help`.
DATA, LOOK, KEEP, MACHINE = "Load and build", "Look", "Keep and undo", "This machine"
TableName = Annotated[
    str, typer.Argument(metavar="TABLE", autocompletion=complete_table, help="For example raw.yellow_trips.")
]
VERSION = "A snapshot's id, a branch or tag, or a time (UTC)."


def escaped(text: str) -> str:
    """Text as rich prints it literally."""
    from rich.markup import escape

    return escape(text)


@contextmanager
def opened_engine() -> Iterator[tuple[Settings, Engine]]:
    """Give the settings and the target's engine, and close the engine afterwards."""
    from lakehouse.engines import open_engine

    settings = load_settings()
    engine = open_engine(settings)
    try:
        yield settings, engine
    finally:
        engine.close()


@contextmanager
def opened_catalog() -> Iterator[Catalog]:
    """Give the catalog; what fails in the services is reported as our own error."""
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
