"""A gold of made-up trips, and what the dashboard must show of them, worked out without SQL, marts and plots."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from tests.dbt.raw import SURCHARGES, Row, gold, made_up_rows, silver_row

from lakehouse.iceberg.catalog import table_names
from lakehouse.iceberg.publication import BRANCH

Cells = list[list[str]]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
UNKNOWN = 264
ZONES = {i: (f"Zone {i}", f"Borough {i % 6}") for i in range(1, 266)}
PUBLICATION = "publication-20240301T120000Z"


def silver(*parts: tuple[str, str], count: int = 600, seed: int = 0) -> dict[str, list[Row]]:
    """Rows of silver of made-up months, by service."""
    found: dict[str, list[Row]] = {}
    for service, month in parts:
        rows = made_up_rows(service, month, count, seed)
        found.setdefault(service, []).extend(silver_row(service, month, "", i, row) for i, row in enumerate(rows))
    return found


def put_gold(catalog: Catalog, rows: Mapping[str, Sequence[Row]], zones: Mapping[int, tuple[str, str]] = ZONES) -> None:
    """Make the marts that these rows of silver must become the gold of the lakehouse."""
    for mart, found in gold(rows).items():
        if mart == "fct_trip_distance_stats":
            for row in found:
                for end in ("pickup", "dropoff"):
                    row[f"{end}_zone"], row[f"{end}_borough"] = zones[row[f"{end}_location_id"]]
        put_mart(catalog, f"gold.{mart}", found)


def put_mart(catalog: Catalog, name: str, rows: Sequence[Row]) -> None:
    """Replace a mart."""
    catalog.create_namespace_if_not_exists("gold")
    types: dict[type, pa.DataType] = {
        Decimal: pa.decimal128(18, 4),
        int: pa.int64(),
        str: pa.string(),
        date: pa.date32(),
    }
    names = {name: next(row[name] for row in rows if row[name] is not None) for name in rows[0]}
    schema = pa.schema([pa.field(column, types[type(value)]) for column, value in names.items()])
    table = catalog.create_table_if_not_exists(name, schema)
    (table.overwrite if table.current_snapshot() else table.append)(pa.Table.from_pylist(list(rows), schema=schema))


def publish(catalog: Catalog, name: str = PUBLICATION) -> None:
    """Name what is there as `lakehouse publish` does."""
    for full_name in table_names(catalog):
        table = catalog.load_table(full_name)
        snapshot = table.metadata.current_snapshot_id
        if snapshot is not None:
            table.manage_snapshots().create_branch(snapshot, BRANCH).create_tag(snapshot, name).commit()


class Page(HTMLParser):
    """The page as a reader has it: for each question its sentence, and the rows of its table without the head."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.says: dict[str, str] = {}
        self.numbers: dict[str, Cells] = {}
        self.tiles: list[list[str]] = []
        self._name = ""
        self._into: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        match tag:
            case "section":
                self._name = given.get("id") or ""
            case "div" if given.get("class") == "tile":
                self.tiles.append([])
            case "b" | "span" if self.tiles and not self._name:
                self._into = self.tiles[-1]
                self._into.append("")
            case "p" if self._name:
                self._into = [""]
            case "tbody" if self._name:
                self.numbers[self._name] = []
            case "tr" if self._name in self.numbers:
                self.numbers[self._name].append([])
            case "td" | "th" if self._name in self.numbers:
                self._into = self.numbers[self._name][-1]
                self._into.append("")

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "p" and self._name and self._into:
            self.says[self._name] = self._into[0]
        if tag in {"p", "td", "th", "b", "span"}:
            self._into = None
        if tag == "section":
            self._name = ""


class Expected:
    """The same of rows of silver, by service."""

    def __init__(self, silver: Mapping[str, Sequence[Row]], zones: Mapping[int, tuple[str, str]]) -> None:
        self.every = [(service, trip) for service, trips in sorted(silver.items()) for trip in trips]
        self.accepted = [(service, trip) for service, trip in self.every if trip["rejection_reason"] is None]
        loaded = {(service, trip["file_month"]) for service, trip in self.every}
        self.inside = [(s, t) for s, t in self.accepted if (s, t["pickup_date"].replace(day=1)) in loaded]
        self.services = sorted(silver)
        self.zones = zones

    def numbers(self) -> dict[str, Cells]:
        """The rows of each table."""
        return {
            "trips-by-day": self._days(),
            "revenue-by-hour": self._hours(),
            "trips-by-weekday": self._weekdays(),
            "charges-by-month": self._charges(),
            "cards-by-month": self._cards(),
            "boroughs": self._boroughs(),
            "routes": self._routes(),
            "quality": self._quality(),
        }

    def tiles(self) -> list[list[str]]:
        """The numbers at the top; that of all that was charged is short, and not worked out here."""
        n, days = len(self.inside), len({trip["pickup_date"] for _, trip in self.inside})
        rejected = 1 - len(self.accepted) / len(self.every)
        return [
            [f"{n:,}", "trips"],
            [f"{n / days:,.0f}", "trips a day"],
            [f"${self._sum('total_amount') / n:,.2f}", "a trip"],
            [str(len({trip["file_month"] for _, trip in self.every})), "months"],
            [f"{rejected:.2%}", "of rows rejected"],
        ]

    def says(self) -> dict[str, list[str]]:
        """What the sentence above each chart must have in it."""
        days = Counter(trip["pickup_date"] for _, trip in self.inside)
        busiest = min(day for day in days if days[day] == max(days.values()))
        hours: dict[int, Decimal] = defaultdict(Decimal)
        for _, trip in self.inside:
            hours[trip["pickup_hour"]] += trip["total_amount"] or 0
        hour = max(hours, key=lambda h: hours[h])
        week = self._averages()
        best = max(week, key=lambda key: week[key])
        ends = Counter((self._borough(t, "pickup"), self._borough(t, "dropoff")) for _, t in self.accepted)
        pairs = Counter((self._zone(t, "pickup"), self._zone(t, "dropoff")) for _, t in self.accepted)
        most, total = ends.most_common(1)[0][1], len(self.accepted)
        frequent = sum(n for _, n in pairs.most_common(20))
        paid, charged = self._sum("total_amount"), self._sum("fare_amount")
        bad = Counter(trip["rejection_reason"] for _, trip in self.every if trip["rejection_reason"])
        wrong = sum(bad.values())
        return {
            "trips-by-day": [
                f"{len(self.inside):,} trips on {len(days):,} days, from {min(days)} to {max(days)}.",
                f"{DAYS[busiest.weekday()]}, {busiest}, with {days[busiest]:,} trips.",
            ],
            "revenue-by-hour": [f"from {hour:02}:00 to ", f"${hours[hour]:,.2f}, {hours[hour] / paid:.1%} of all."],
            "trips-by-weekday": [
                f"on a {DAYS[best[0]]} from {best[1]:02}:00 to ",
                f": {week[best]:,.1f} trips on average",
            ],
            "charges-by-month": [
                f"charged ${paid:,.2f}, ${paid / len(self.inside):,.2f} a trip",
                f"{charged / paid:.1%} fares",
                f"{self._sum('tip_amount') / paid:.1%} tips",
                f"{self._sum('tolls_amount') / paid:.1%} tolls",
                f"{self._sum(*SURCHARGES) / paid:.1%} surcharges",
            ],
            "cards-by-month": [
                f"{sum(t['payment_type_id'] == 1 for _, t in self.inside) / len(self.inside):.1%} of trips"
            ],
            "boroughs": [f": {most / total:.1%} of {total:,} trips."],
            "routes": [
                f"The {min(len(pairs), 20)} pairs of zones below have {frequent / total:.1%} of {total:,} trips."
            ],
            "quality": [
                f"{wrong:,} of {len(self.every):,} rows are rejected, {wrong / len(self.every):.2%}.",
                f"of {max(bad.values()):,} rows.",
            ],
        }

    def _sum(self, *names: str) -> Decimal:
        return sum((trip.get(name) or Decimal(0) for _, trip in self.inside for name in names), Decimal(0))

    def _zone(self, trip: Row, end: str) -> int:
        return int(trip[f"{end}_location_id"] or UNKNOWN)

    def _borough(self, trip: Row, end: str) -> str:
        return self.zones[self._zone(trip, end)][1]

    def _days(self) -> Cells:
        days = [trip["pickup_date"] for _, trip in self.inside]
        written = "%Y-%m-%d" if (max(days) - min(days)).days < 400 else "%Y-%m"
        counts = Counter((trip["pickup_date"].strftime(written), service) for service, trip in self.inside)
        return self._by_service(counts, "{:,}")

    def _hours(self) -> Cells:
        revenue: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for service, trip in self.inside:
            revenue[f"{trip['pickup_hour']:02}:00", service] += trip["total_amount"] or 0
        return self._by_service(revenue, "${:,.2f}")

    def _by_service(self, values: Mapping[tuple[str, str], Any], written: str) -> Cells:
        return [
            [
                key,
                *(written.format(values[key, s]) if (key, s) in values else "" for s in self.services),
                *(
                    [written.format(sum(values.get((key, s), 0) for s in self.services))]
                    if len(self.services) > 1
                    else []
                ),
            ]
            for key in sorted({key for key, _ in values})
        ]

    def _averages(self) -> dict[tuple[int, int], float]:
        days = {trip["pickup_date"] for _, trip in self.inside}
        trips = Counter((trip["pickup_date"].weekday(), trip["pickup_hour"]) for _, trip in self.inside)
        return {key: n / sum(day.weekday() == key[0] for day in days) for key, n in sorted(trips.items())}

    def _weekdays(self) -> Cells:
        found = self._averages()
        return [[f"{h:02}:00", *(f"{found.get((w, h), 0):,.1f}" for w in range(7))] for h in range(24)]

    def _months(self) -> dict[date, list[Row]]:
        months: dict[date, list[Row]] = defaultdict(list)
        for _, trip in self.inside:
            months[trip["pickup_date"].replace(day=1)].append(trip)
        return dict(sorted(months.items()))

    def _charges(self) -> Cells:
        rows = []
        for month, trips in self._months().items():
            sums = [
                sum((trip.get(name) or Decimal(0) for trip in trips for name in names), Decimal(0))
                for names in (("fare_amount",), ("tip_amount",), ("tolls_amount",), SURCHARGES, ("total_amount",))
            ]
            rows.append(
                [
                    f"{month:%Y-%m}",
                    *(f"${amount:,.2f}" for amount in sums),
                    f"{len(trips):,}",
                    f"${sums[-1] / len(trips):,.2f}",
                ]
            )
        return rows

    def _cards(self) -> Cells:
        trips, cards = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for service, trip in self.inside:
            key = f"{trip['pickup_date']:%Y-%m}", service
            trips[key] += 1
            cards[key] += trip["payment_type_id"] == 1
        shares = {key: cards[key] / trips[key] for key in trips}
        return [
            [month, *(f"{shares[month, s]:.1%}" if (month, s) in shares else "" for s in self.services)]
            for month in sorted({month for month, _ in shares})
        ]

    def _boroughs(self) -> Cells:
        trips = Counter((self._borough(t, "pickup"), self._borough(t, "dropoff")) for _, t in self.accepted)
        sizes = Counter(self._borough(t, end) for _, t in self.accepted for end in ("pickup", "dropoff"))
        names = sorted(sizes, key=lambda name: (-sizes[name], name))
        return [[start, *(f"{trips[start, end]:,}" for end in names)] for start in names]

    def _routes(self) -> Cells:
        groups: dict[tuple[int, int], list[Row]] = defaultdict(list)
        for _, trip in self.accepted:
            groups[self._zone(trip, "pickup"), self._zone(trip, "dropoff")].append(trip)
        return [
            [
                ", ".join(self.zones[start]),
                ", ".join(self.zones[end]),
                f"{len(trips):,}",
                f"{len(trips) / len(self.accepted):.2%}",
                f"{sum(t['trip_distance'] or 0 for t in trips) / len(trips):,.2f}",
                f"{sum(t['duration_seconds'] for t in trips) / 60 / len(trips):,.1f}",
                f"${sum(t['fare_amount'] or 0 for t in trips) / len(trips):,.2f}",
            ]
            for (start, end), trips in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:20]
        ]

    def _quality(self) -> Cells:
        reasons = Counter(trip["rejection_reason"] for _, trip in self.every)
        names = sorted((name for name in reasons if name), key=lambda name: -reasons[name])
        found = Counter((s, f"{t['file_month']:%Y-%m}", t["rejection_reason"]) for s, t in self.every)
        return [
            [
                service,
                month,
                f"{sum(n for key, n in found.items() if key[:2] == (service, month)):,}",
                *(f"{found[service, month, name]:,}" for name in (None, *names)),
            ]
            for service, month in sorted({key[:2] for key in found})
        ]


def check(html: str, silver: Mapping[str, Sequence[Row]], zones: Mapping[int, tuple[str, str]]) -> None:
    """Compare each number of a page with rows of silver."""
    page, expected = Page(html), Expected(silver, zones)
    for name, rows in expected.numbers().items():
        found = page.numbers[name]
        if name == "quality":  # reasons of equally many rows may stand in any order
            assert [row[:4] for row in found] == [row[:4] for row in rows]
            assert [sorted(row) for row in found] == [sorted(row) for row in rows]
        elif name == "routes":  # means of a mart's means, which have four places
            assert [row[:4] for row in found] == [row[:4] for row in rows]
            for place, unit in ((4, 0.01), (5, 0.1), (6, 0.01)):
                means = [[float(row[place].strip("$").replace(",", "")) for row in table] for table in (found, rows)]
                assert means[0] == pytest.approx(means[1], abs=unit * 1.001)
        else:
            assert found == rows, f"{name}: {[row for row in found if row not in rows][:3]}"
    for name, parts in expected.says().items():
        for part in parts:
            assert part in page.says[name]
    assert [tile for tile in page.tiles if tile[1] != "charged"] == expected.tiles()
