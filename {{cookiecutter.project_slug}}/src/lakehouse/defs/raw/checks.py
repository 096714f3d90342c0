"""Checks of what a run loaded, against the file it came from and against itself. One query per dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Part, Whole
from lakehouse.engines import Engine
from lakehouse.errors import LandingError
from lakehouse.formats.bundle import rows_of
from lakehouse.landing import Landing
from lakehouse.loading.result import LoadResult

STRAY_SHARE = 0.01
NULL_SHARE = 0.5
PASSENGERS = "passenger_count"

_CHECKS = {
    "rows_match_file": "The table holds as many rows of the part as the landed file; rows set aside are counted.",
    "keys_are_unique": "No two rows of a part have the same file_row.",
    "columns_are_declared": "The files bring no column unknown to the declaration; such a column is not loaded.",
    "few_strays": f"At most {STRAY_SHARE:.0%} of a part's rows have a time outside of it.",
    "few_nulls": f"At most {NULL_SHARE:.0%} of a part's rows lack the passenger count.",
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
    """The results for the months or days that this run loaded; with none of them, all pass and say so."""
    parts = [result.file.part for result in loaded if result.file.part]
    facts = {part: part_facts(engine, dataset, part) for part in parts}
    files = {part: _file_rows(zone, dataset, part) for part in parts}
    unknown = {str(r.file.part): list(r.unknown_columns) for r in loaded if r.unknown_columns}

    def result(name: str, wrong: dict[str, Any], found: dict[str, Any]) -> dg.AssetCheckResult:
        severe = name in _BLOCKING
        return dg.AssetCheckResult(
            passed=not wrong,
            asset_key=asset,
            check_name=name,
            severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
            description=_CHECKS[name] if parts else f"This run loaded no {dataset.parts.word}.",
            metadata={f"{dataset.parts.word}s": dg.MetadataValue.json(found)}
            | ({"wrong": dg.MetadataValue.json(wrong)} if wrong else {}),
        )

    aside = {result.file.part: {"set_aside": result.set_aside} for result in loaded if result.set_aside}
    rows = {str(p): {"table": facts[p]["rows"], **aside.get(p, {}), "file": files[p]} for p in parts}
    lost = {p: r for p, r in rows.items() if r["table"] + r.get("set_aside", 0) != r["file"]}
    yield result("rows_match_file", lost, rows)
    twice = {str(p): facts[p]["rows"] - facts[p]["keys"] for p in parts}
    yield result("keys_are_unique", {p: n for p, n in twice.items() if n}, twice)
    yield result("columns_are_declared", unknown, unknown)
    strays = {str(p): round(facts[p]["strays"] / max(facts[p]["rows"], 1), 6) for p in parts}
    yield result("few_strays", {p: share for p, share in strays.items() if share > STRAY_SHARE}, strays)
    nulls = {str(p): round(facts[p]["nulls"] / max(facts[p]["rows"], 1), 4) for p in parts}
    yield result("few_nulls", {p: share for p, share in nulls.items() if share > NULL_SHARE}, nulls)


def part_facts(engine: Engine, dataset: Dataset, part: Part) -> dict[str, int]:
    """Count the rows of a part, distinct keys, rows of other parts, and rows without a passenger count.

    A dataset that declares no passenger count lacks none; one without a time has no rows of other parts.
    """
    parts = dataset.parts
    assert not isinstance(parts, Whole)  # noqa: S101 - for the type checker: this is asked of months and days
    counted = any(column.name == PASSENGERS for column in dataset.columns)
    nulls = f"count(case when {PASSENGERS} is null then 1 end)" if counted else "0"
    days = f"interval '{parts.tolerance.days}' day"
    strays = f"""count(case when {dataset.time_sql} < date '{part.first_day}' - {days}
                       or {dataset.time_sql} >= date '{part.next.first_day}' + {days} then 1 end)"""
    sql = f"""
        select
            count(*) as rows,
            count(distinct file_row) as keys,
            {strays if dataset.time else "0"} as strays,
            {nulls} as nulls
        from {dataset.table}
        where {parts.column} = date '{part.first_day}'
    """
    return {name: int(value) for name, value in engine.query(sql).to_pylist()[0].items()}


def _file_rows(zone: Landing, dataset: Dataset, part: Part) -> int:
    file = DatasetFile(dataset.name, part)
    landed = zone.find(file)
    if landed is None:
        raise LandingError(f"{file.name} went out of the landing zone while it was being checked.")
    with zone.local(landed) as path, pa.OSFile(str(path), "r") as source:
        return rows_of(dataset, source)
