"""The dashboard: questions about trips, asked of what is published, or of gold as it is where nothing is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from lakehouse.datasets.registry import monthly
from lakehouse.engines import Engine
from lakehouse.errors import OvertakenError, QueryError
from lakehouse.history.history import PartRow, generated_by
from lakehouse.iceberg.publication import BRANCH, TAG
from lakehouse.iceberg.refs import load_table, shown_at, snapshot_at
from lakehouse.iceberg.versions import AsOf
from lakehouse.report import panels
from lakehouse.report.collect import MART, QUALITY, QUALITY_SQL
from lakehouse.report.panels import Panel, Row

HOURLY, ROUTES = "gold.fct_hourly_revenue", "gold.fct_trip_distance_stats"
TRIES = 3


def _in_loaded_months(table: str) -> str:
    """Leave out the few trips that began up to a day outside the months of the files."""
    return (
        f"inner join (select distinct service_type, file_month from {QUALITY}) as months on "
        f"months.service_type = {table}.service_type "
        f"and months.file_month = cast(date_trunc('month', {table}.pickup_date) as date)"
    )


@dataclass(frozen=True)
class Question:
    """A question of the page: the columns that it reads of each mart, its SQL, and what draws the answer."""

    text: str
    reads: Mapping[str, frozenset[str]]
    sql: str
    draw: Callable[[Sequence[Row]], Panel]


def _reads(mart: str, columns: str, *, months: bool = False) -> dict[str, frozenset[str]]:
    of_months = {QUALITY: frozenset({"service_type", "file_month"})} if months else {}
    return {mart: frozenset(columns.split()), **of_months}


# A weekday is counted from the first of January 1900, a Monday: the engines number the days of a week differently.
QUESTIONS: Mapping[str, Question] = {
    "trips-by-day": Question(
        "How many trips are there each day?",
        _reads(MART, "service_type pickup_date trips", months=True),
        f"select daily.service_type, daily.pickup_date, daily.trips from {MART} as daily {_in_loaded_months('daily')} "
        "order by 1, 2",
        panels.by_day,
    ),
    "revenue-by-hour": Question(
        "At which hour is the money made?",
        _reads(HOURLY, "service_type pickup_date pickup_hour total_amount", months=True),
        "select hourly.service_type, hourly.pickup_hour, sum(hourly.total_amount) as revenue "
        f"from {HOURLY} as hourly {_in_loaded_months('hourly')} group by 1, 2 order by 1, 2",
        panels.revenue_by_hour,
    ),
    "trips-by-weekday": Question(
        "When in the week do people ride?",
        _reads(HOURLY, "service_type pickup_date pickup_hour trips", months=True),
        "with hours as (select hourly.pickup_date, hourly.pickup_hour, hourly.trips, "
        "mod(date_diff('day', date '1900-01-01', hourly.pickup_date), 7) as weekday "
        f"from {HOURLY} as hourly {_in_loaded_months('hourly')}), "
        "days as (select weekday, count(distinct pickup_date) as days from hours group by 1) "
        "select hours.weekday, hours.pickup_hour, sum(hours.trips) as trips, max(days.days) as days "
        "from hours inner join days on days.weekday = hours.weekday group by 1, 2 order by 1, 2",
        panels.by_weekday,
    ),
    "charges-by-month": Question(
        "What do passengers pay for?",
        _reads(
            HOURLY,
            "service_type pickup_date trips fare_amount tip_amount tolls_amount surcharge_amount total_amount",
            months=True,
        ),
        "select file_month as month, sum(trips) as trips, sum(fare_amount) as fare_amount, "
        "sum(tip_amount) as tip_amount, sum(tolls_amount) as tolls_amount, "
        "sum(surcharge_amount) as surcharge_amount, sum(total_amount) as total_amount "
        f"from {HOURLY} as hourly {_in_loaded_months('hourly')} group by 1 order by 1",
        panels.charges,
    ),
    "cards-by-month": Question(
        "How many trips are paid by card?",
        _reads(MART, "service_type pickup_date trips card_share", months=True),
        "select daily.service_type, months.file_month as month, sum(daily.trips) as trips, "
        f"sum(daily.card_share * daily.trips) as card_trips from {MART} as daily {_in_loaded_months('daily')} "
        "group by 1, 2 order by 1, 2",
        panels.cards,
    ),
    "boroughs": Question(
        "Between which boroughs do people ride?",
        _reads(ROUTES, "pickup_borough dropoff_borough trips"),
        f"select pickup_borough, dropoff_borough, sum(trips) as trips from {ROUTES} group by 1, 2 order by 1, 2",
        panels.boroughs,
    ),
    "routes": Question(
        "Which routes are the most frequent?",
        _reads(
            ROUTES,
            "pickup_location_id dropoff_location_id pickup_zone dropoff_zone pickup_borough dropoff_borough trips "
            "avg_distance_miles avg_duration_minutes avg_fare_amount",
        ),
        "select pickup_zone, pickup_borough, dropoff_zone, dropoff_borough, sum(trips) as trips, "
        "cast(sum(trips * avg_distance_miles) as double) / sum(trips) as miles, "
        "cast(sum(trips * avg_duration_minutes) as double) / sum(trips) as minutes, "
        "cast(sum(trips * avg_fare_amount) as double) / sum(trips) as fare, "
        f"(select sum(trips) from {ROUTES}) as all_trips from {ROUTES} "
        "group by pickup_location_id, dropoff_location_id, 1, 2, 3, 4 "
        "order by trips desc, pickup_location_id, dropoff_location_id limit 20",
        panels.routes,
    ),
    "quality": Question(
        "How many rows are rejected, and why?",
        _reads(QUALITY, "service_type file_month rejection_reason trips share"),
        QUALITY_SQL,
        panels.quality,
    ),
}
MARTS = tuple(sorted({mart for question in QUESTIONS.values() for mart in question.reads}))


@dataclass(frozen=True)
class Version:
    """The snapshot of a mart that the page shows."""

    table: str
    snapshot_id: int
    committed_at: datetime


@dataclass(frozen=True)
class Dashboard:
    """The answers as rows, by question. Times are UTC.

    `publication` is the name of what is published, None where nothing is. `missing` says why a question has no answer.
    `generated` are the months that the demo made up.
    """

    made_at: datetime
    target: str
    engine: str
    publication: str | None
    versions: tuple[Version, ...]
    rows: Mapping[str, Sequence[Row]]
    missing: Mapping[str, str]
    generated: tuple[str, ...]

    @property
    def as_of(self) -> datetime | None:
        """When the newest of the marts was built."""
        return max((version.committed_at for version in self.versions), default=None)


def ask(engine: Engine, catalog: Catalog, parts: Sequence[PartRow], target: str) -> Dashboard:
    """Ask all questions of one state. A mart that is not there, or not as the project brings it, leaves gaps only.

    Args:
        engine: is asked.
        catalog: knows the snapshots of the marts.
        parts: the months and days that are loaded.
        target: for the page.

    Raises:
        OvertakenError: a build replaced marts meanwhile, three times.
    """
    known = set(engine.tables())
    for _ in range(TRIES):
        tables = {name: load_table(catalog, name) for name in MARTS if name in known}
        published = any(BRANCH in table.metadata.refs for table in tables.values())
        shown = {
            name: snapshot for name, table in tables.items() if (snapshot := _snapshot(table, published=published))
        }
        publication = _publication([tables[name] for name in shown], shown) if published else None
        missing, rows = {}, {}
        for name, question in QUESTIONS.items():
            if lack := _lack(question, tables, shown, published=published):
                missing[name] = lack
            else:
                rows[name] = engine.query(question.sql, as_of=publication).to_pylist()
        if publication or all(_snapshot(load_table(catalog, name), published=False) == shown[name] for name in shown):
            break
    else:
        raise OvertakenError(
            "A build replaced marts each time the dashboard asked them.", "Run the same command again."
        )
    generated: tuple[str, ...] = ()
    if "quality" in rows:
        built = _version(tables[QUALITY], shown[QUALITY]).committed_at
        then = AsOf("ref", publication) if publication else AsOf("time", built)
        generated = _generated(engine, catalog, parts, then, rows["quality"])
    return Dashboard(
        made_at=datetime.now(UTC).replace(microsecond=0),
        target=target,
        engine=engine.name,
        publication=publication,
        versions=tuple(_version(tables[name], snapshot) for name, snapshot in sorted(shown.items())),
        rows=rows,
        missing=missing,
        generated=generated,
    )


def _snapshot(table: Table, *, published: bool) -> int | None:
    """The snapshot that the page shows of a mart; None where it has none."""
    if not published:
        return table.metadata.current_snapshot_id
    return shown_at(table, AsOf("ref", BRANCH)) if BRANCH in table.metadata.refs else None


def _publication(tables: Iterable[Table], shown: Mapping[str, int]) -> str:
    """The newest name that all these snapshots have of publications."""
    names = [
        {
            name
            for name, ref in table.metadata.refs.items()
            if TAG.fullmatch(name) and ref.snapshot_id == shown[".".join(table.name())]
        }
        for table in tables
    ]
    return max(set.intersection(*names), default=BRANCH)


def _lack(question: Question, tables: Mapping[str, Table], shown: Mapping[str, int], *, published: bool) -> str:
    """What a question lacks, as a sentence; nothing where it can be asked."""
    for mart, columns in question.reads.items():
        if mart not in tables:
            return f"There is no {mart}."
        if mart not in shown:
            return f"{mart} has no version to show."
        # A query of a publication sees the columns of its snapshot, any other one those of today.
        seen = tables[mart].scan(snapshot_id=shown[mart] if published else None).projection()
        if lacking := sorted(columns - set(seen.column_names)):
            return f"{mart} lacks {', '.join(lacking)}."
    return ""


def _version(table: Table, snapshot_id: int) -> Version:
    snapshot = table.snapshot_by_id(snapshot_id)
    assert snapshot is not None  # noqa: S101 - a ref names it
    return Version(".".join(table.name()), snapshot_id, datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC))


def _generated(
    engine: Engine, catalog: Catalog, parts: Sequence[PartRow], then: AsOf, rows: Sequence[Row]
) -> tuple[str, ...]:
    """The months shown that were generated when they were published, or gold was built; later loads may be real."""
    made = {(row.dataset, row.part): row.synthetic for row in parts}
    for dataset in monthly():
        try:
            snapshot = snapshot_at(load_table(catalog, dataset.table), then)
        except QueryError:  # there is no table, or it has expired: the bytes that the table holds now tell
            continue
        made |= {(dataset.name, part): found for part, found in generated_by(engine, dataset.table, snapshot).items()}
    months = {(str(row["service_type"]), f"{row['file_month']:%Y-%m}") for row in rows}
    return tuple(f"{name} {month}" for name, month in sorted(months) if made.get((name, month)))
