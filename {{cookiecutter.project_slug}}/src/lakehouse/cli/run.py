"""`make run`: the full pipeline for any months from the command line, recorded like every other run of Dagster.

python -m lakehouse.cli.run 2024-01 2024-02
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from itertools import pairwise

import dagster as dg

from lakehouse.datasets.months import Month, parse_months
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.settings import load_settings


def spans(months: Sequence[Month]) -> list[tuple[Month, Month]]:
    """Months without a gap, as (first, last): a run of Dagster takes one span."""
    ordered = sorted(months)
    cuts = [i for i, (month, after) in enumerate(pairwise(ordered), start=1) if month.next != after]
    edges = [0, *cuts, len(ordered)]
    return [(ordered[a], ordered[b - 1]) for a, b in pairwise(edges)]


def launch(months: Sequence[Month]) -> bool:
    """Run the pipeline for the months: every span is loaded, and dbt runs once, with the last of them.

    Returns:
        Whether all runs succeeded.

    Raises:
        SettingsError: a month that Dagster does not offer.
    """
    # Here, so that a wrong setting and a dbt project that can't be parsed are told as one message too.
    from lakehouse.definitions import defs  # noqa: PLC0415
    from lakehouse.defs.months import MONTHS, partition_key  # noqa: PLC0415

    known = set(MONTHS.get_partition_keys())
    if strange := [str(month) for month in months if partition_key(month) not in known]:
        first = load_settings().first_month
        raise SettingsError(
            f"Dagster does not offer {', '.join(strange)}: only months that have ended, from LAKEHOUSE_FIRST_MONTH "
            f"({first}) on. Set that to an earlier month, or use the command line: `lakehouse load`."
        )
    found = defs()
    todo = spans(months)
    with dg.DagsterInstance.get() as instance:
        for i, (first_month, last_month) in enumerate(todo, start=1):
            job = found.resolve_job_def("lakehouse_full_pipeline" if i == len(todo) else "bronze_only")
            result = job.execute_in_process(
                instance=instance,
                run_config={"loggers": {"console": {"config": {"log_level": "INFO"}}}},
                tags={
                    "dagster/asset_partition_range_start": partition_key(first_month),
                    "dagster/asset_partition_range_end": partition_key(last_month),
                },
                raise_on_error=False,
            )
            if not result.success:
                return False
    return True


def main() -> int:
    """Run for the months named on the command line."""
    logging.getLogger("trino").setLevel(logging.WARNING)
    try:
        months = parse_months(sys.argv[1:])
        if not months:
            raise SettingsError("Name the months: 2024-01 2024-02, or 2024-01..2024-06.")
        return 0 if launch(months) else 1
    except LakehouseError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command's one message
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
