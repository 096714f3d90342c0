"""`demo`, `run`: everything from the files to the report in one command."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from lakehouse.cli.app import (
    DATA,
    NamesDatasets,
    app,
    examples,
    load_settings,
    monthly_names,
    parsed_months,
    require_dataset,
)

# What a command needs is imported in it: `lakehouse --help` should not wait for Dagster.
# ruff: noqa: PLC0415

DEMO_MONTHS = ["2024-01", "2024-02"]


@app.command(
    rich_help_panel=DATA,
    epilog=examples("lakehouse demo", "lakehouse demo green 2023-01 2023-02"),
    cls=NamesDatasets,
)
def demo(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", autocompletion=monthly_names, help="{monthly}.")
    ] = "yellow",
    months: Annotated[
        list[str] | None, typer.Argument(metavar="MONTH", help=f"{' '.join(DEMO_MONTHS)} unless given.")
    ] = None,
) -> None:
    """Load months, build, report, and travel in time. Generates months if the publisher can't be reached."""
    from lakehouse.cli.demo import demo as run_demo

    require_dataset(dataset, monthly_names())
    run_demo(load_settings(), dataset, parsed_months(months or DEMO_MONTHS))


@app.command(rich_help_panel=DATA, epilog=examples("lakehouse run 2024-01 2024-02", "lakehouse run 2024-01..2024-06"))
def run(
    months: Annotated[list[str], typer.Argument(metavar="MONTH", help="2024-01, or a span 2024-01..2024-06.")],
) -> None:
    """Run the full pipeline by Dagster: land and load all datasets but those of days, then dbt and the report once."""
    from dotenv import load_dotenv

    from lakehouse.settings import project_dir

    wanted = parsed_months(months)
    load_settings()  # a `.env` that can't be read is reported here
    # DAGSTER_HOME stands in .env; the environment wins.
    load_dotenv(project_dir() / ".env", override=False)
    logging.getLogger("trino").setLevel(logging.WARNING)
    from lakehouse.cli.launch import launch

    if not launch(wanted):
        raise typer.Exit(1)
