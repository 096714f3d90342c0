"""The plots' geometry: values become coordinates here, and the template draws them as SVG in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from lakehouse.history.history import HistoryRow
from lakehouse.report.collect import Day, Quality

WIDTH, HEIGHT = 720.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 16.0, 14.0, 30.0
SHOWN_SNAPSHOTS, SHOWN_QUALITY = 36, 24
ACCEPTED = "accepted"


@dataclass(frozen=True)
class Tick:
    """A label on an axis, and where it stands."""

    at: float
    text: str


@dataclass(frozen=True)
class Bar:
    """A rectangle with the words that a pointer over it shows. `strength`, from 0 to 1, is how deep its colour is."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str
    strength: float = 1.0


@dataclass(frozen=True)
class Piece:
    """One piece of a column: its kind, which is its colour, how much it is, and its words."""

    kind: str
    value: float
    title: str


@dataclass(frozen=True)
class Line:
    """Days without a gap, of one version: the points, and the area under them."""

    version: str
    points: str
    area: str


@dataclass(frozen=True)
class Plot:
    """A drawing of WIDTH by `height`."""

    label: str
    height: float = HEIGHT
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    left: float = LEFT
    right: float = WIDTH - RIGHT
    bottom: float = HEIGHT - BOTTOM


def short(count: float) -> str:
    """A count for an axis: `2.5 M`, `68 k`, `265`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count:.3g}"


def nice_steps(top: float, wanted: int = 4) -> list[float]:
    """Round values from 0 to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    raw = top / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw)
    return [step * i for i in range(math.ceil(top / step - 1e-9) + 1)]


def columns(
    label: str,
    names: Sequence[str],
    stacks: Sequence[Sequence[Piece]],
    *,
    axis: Callable[[float], str] = short,
    least: float = 1.0,
    height: float = HEIGHT,
) -> Plot:
    """One column for each name, its pieces on top of each other. The axis goes to `least` at least."""
    steps = nice_steps(max([least, *(sum(piece.value for piece in stack) for stack in stacks)]))
    bottom, top = height - BOTTOM, steps[-1]
    slot = (WIDTH - LEFT - RIGHT) / max(len(names), 1)
    width = min(slot * 0.72, 54.0)
    # where a page is narrow, a letter is ten units wide
    every = math.ceil(max([0, *map(len, names)]) * 10 / slot)

    def y(value: float) -> float:
        return bottom - value / top * (bottom - TOP)

    bars, ticks = [], []
    for i, (name, stack) in enumerate(zip(names, stacks, strict=True)):
        x, low = LEFT + slot * (i + 0.5) - width / 2, 0.0
        for piece in stack:
            if piece.value > 0:
                high = low + piece.value
                bars.append(Bar(x, y(high), width, max(y(low) - y(high), 0.8), piece.kind, piece.title))
                low = high
        if i % every == 0:
            ticks.append(Tick(x + width / 2, name))
    return Plot(
        label,
        height=height,
        x_ticks=tuple(ticks),
        y_ticks=tuple(Tick(y(s), axis(s)) for s in steps),
        bars=tuple(bars),
        bottom=bottom,
    )


def growth(snapshots: Sequence[HistoryRow], label: str) -> Plot:
    """Rows by snapshot: what each load kept, added and took away, in the order of the commits.

    What a rollback took back is drawn as gone, whole.
    """
    shown = list(snapshots)[-SHOWN_SNAPSHOTS:]
    return columns(label, [s.part or s.operation for s in shown], [_change(s) for s in shown])


def _change(snapshot: HistoryRow) -> list[Piece]:
    total = snapshot.total_rows or 0
    kept = max(total - snapshot.added_rows, 0)
    pieces = [
        ("kept", "kept", kept, kept),
        ("added", "added", total - kept, snapshot.added_rows),
        ("gone", "gone", snapshot.deleted_rows, snapshot.deleted_rows),
    ]
    name, where = snapshot.part or snapshot.operation, f"(snapshot {snapshot.snapshot_id}, {total:,} rows in all)"
    return [
        Piece(kind, rows, f"{name}: {count:,} rows {what} {where}")
        for kind, what, rows, count in ([("gone", "rolled back", total, total)] if snapshot.rolled_back else pieces)
    ]


def daily(days: Sequence[Day], service: str) -> Plot:
    """Trips by day in two versions: the newer one as an area, the older one as a line over it."""
    shown = [d for d in days if d.service_type == service]
    steps = nice_steps(max([1, *(max(d.before, d.after) for d in shown)]))
    bottom, top = HEIGHT - BOTTOM, steps[-1]
    first = min(d.day for d in shown)
    span = max((max(d.day for d in shown) - first).days, 1)

    def point(day: date, value: float) -> str:
        x = LEFT + (day - first).days / span * (WIDTH - LEFT - RIGHT)
        return f"{x:.1f},{bottom - value / top * (bottom - TOP):.1f}"

    lines = []
    for version, counts in (("after", {d.day: d.after for d in shown}), ("before", {d.day: d.before for d in shown})):
        for run in _runs([day for day, count in counts.items() if count]):
            points = " ".join(point(day, counts[day]) for day in (run if len(run) > 1 else run * 2))
            lines.append(Line(version, points, f"{point(run[0], 0)} {points} {point(run[-1], 0)}"))
    return Plot(
        f"{service}: trips a day",
        x_ticks=tuple(Tick(float(point(day, 0).split(",")[0]), text) for day, text in _day_ticks(first, span)),
        y_ticks=tuple(Tick(float(point(first, s).split(",")[1]), short(s)) for s in steps),
        lines=tuple(lines),
    )


def _runs(days: Sequence[date]) -> list[list[date]]:
    """Days in order, cut where one is missing: months that were not loaded draw no line."""
    runs: list[list[date]] = []
    for day in days:
        if runs and (day - runs[-1][-1]).days == 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def _day_ticks(first: date, span: int) -> list[tuple[date, str]]:
    """The first of each month, or every week of a short span."""
    days = [first + timedelta(i) for i in range(span + 1)]
    if span <= 70:
        return [(day, f"{day:%d %b}") for day in days if day.day in (1, 8, 15, 22)]
    firsts = [day for day in days if day.day == 1]
    return [(day, f"{day:%b %Y}") for day in firsts[:: math.ceil(len(firsts) / 8)]]


def rejected(rows: Sequence[Quality], service: str) -> Plot:
    """Shares of rejected rows by month, stacked by reason; the axis ends where the worst month ends."""
    months = sorted({row.month for row in rows if row.service_type == service})[-SHOWN_QUALITY:]
    reasons = reasons_of(rows)
    found = {(r.month, r.reason): r for r in rows if r.service_type == service and r.reason != ACCEPTED}
    worst = max([0.001, *(sum(r.share for (m, _), r in found.items() if m == month) for month in months)])
    steps = nice_steps(worst)
    line, label_width = 26.0, 80.0
    right = WIDTH - RIGHT - 64.0
    bottom = TOP + line * len(months)
    scale = (right - label_width) / steps[-1]
    bars, names = [], []
    for i, month in enumerate(months):
        x, y = label_width, TOP + line * i + 4
        names.append(Tick(y + line / 2, month))
        for reason in reasons:
            if row := found.get((month, reason)):
                kind = f"reason-{reasons.index(reason)}"
                title = f"{month}, {reason}: {row.trips:,} rows, {row.share:.2%}"
                bars.append(Bar(x, y, max(row.share * scale, 0.6), line - 8, kind, title))
                x += row.share * scale
        total = sum(r.share for (m, _), r in found.items() if m == month)
        bars.append(Bar(x + 6, y, 0, line - 8, "total", f"{total:.2%}"))
    return Plot(
        f"{service}: rejected rows by month",
        height=bottom + BOTTOM,
        x_ticks=tuple(Tick(label_width + s * scale, f"{s:.1%}") for s in steps),
        y_ticks=tuple(names),
        bars=tuple(bars),
        left=label_width,
        right=right,
        bottom=bottom,
    )


def heat(
    label: str,
    rows: Sequence[str],
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    titles: Sequence[Sequence[str]],
) -> Plot:
    """A grid of rows by names: the larger a value, the deeper the colour."""
    line = 42.0
    bottom = TOP + line * len(rows)
    slot = (WIDTH - LEFT - RIGHT) / len(names)
    largest = max(value for row in values for value in row) or 1
    bars = [
        Bar(
            LEFT + slot * j, TOP + line * i, slot - 2, line - 2, "heat", titles[i][j], max(values[i][j] / largest, 0.04)
        )
        for i in range(len(rows))
        for j in range(len(names))
    ]
    return Plot(
        label,
        height=bottom + BOTTOM,
        x_ticks=tuple(Tick(LEFT + slot * j + slot / 2 - 1, name) for j, name in enumerate(names)),
        y_ticks=tuple(Tick(TOP + line * i + line / 2 + 3, name) for i, name in enumerate(rows)),
        bars=tuple(bars),
        bottom=bottom,
    )


def reasons_of(rows: Sequence[Quality]) -> list[str]:
    """The reasons that occur, the most frequent first: a reason has one colour in all plots."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.reason != ACCEPTED:
            counts[row.reason] = counts.get(row.reason, 0) + row.trips
    return sorted(counts, key=lambda reason: -counts[reason])
