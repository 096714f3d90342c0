"""A check of each raw table that may be run at any time: whether the newest month or day is there that is due."""

# No postponed annotations here: Dagster reads them while it decorates.

from collections.abc import Iterator
from datetime import date

import dagster as dg

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Part, Whole
from lakehouse.datasets.registry import daily, monthly
from lakehouse.defs.common import asset_keys
from lakehouse.defs.failures import failures
from lakehouse.defs.resources import Trino
from lakehouse.defs.source.observed import now
from lakehouse.engines import Engine

NAME = "newest_is_there"


def newest_key(dataset: Dataset) -> dg.AssetCheckKey:
    """The key of the check of a dataset."""
    return dg.AssetCheckKey(asset_keys(dataset)[1], NAME)


def due(dataset: Dataset, today: date) -> Part | None:
    """The newest month or day that should be loaded on the day `today`: its lag has passed, and some patience too."""
    parts = dataset.parts
    if isinstance(parts, Whole):
        return None
    day = today - parts.patience
    part = parts.kind.of(day - parts.lag - parts.period)
    while dataset.can_exist(part.next, day):
        part = part.next
    return part if dataset.can_exist(part, day) else None


def newest_result(engine: Engine, dataset: Dataset, today: date) -> dg.AssetCheckResult | None:
    """Compare the newest loaded month or day with the one that is due. None if nothing is due, or was ever loaded.

    Raises:
        ServiceError: catalog, store or engine does not answer.
    """
    part, column = due(dataset, today), dataset.parts.column
    if part is None or column is None or dataset.table not in engine.tables():
        return None
    loaded = [files.first_day for files in engine.part_files(dataset.table, column) if files.rows]
    if not loaded:
        return None
    newest = type(part).of(max(loaded))
    return dg.AssetCheckResult(
        passed=max(loaded) >= part.first_day,
        asset_key=asset_keys(dataset)[1],
        check_name=NAME,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"newest": str(newest), "due": str(part)},
    )


def newest_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """The check of one dataset."""
    spec = dg.AssetCheckSpec(
        NAME,
        asset=asset_keys(dataset)[1],
        description=f"The newest {dataset.parts.word} is loaded that should be published by now.",
    )

    # With several checks Dagster allows that one has no result: where nothing was ever loaded, nothing is missed.
    @dg.multi_asset_check(name=f"{'__'.join(spec.asset_key.path)}__{NAME}", specs=[spec], can_subset=True)
    def check(context: dg.AssetCheckExecutionContext, trino: Trino) -> Iterator[dg.AssetCheckResult]:
        with failures(context.op_execution_context), trino.engine() as engine:
            if result := newest_result(engine, dataset, now().date()):
                yield result

    return check


newest_checks = [newest_check(dataset) for dataset in (*monthly(), *daily())]
