"""Checks of what a run loaded, against the file it came from and against itself. One query per dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from pyiceberg.catalog import Catalog
from pyiceberg.schema import Schema

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Part, Whole
from lakehouse.engines import Engine
from lakehouse.errors import LandingError
from lakehouse.formats.bundle import rows_of
from lakehouse.history.history import history
from lakehouse.iceberg.catalog import service_errors
from lakehouse.landing import Landing
from lakehouse.landing.record import again
from lakehouse.loading.result import LoadResult

STRAY_SHARE = 0.01
NULL_SHARE = 0.5
CHECKS_LOOKED_AT = 500
PASSENGERS = "passenger_count"

_CHECKS = {
    "rows_match_file": "The table holds as many rows of the part as the landed file; rows set aside are counted.",
    "keys_are_unique": "No two rows of a part have the same file_row.",
    "columns_are_declared": "The files bring no column unknown to the declaration; such a column is not loaded.",
    "few_strays": f"At most {STRAY_SHARE:.0%} of a part's rows have a time outside of it.",
    "few_nulls": f"At most {NULL_SHARE:.0%} of a part's rows lack the passenger count.",
}
_SAME_COLUMNS = "same_columns"
_BLOCKING = frozenset({"rows_match_file", "keys_are_unique"})


def check_specs(dataset: Dataset, asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks that can look at something in this raw table; lost or doubled rows stop what is downstream."""
    can_look = {"few_strays": bool(dataset.time), "few_nulls": _counts_passengers(dataset)}
    same_columns = dg.AssetCheckSpec(
        _SAME_COLUMNS, asset=asset, description="The table has the columns and types that it had before the load."
    )
    return [same_columns] + [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=name in _BLOCKING)
        for name, text in _CHECKS.items()
        if dataset.parts.column and can_look.get(name, True)
    ]


def check_results(
    engine: Engine, zone: Landing, dataset: Dataset, asset: dg.AssetKey, loaded: Sequence[LoadResult]
) -> Iterator[dg.AssetCheckResult]:
    """The results for the months or days that this run loaded. What nobody has looked at has no result."""
    parts = [result.file.part for result in loaded if result.file.part]
    if not parts:
        return
    facts = {part: part_facts(engine, dataset, part) for part in parts}
    files = {part: _file_rows(zone, dataset, part) for part in parts}
    read = {str(result.file.part): list(result.unknown_columns) for result in loaded if result.action == "loaded"}

    def result(name: str, wrong: dict[str, Any], found: dict[str, Any]) -> dg.AssetCheckResult:
        severe = name in _BLOCKING
        return dg.AssetCheckResult(
            passed=not wrong,
            asset_key=asset,
            check_name=name,
            severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
            description=_CHECKS[name],
            metadata={f"{dataset.parts.word}s": dg.MetadataValue.json(found)}
            | ({"wrong": dg.MetadataValue.json(wrong)} if wrong else {}),
        )

    aside = {result.file.part: {"set_aside": result.set_aside} for result in loaded if result.set_aside}
    rows = {str(p): {"table": facts[p]["rows"], **aside.get(p, {}), "file": files[p]} for p in parts}
    lost = {p: r for p, r in rows.items() if r["table"] + r.get("set_aside", 0) != r["file"]}
    yield result("rows_match_file", lost, rows)
    twice = {str(p): facts[p]["rows"] - facts[p]["keys"] for p in parts}
    yield result("keys_are_unique", {p: n for p, n in twice.items() if n}, twice)
    if read:  # a file that the table holds already is not opened
        yield result("columns_are_declared", {p: names for p, names in read.items() if names}, read)
    if dataset.time:
        strays = {str(p): round(facts[p]["strays"] / max(facts[p]["rows"], 1), 6) for p in parts}
        yield result("few_strays", {p: share for p, share in strays.items() if share > STRAY_SHARE}, strays)
    if _counts_passengers(dataset):
        nulls = {str(p): round(facts[p]["nulls"] / max(facts[p]["rows"], 1), 4) for p in parts}
        yield result("few_nulls", {p: share for p, share in nulls.items() if share > NULL_SHARE}, nulls)


def columns_result(
    catalog: Catalog, dataset: Dataset, asset: dg.AssetKey, loaded: Sequence[LoadResult]
) -> dg.AssetCheckResult | None:
    """Compare the table's columns with those before the first of these loads. None if there is no state before it.

    Raises:
        ServiceError: the catalog does not answer.
    """
    made = next((result.snapshot_id for result in loaded if result.snapshot_id), None)
    if made is None:  # also where there is no table yet
        return None
    with service_errors(catalog):
        table = catalog.load_table(dataset.table)
    snapshot = table.snapshot_by_id(made)
    parent = table.snapshot_by_id(snapshot.parent_snapshot_id or 0) if snapshot else None
    if parent is None or parent.schema_id is None:
        return None
    before, after = _columns(table.schemas()[parent.schema_id]), _columns(table.schema())
    changes = {
        name: f"{before.get(name, 'no such column')} → {after.get(name, 'no such column')}"
        for name in before | after
        if before.get(name) != after.get(name)
    }
    return dg.AssetCheckResult(
        passed=not changes,
        asset_key=asset,
        check_name=_SAME_COLUMNS,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"columns": len(after)} | ({"changes": dg.MetadataValue.json(changes)} if changes else {}),
    )


def _columns(schema: Schema) -> dict[str, str]:
    return {field.name: str(field.field_type) for field in schema.fields}


def newest_load(engine: Engine, dataset: Dataset) -> list[LoadResult]:
    """The load that the table's state comes from, as far as its snapshot says it; empty if there is none.

    Raises:
        ServiceError: catalog, store or engine does not answer.
    """
    parts = dataset.parts
    for row in reversed(history(engine, dataset.table)):
        if row.in_line and row.part and not isinstance(parts, Whole):
            file = DatasetFile(dataset.name, parts.kind.parse(row.part))
            return [
                LoadResult(
                    file=file,
                    table=dataset.table,
                    action="unchanged",
                    snapshot_id=row.snapshot_id,
                    rows=row.added_rows,
                    set_aside=row.set_aside or 0,
                    source_sha256=row.source_sha256 or "",
                    unknown_columns=(),
                    merged=None,
                    clock=None,
                    seconds=0,
                )
            ]
    return []


def failed_parts(instance: dg.DagsterInstance, dataset: Dataset) -> list[str]:
    """The months or days of a dataset whose last check, of any run, found lost or doubled rows."""
    asset = dg.AssetKey(dataset.table.split("."))
    failed: set[str] = set()
    for name in _BLOCKING:
        key = dg.AssetCheckKey(asset, name)
        history = instance.event_log_storage.get_asset_check_execution_history
        if not history(key, limit=1, status={AssetCheckExecutionRecordStatus.FAILED}):
            continue
        last: dict[str, bool] = {}
        for record in history(key, limit=CHECKS_LOOKED_AT):  # the newest first
            if record.event and record.status != AssetCheckExecutionRecordStatus.PLANNED:
                found = record.event.get_dagster_event().asset_check_evaluation_data
                said = {word: value.value for word, value in found.metadata.items()}
                wrong: Any = said.get("wrong", {})
                parts: Any = said.get(f"{dataset.parts.word}s", {})
                for part in parts:
                    last.setdefault(part, part in wrong)
        failed |= {part for part, is_wrong in last.items() if is_wrong}
    return sorted(failed)


def part_facts(engine: Engine, dataset: Dataset, part: Part) -> dict[str, int]:
    """Count the rows of a part, distinct keys, rows of other parts, and rows without a passenger count.

    Both are 0 where the dataset declares no such column.
    """
    parts = dataset.parts
    assert not isinstance(parts, Whole)  # noqa: S101 - for the type checker: this is asked of months and days
    nulls = f"count(case when {PASSENGERS} is null then 1 end)" if _counts_passengers(dataset) else "0"
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


def _counts_passengers(dataset: Dataset) -> bool:
    return any(column.name == PASSENGERS for column in dataset.columns)


def _file_rows(zone: Landing, dataset: Dataset, part: Part) -> int:
    file = DatasetFile(dataset.name, part)
    landed = zone.find(file)
    if landed is None:
        raise LandingError(
            f"{file.name} is not in the landing zone, so its rows can't be compared with those of {dataset.table}. The "
            f"table is as it is. Run `lakehouse load {file.label} --refresh`, then the checks again."
        )
    try:
        with zone.local(landed) as path, pa.OSFile(str(path), "r") as source:
            return rows_of(dataset, source)
    except (OSError, pa.ArrowException) as error:
        raise LandingError(
            f"The rows of the landed file {file.name} can't be counted ({error}). Rows of it that are in the table "
            f"stay. Land it again: `{again(landed)}`."
        ) from error
