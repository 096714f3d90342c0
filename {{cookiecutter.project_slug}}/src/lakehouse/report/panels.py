"""The dashboard's panels: rows of an answer become one sentence, plots, and a table that holds the same numbers."""

from __future__ import annotations

import calendar
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from lakehouse.report.charts import ACCEPTED, SHOWN_QUALITY, Piece, Plot, columns, daily, heat, reasons_of, rejected
from lakehouse.report.collect import SHOWN_DAYS, Day, quality_of

Row: TypeAlias = Mapping[str, Any]
Number: TypeAlias = int | float | Decimal

HOURS, WEEKDAYS = range(24), tuple(calendar.day_name)
SHOWN_BOROUGHS = 10
TALL = 340.0  # of a plot that has half the page
OTHERS = "all others"
OWN_COLOUR = ("yellow", "green")
PARTS = {"fare_amount": "fares", "tip_amount": "tips", "tolls_amount": "tolls", "surcharge_amount": "surcharges"}


@dataclass(frozen=True)
class Figure:
    """A plot, the macro that draws it, and the class that gives its colour."""

    plot: Plot
    style: Literal["columns", "travel", "stacked", "heat"]
    colour: str = ""


@dataclass(frozen=True)
class Numbers:
    """A table as text. The first `words` cells of a row are words; `strengths` colour the others, from 0 to 1."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    strengths: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Panel:
    """The answer to a question. `legend` has a colour and a text each. A panel without figures shows its table."""

    says: str
    numbers: Numbers
    figures: tuple[Figure, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    wide: bool = False


def colours(services: Iterable[str]) -> dict[str, str]:
    """A class of the page's style for each service: yellow and green have their own."""
    names = sorted(set(services))
    others = [name for name in names if name not in OWN_COLOUR]
    return {name: name if name in OWN_COLOUR else f"reason-{(others.index(name) + 1) % 7}" for name in names}


def money(amount: Number) -> str:
    """Dollars and cents."""
    return f"-${-amount:,.2f}" if amount < 0 else f"${amount:,.2f}"


def by_day(rows: Sequence[Row]) -> Panel:
    """Trips by day, a plot for each service; by month where there are more than SHOWN_DAYS days."""
    shades = colours(row["service_type"] for row in rows)
    days: Counter[date] = Counter()
    for row in rows:
        days[row["pickup_date"]] += row["trips"]
    first, last = min(days), max(days)
    busiest = max(days, key=lambda day: (days[day], -day.toordinal()))
    short = (last - first).days < SHOWN_DAYS
    counts: Counter[tuple[str, date]] = Counter()
    for row in rows:
        counts[row["service_type"], row["pickup_date"] if short else row["pickup_date"].replace(day=1)] += row["trips"]
    if short:
        every = [Day(service, day, 0, trips) for (service, day), trips in counts.items()]
        figures = [Figure(daily(every, service), "travel", shade) for service, shade in shades.items()]
    else:
        figures = [_by_month(counts, service, shade, "trips", "{:,} trips".format) for service, shade in shades.items()]
    written = "{:%Y-%m-%d}".format if short else "{:%Y-%m}".format
    return Panel(
        says=(
            f"{sum(days.values()):,} trips on {len(days):,} days, from {first} to {last}. The busiest day was "
            f"{busiest:%A}, {busiest}, with {days[busiest]:,} trips."
        ),
        numbers=_by_service(
            "day" if short else "month",
            {(service, written(when)): trips for (service, when), trips in counts.items()},
            "{:,}".format,
        ),
        figures=tuple(figures),
        wide=True,
    )


def revenue_by_hour(rows: Sequence[Row]) -> Panel:
    """Revenue by hour of the day, the services on top of each other."""
    shades = colours(row["service_type"] for row in rows)
    revenue = {(row["service_type"], row["pickup_hour"]): row["revenue"] for row in rows}
    hours = [sum(revenue.get((service, hour), Decimal(0)) for service in shades) for hour in HOURS]
    best = max(HOURS, key=lambda hour: hours[hour])
    share = _share(hours[best], sum(hours))
    stacks = [
        [
            Piece(shade, float(amount), f"{_hour(hour)}, {service}: {money(amount)}")
            for service, shade in shades.items()
            if (amount := revenue.get((service, hour)))
        ]
        for hour in HOURS
    ]
    return Panel(
        says=f"Most from {_hour(best)} to {_hour(best + 1)}: {money(hours[best])}, {share} of all.",
        numbers=_by_service("hour", {(s, _hour(hour)): amount for (s, hour), amount in revenue.items()}, money),
        figures=(
            Figure(columns("Revenue in dollars by hour", [str(h) for h in HOURS], stacks, height=TALL), "columns"),
        ),
        legend=_legend(shades),
    )


def by_weekday(rows: Sequence[Row]) -> Panel:
    """Trips in an average hour of each day of the week, all services together."""
    average = {(row["weekday"], row["pickup_hour"]): row["trips"] / row["days"] for row in rows}
    grid = [[average.get((weekday, hour), 0.0) for hour in HOURS] for weekday in range(7)]
    weekday, hour = max(average, key=lambda key: (average[key], -key[0], -key[1]))
    titles = [[f"{WEEKDAYS[w]} {_hour(h)}: {grid[w][h]:,.1f} trips" for h in HOURS] for w in range(7)]
    label = "Trips in an average hour, by weekday and hour of pickup"
    plot = heat(label, [name[:3] for name in WEEKDAYS], [f"{h}" for h in HOURS], grid, titles)
    return Panel(
        says=(
            f"Most on a {WEEKDAYS[weekday]} from {_hour(hour)} to {_hour(hour + 1)}: "
            f"{average[weekday, hour]:,.1f} trips on average. The deeper the colour, the more trips."
        ),
        numbers=Numbers(
            ("hour", *(name[:3] for name in WEEKDAYS)),
            tuple((_hour(h), *(f"{grid[w][h]:,.1f}" for w in range(7))) for h in HOURS),
        ),
        figures=(Figure(plot, "heat"),),
    )


def boroughs(rows: Sequence[Row]) -> Panel:
    """Trips from borough to borough; small ones together where there are more than SHOWN_BOROUGHS."""
    sizes: Counter[str] = Counter()
    for row in rows:
        for end in ("pickup_borough", "dropoff_borough"):
            sizes[row[end]] += row["trips"]
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    shown = names if len(names) <= SHOWN_BOROUGHS else [*names[: SHOWN_BOROUGHS - 1], OTHERS]
    trips: Counter[tuple[str, str]] = Counter()
    for row in rows:
        start, end = (row[end] if row[end] in shown else OTHERS for end in ("pickup_borough", "dropoff_borough"))
        trips[start, end] += row["trips"]
    (start, end), most = max(trips.items(), key=lambda item: (item[1], item[0]))
    total = sum(trips.values())
    return Panel(
        says=f"Most from {start} to {end}: {_share(most, total)} of {total:,} trips. A row is where they begin.",
        numbers=Numbers(
            ("from / to", *shown),
            tuple((start, *(f"{trips[start, end]:,}" for end in shown)) for start in shown),
            strengths=tuple(tuple((trips[start, end] / most) ** 0.5 for end in shown) for start in shown),
        ),
        wide=True,
    )


def routes(rows: Sequence[Row]) -> Panel:
    """The pairs of zones with the most trips, all services together."""
    total, shown = rows[0]["all_trips"], sum(row["trips"] for row in rows)
    return Panel(
        says=f"The {len(rows)} pairs of zones below have {_share(shown, total)} of {total:,} trips.",
        numbers=Numbers(
            ("from", "to", "trips", "of all", "miles", "minutes", "fare"),
            tuple(
                (
                    f"{row['pickup_zone']}, {row['pickup_borough']}",
                    f"{row['dropoff_zone']}, {row['dropoff_borough']}",
                    f"{row['trips']:,}",
                    _share(row["trips"], total, 2),
                    f"{row['miles']:,.2f}",
                    f"{row['minutes']:,.1f}",
                    money(row["fare"]),
                )
                for row in rows
            ),
            words=2,
            strengths=tuple((row["trips"] / rows[0]["trips"], 0, 0, 0, 0) for row in rows),
        ),
        wide=True,
    )


def cards(rows: Sequence[Row]) -> Panel:
    """The share of trips that were paid by card, by month and service."""
    shades = colours(row["service_type"] for row in rows)
    shares = {(row["service_type"], row["month"]): float(row["card_trips"] / row["trips"]) for row in rows}
    paid = sum(row["card_trips"] for row in rows) / sum(row["trips"] for row in rows)
    return Panel(
        says=f"{paid:.1%} of trips were paid by card. The marts do not say how the others were paid.",
        numbers=_by_service(
            "month", {(s, f"{month:%Y-%m}"): x for (s, month), x in shares.items()}, "{:.1%}".format, add=False
        ),
        figures=tuple(
            _by_month(shares, service, shade, "share paid by card", "{:.1%}".format, axis="{:.0%}".format, height=TALL)
            for service, shade in shades.items()
        ),
    )


def charges(rows: Sequence[Row]) -> Panel:
    """What passengers were charged by month, in its parts, all services together."""
    sums = {part: sum(row[part] for row in rows) for part in (*PARTS, "total_amount", "trips")}
    total = sums["total_amount"]
    kinds = {
        part: f"reason-{i}" for i, part in enumerate(("tolls_amount", "fare_amount", "surcharge_amount", "tip_amount"))
    }
    names = [f"{row['month']:%Y-%m}" for row in rows]
    stacks = [
        [Piece(kinds[part], float(row[part]), f"{name}, {word}: {money(row[part])}") for part, word in PARTS.items()]
        for name, row in zip(names, rows, strict=True)
    ]
    return Panel(
        says=(
            f"Passengers were charged {money(total)}, {money(total / sums['trips'])} a trip: "
            + ", ".join(f"{_share(sums[part], total)} {word}" for part, word in PARTS.items())
            + ". Tips in cash are not recorded."
        ),
        numbers=Numbers(
            ("month", *PARTS.values(), "charged", "trips", "a trip"),
            tuple(
                (
                    name,
                    *(money(row[part]) for part in (*PARTS, "total_amount")),
                    f"{row['trips']:,}",
                    money(row["total_amount"] / row["trips"]),
                )
                for name, row in zip(names, rows, strict=True)
            ),
        ),
        figures=(Figure(columns("Charges in dollars by month", names, stacks, height=TALL), "columns"),),
        legend=tuple((kinds[part], word) for part, word in PARTS.items()),
    )


def quality(rows: Sequence[Row]) -> Panel:
    """Rejected rows by month and reason, a plot for each service."""
    found = quality_of(rows)
    reasons, services = reasons_of(found), sorted({row.service_type for row in found})
    months = {name: sorted({q.month for q in found if q.service_type == name})[-SHOWN_QUALITY:] for name in services}
    counts = {(q.service_type, q.month, q.reason): q.trips for q in found}
    total, bad = sum(q.trips for q in found), sum(q.trips for q in found if q.reason != ACCEPTED)
    by_reason = {reason: sum(q.trips for q in found if q.reason == reason) for reason in reasons}
    most = f" The most frequent reason is {reasons[0]}, of {by_reason[reasons[0]]:,} rows." if reasons else ""
    return Panel(
        says=f"{bad:,} of {total:,} rows are rejected, {_share(bad, total, 2)}.{most}",
        numbers=Numbers(
            ("service", "month", "rows", ACCEPTED, *reasons),
            tuple(
                (
                    name,
                    month,
                    f"{sum(n for (s, m, _), n in counts.items() if (s, m) == (name, month)):,}",
                    *(f"{counts.get((name, month, reason), 0):,}" for reason in (ACCEPTED, *reasons)),
                )
                for name in services
                for month in months[name]
            ),
            words=2,
        ),
        figures=tuple(Figure(rejected(found, name), "stacked") for name in services),
        legend=tuple((f"reason-{i}", f"{reason} {by_reason[reason]:,}") for i, reason in enumerate(reasons)),
        wide=True,
    )


def _by_month(
    values: Mapping[tuple[str, date], Number],
    service: str,
    shade: str,
    what: str,
    written: Callable[[Number], str],
    **axis: Any,
) -> Figure:
    """Columns by month of one service. Months without a value in between are empty."""
    months = sorted({month for _, month in values})
    pieces = [
        [Piece(shade, float(values[service, month]), f"{month:%Y-%m}, {service}: {written(values[service, month])}")]
        if (service, month) in values
        else []
        for month in months
    ]
    return Figure(
        columns(f"{service}: {what} by month", [f"{m:%Y-%m}" for m in months], pieces, **axis), "columns", shade
    )


def _by_service(
    key: str, values: Mapping[tuple[str, str], Any], written: Callable[[Any], str], *, add: bool = True
) -> Numbers:
    """A line for each key, a column for each service, and one for all where there are several that can be added."""
    services = sorted({service for service, _ in values})
    rows = []
    for name in sorted({name for _, name in values}):
        found = [values[service, name] for service in services if (service, name) in values]
        cells = [written(values[service, name]) if (service, name) in values else "" for service in services]
        rows.append((name, *cells, *([written(sum(found))] if add and len(services) > 1 else [])))
    return Numbers((key, *services, *(["all"] if add and len(services) > 1 else [])), tuple(rows))


def _legend(shades: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((shade, service) for service, shade in shades.items())


def _hour(hour: int) -> str:
    return f"{hour:02}:00"


def _share(part: Number, whole: Number, places: int = 1) -> str:
    return f"{float(part) / float(whole) if whole else 0:.{places}%}"
