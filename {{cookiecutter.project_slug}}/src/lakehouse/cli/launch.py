"""`lakehouse run`: the full pipeline for any months, recorded like every other run of Dagster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import dagster as dg
from yaml import YAMLError

from lakehouse.dagster_home import NAME, ready
from lakehouse.datasets.months import Month
from lakehouse.errors import SettingsError
from lakehouse.settings import load_settings, project_dir


def spans(months: Sequence[Month]) -> list[tuple[Month, Month]]:
    """Months without a gap, as (first, last): a run of Dagster takes one span."""
    ordered = sorted(months)
    cuts = [i for i, (month, after) in enumerate(pairwise(ordered), start=1) if month.next != after]
    edges = [0, *cuts, len(ordered)]
    return [(ordered[a], ordered[b - 1]) for a, b in pairwise(edges)]


def not_offered(months: Sequence[Month], first: Month, last: Month | None) -> str:
    """The message of months that are no partitions. These are `first` to `last`; there are none if `last` is None."""
    early = [month for month in months if month < first]
    found = early or list(months)
    words, several = ", ".join(map(str, found)), len(found) > 1
    if early:
        return (
            f"{words} {'are' if several else 'is'} before LAKEHOUSE_FIRST_MONTH ({first}). Nothing was run. "
            f"Set LAKEHOUSE_FIRST_MONTH to {early[0]}, or use `lakehouse load`."
        )
    take = f"Take months up to {last}." if last else f"Set LAKEHOUSE_FIRST_MONTH ({first}) to a month that has ended."
    return f"{words} {'have' if several else 'has'} not ended yet. Nothing was run. {take}"


def _instance(home: Path) -> dg.DagsterInstance:
    """Dagster's instance in this home.

    Raises:
        SettingsError: its dagster.yaml is wrong.
    """
    try:
        return dg.DagsterInstance.get()
    except (dg.DagsterError, YAMLError) as error:
        raise SettingsError(
            f"Dagster can't use {home / NAME}. Nothing was run. Correct it, or remove it: then `lakehouse run` links "
            f"to the project's own. Dagster says: {error}"
        ) from error


def launch(months: Sequence[Month]) -> bool:
    """Run the pipeline for the months: every span is loaded, and dbt runs once, with the last of them.

    Returns:
        Whether all runs succeeded.

    Raises:
        SettingsError: Dagster has no home, or does not offer a month.
    """
    if not os.environ.get("DAGSTER_HOME"):
        raise SettingsError(
            "DAGSTER_HOME is not set. Nothing was run. Write the absolute path of a folder for Dagster's runs and logs "
            f"into .env, for example DAGSTER_HOME={project_dir() / '.dagster'}"
        )
    # Imported here, so that a wrong setting and a dbt project that can't be parsed are one message too.
    from lakehouse.definitions import defs  # noqa: PLC0415
    from lakehouse.defs.partitions import MONTHS, partition_key  # noqa: PLC0415
    from lakehouse.defs.run_launcher import process_tag  # noqa: PLC0415

    known = MONTHS.get_partition_keys()
    if others := sorted({month for month in months if partition_key(month) not in set(known)}):
        raise SettingsError(not_offered(others, load_settings().first_month, Month.parse(known[-1]) if known else None))
    ready(Path(os.environ["DAGSTER_HOME"]))
    found = defs()
    todo = spans(months)
    with _instance(Path(os.environ["DAGSTER_HOME"])) as instance:
        for i, (first_month, last_month) in enumerate(todo, start=1):
            job = found.resolve_job_def("lakehouse_full_pipeline" if i == len(todo) else "bronze_only")
            result = job.execute_in_process(
                instance=instance,
                run_config={"loggers": {"console": {"config": {"log_level": "INFO"}}}},
                tags=process_tag()
                | {
                    "dagster/asset_partition_range_start": partition_key(first_month),
                    "dagster/asset_partition_range_end": partition_key(last_month),
                },
                raise_on_error=False,
            )
            if not result.success:
                return False
    return True
