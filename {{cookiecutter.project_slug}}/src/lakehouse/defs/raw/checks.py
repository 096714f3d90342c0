"""Checks of what a run loaded, against the file it came from and against itself. One query per dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.months import Month
from lakehouse.engines import Engine
from lakehouse.errors import LandingError
from lakehouse.landing import Landing
from lakehouse.loading.load import LoadResult

STRAY_SHARE = 0.01
NULL_SHARE = 0.5
PASSENGERS = "passenger_count"

_CHECKS = {
    "rows_match_file": "The table holds as many rows of the month as the landed file.",
    "keys_are_unique": "No two rows of a month have the same file_row.",
    "columns_are_declared": "The files bring no column unknown to the declaration; such a column is not loaded.",
    "few_strays": f"At most {STRAY_SHARE:.0%} of a month's rows were picked up more than a day outside of it.",
    "few_nulls": f"At most {NULL_SHARE:.0%} of a month's rows lack the passenger count.",
}
_BLOCKING = frozenset({"rows_match_file", "keys_are_unique"})


def check_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a raw table; rows that are lost or doubled stop what is downstream."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=name in _BLOCKING)
        for name, text in _CHECKS.items()
    ]


def check_results(
    engine: Engine, zone: Landing, dataset: Dataset, asset: dg.AssetKey, loaded: Sequence[LoadResult]
) -> Iterator[dg.AssetCheckResult]:
    """The results for the months that this run loaded; with none of them, all pass and say so."""
    months = [result.file.month for result in loaded if result.file.month]
    facts = {month: month_facts(engine, dataset, month) for month in months}
    files = {month: _file_rows(zone, dataset, month) for month in months}
    unknown = {str(r.file.month): list(r.unknown_columns) for r in loaded if r.unknown_columns}

    def result(name: str, wrong: dict[str, Any], found: dict[str, Any]) -> dg.AssetCheckResult:
        severe = name in _BLOCKING
        return dg.AssetCheckResult(
            passed=not wrong,
            asset_key=asset,
            check_name=name,
            severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
            description=_CHECKS[name] if months else "This run loaded no month.",
            metadata={"months": dg.MetadataValue.json(found)}
            | ({"wrong": dg.MetadataValue.json(wrong)} if wrong else {}),
        )

    rows = {str(m): {"table": facts[m]["rows"], "file": files[m]} for m in months}
    yield result("rows_match_file", {m: r for m, r in rows.items() if r["table"] != r["file"]}, rows)
    twice = {str(m): facts[m]["rows"] - facts[m]["keys"] for m in months}
    yield result("keys_are_unique", {m: n for m, n in twice.items() if n}, twice)
    yield result("columns_are_declared", unknown, unknown)
    strays = {str(m): round(facts[m]["strays"] / max(facts[m]["rows"], 1), 6) for m in months}
    yield result("few_strays", {m: share for m, share in strays.items() if share > STRAY_SHARE}, strays)
    nulls = {str(m): round(facts[m]["nulls"] / max(facts[m]["rows"], 1), 4) for m in months}
    yield result("few_nulls", {m: share for m, share in nulls.items() if share > NULL_SHARE}, nulls)


def month_facts(engine: Engine, dataset: Dataset, month: Month) -> dict[str, int]:
    """Count the rows of a month, distinct keys, rows of other months, and rows without a passenger count.

    A dataset that declares no passenger count lacks none.
    """
    counted = any(column.name == PASSENGERS for column in dataset.columns)
    nulls = f"count(case when {PASSENGERS} is null then 1 end)" if counted else "0"
    sql = f"""
        select
            count(*) as rows,
            count(distinct file_row) as keys,
            count(case when {dataset.pickup} < date '{month.first_day}' - interval '1' day
                       or {dataset.pickup} >= date '{month.next.first_day}' + interval '1' day then 1 end) as strays,
            {nulls} as nulls
        from {dataset.table}
        where file_month = date '{month.first_day}'
    """
    return {name: int(value) for name, value in engine.query(sql).to_pylist()[0].items()}


def _file_rows(zone: Landing, dataset: Dataset, month: Month) -> int:
    file = DatasetFile(dataset.name, month)
    landed = zone.find(file)
    if landed is None:
        raise LandingError(f"{file.name} went out of the landing zone while it was being checked.")
    with zone.local(landed) as path:
        return pq.read_metadata(path).num_rows
