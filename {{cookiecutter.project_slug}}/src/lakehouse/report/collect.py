"""What the report says, as plain values, asked of the engine and of Iceberg's metadata; nothing is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyiceberg.catalog import Catalog

from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import monthly
from lakehouse.engines import Engine
from lakehouse.history.history import HistoryRow, PartRow, history, loaded
from lakehouse.history.tree import TableTree, tree
from lakehouse.landing import Landing

MART = "gold.fct_daily_trips"
QUALITY = "gold.fct_monthly_quality"
QUALITY_SQL = (
    f"select service_type, file_month, rejection_reason, trips, share from {QUALITY} order by 1, 2, trips desc"
)
# Days of the comparison that are drawn at most, and around the month that was loaded last.
SHOWN_DAYS, AROUND_DAYS = 400, 31
# What a reader asks first, in the page and in a terminal.
COUNTED = (
    "Trips may be fewer than rows: those picked up outside the month of their file are not counted, and in a mart no "
    "rejected row is."
)
OPERATIONS = (
    "A load replaces the rows of its month. Iceberg calls that overwrite, also if the month had none; only the first "
    "load of a table is an append."
)


@dataclass(frozen=True)
class TableHistory:
    """A table's snapshots, oldest first."""

    table: str
    snapshots: tuple[HistoryRow, ...]

    @property
    def rows(self) -> int:
        """Rows that a plain query reads."""
        return next((s.total_rows or 0 for s in self.snapshots if s.current), 0)


@dataclass(frozen=True)
class Day:
    """Trips of one service on one day, in the older and in the newer version."""

    service_type: str
    day: date
    before: int
    after: int


@dataclass(frozen=True)
class Travel:
    """One question asked of two versions. `before` and `after` are what `--as-of` takes."""

    what: str
    load: str
    sql: str
    before: str
    after: str
    trips_before: int
    trips_after: int
    days: tuple[Day, ...]


@dataclass(frozen=True)
class Quality:
    """Rows of a month with one verdict of silver: `accepted`, or the reason of their rejection."""

    service_type: str
    month: str
    reason: str
    trips: int
    share: float


@dataclass(frozen=True)
class Facts:
    """The whole report as values. Times are UTC."""

    made_at: datetime
    target: str
    engine: str
    loaded: tuple[PartRow, ...]
    tables: tuple[TableHistory, ...]
    travel: Travel | None
    quality: tuple[Quality, ...]
    trees: tuple[TableTree, ...]

    @property
    def synthetic(self) -> bool:
        """Whether any month is a generated one."""
        return any(row.synthetic for row in self.loaded)

    @property
    def has_days(self) -> bool:
        """Whether a dataset that comes by the day is loaded."""
        return any(not isinstance(row.file.part, Month) for row in self.loaded)

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "made_at": self.made_at.isoformat(),
            "target": self.target,
            "engine": self.engine,
            "synthetic": self.synthetic,
            "months": [row.as_dict() for row in self.loaded],
            "tables": [{"table": t.table, "snapshots": [s.as_dict() for s in t.snapshots]} for t in self.tables],
            "travel": _travel_dict(self.travel),
            "quality": [asdict(row) for row in self.quality],
            "trees": [found.as_dict() for found in self.trees],
        }


def _travel_dict(travel: Travel | None) -> dict[str, Any] | None:
    if travel is None:
        return None
    return asdict(travel) | {"days": [asdict(day) | {"day": day.day.isoformat()} for day in travel.days]}


def collect(engine: Engine, catalog: Catalog, landing: Landing, target: str) -> Facts:
    """Ask for everything the report says. An empty lakehouse gives an empty report."""
    known = engine.tables()
    tables = tuple(TableHistory(table, tuple(history(engine, table))) for table in known)
    with_data = [t.table for t in tables if t.snapshots and (t.table.startswith("raw.") or t.table == MART)]
    return Facts(
        made_at=datetime.now(UTC).replace(microsecond=0),
        target=target,
        engine=engine.name,
        loaded=tuple(loaded(engine, landing)),
        tables=tuple(t for t in tables if t.snapshots),
        travel=_travel(engine, {t.table: t for t in tables}),
        quality=quality_of(engine.query(QUALITY_SQL).to_pylist()) if QUALITY in known else (),
        trees=tuple(tree(catalog, table) for table in sorted(with_data, key=lambda t: (not t.startswith("raw."), t))),
    )


def _travel(engine: Engine, tables: dict[str, TableHistory]) -> Travel | None:
    """The daily trips before and after the last load.

    From the mart where nothing but that load lies between two of its builds. Otherwise (two loads, then a build) the
    raw table itself tells: it always has the version before.
    """
    loads = [
        (dataset, s)
        for dataset in monthly()
        if dataset.table in tables
        for s in tables[dataset.table].snapshots
        if s.file_month
    ]
    standing = [(dataset, s) for dataset, s in loads if not s.rolled_back]
    if not standing:
        return None
    dataset, load = max(standing, key=lambda found: found[1].committed_at)
    mart = [s for s in tables[MART].snapshots if s.total_rows and not s.rolled_back] if MART in tables else []
    if builds := _builds_around(load, [s for _, s in loads], mart):
        sql = f"select service_type, pickup_date as day, trips from {MART}"
        return _compare(engine, load, MART, sql, builds)
    if (
        dataset.time is None
        or load.parent_id is None
        or all(s.snapshot_id != load.parent_id for s in tables[dataset.table].snapshots)
    ):
        return None
    sql = (
        f"select '{dataset.name}' as service_type, cast({dataset.time_sql} as date) as day, count(*) as trips "
        f"from {dataset.table} where date_trunc('month', {dataset.time_sql}) = file_month group by 1, 2"
    )
    return _compare(engine, load, dataset.table, sql, (load.parent_id, load.snapshot_id))


def _builds_around(load: HistoryRow, loads: list[HistoryRow], mart: list[HistoryRow]) -> tuple[int, int] | None:
    """The mart's last build before the load and its newest one since, if they differ by nothing else.

    When a load was taken back is not known, so any taken back before the newest build may be part of the difference.
    """
    older = [s for s in mart if s.committed_at < load.committed_at]
    newer = [s for s in mart if s.committed_at >= load.committed_at]
    if not older or not newer:
        return None
    first, last = older[-1], newer[-1]
    others = [
        s
        for s in loads
        if s != load and s.committed_at < last.committed_at and (s.rolled_back or s.committed_at > first.committed_at)
    ]
    return None if others else (first.snapshot_id, last.snapshot_id)


def _compare(engine: Engine, load: HistoryRow, table: str, sql: str, versions: tuple[int, int]) -> Travel:
    before, after = (f"{table}@{snapshot_id}" for snapshot_id in versions)
    old, new = (
        {(r["service_type"], r["day"]): r["trips"] for r in engine.query(sql, as_of=v).to_pylist()}
        for v in (before, after)
    )
    days = [Day(s, d, old.get((s, d), 0), new.get((s, d), 0)) for s, d in sorted(old.keys() | new.keys())]
    return Travel(
        what=table,
        load=f"{load.dataset} {load.file_month}",
        sql=sql,
        before=before,
        after=after,
        trips_before=sum(old.values()),
        trips_after=sum(new.values()),
        days=_window(days, Month.parse(load.file_month or "")),
    )


def _window(days: list[Day], month: Month) -> tuple[Day, ...]:
    """The days that are drawn: those that differ and the loaded month, with a month to either side."""
    touched = [d.day for d in days if d.before != d.after] + [month.first_day, month.next.first_day]
    first, last = min(touched) - timedelta(AROUND_DAYS), max(touched) + timedelta(AROUND_DAYS)
    first = max(first, last - timedelta(SHOWN_DAYS))
    return tuple(d for d in days if first <= d.day <= last)


def quality_of(rows: Sequence[Mapping[str, Any]]) -> tuple[Quality, ...]:
    """Rows of QUALITY_SQL as values."""
    return tuple(
        Quality(
            service_type=row["service_type"],
            month=f"{row['file_month']:%Y-%m}",
            reason=row["rejection_reason"],
            trips=row["trips"],
            share=float(row["share"]),
        )
        for row in rows
    )
