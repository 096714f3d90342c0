"""The report's two pages: Jinja templates beside this file, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lakehouse.datasets.registry import monthly
from lakehouse.history.tree import size
from lakehouse.report.charts import ACCEPTED, WIDTH, daily, growth, reasons_of, rejected, short
from lakehouse.report.collect import COUNTED, OPERATIONS, Facts
from lakehouse.report.dashboard import QUESTIONS, Dashboard
from lakehouse.report.panels import Row, money

SNAPSHOTS_PAGE, DASHBOARD_PAGE = "snapshots.html", "dashboard.html"
SHOWN_MONTHS, SHOWN_SNAPSHOTS, SHOWN_MANIFESTS, SHOWN_FILES = 120, 40, 12, 12
SHOWN_GENERATED = 12


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Templates of this package, with everything escaped that they are given."""
    environment = Environment(
        loader=PackageLoader("lakehouse.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda value: "" if value is None else f"{value:,}",
        "size": size,
        "time": lambda moment: f"{moment:%Y-%m-%d %H:%M}" if isinstance(moment, datetime) else "",
        "file": lambda path: str(path).rsplit("/", 1)[-1],
        "percent": lambda share: f"{share:.2%}",
    }
    return environment


def _rendered(page: str, **values: Any) -> str:
    """The text of a page, made from its template."""
    return _environment().get_template(f"{page}.j2").render(width=WIDTH, **values)


def as_page(facts: Facts) -> str:
    """The text of the page about snapshots."""
    raw = [t for t in facts.tables if t.table in {dataset.table for dataset in monthly()}]
    travel_services = sorted({d.service_type for d in facts.travel.days}) if facts.travel else []
    services = sorted({q.service_type for q in facts.quality})
    all_rows = sum(q.trips for q in facts.quality)
    rejected_rows = sum(q.trips for q in facts.quality if q.reason != ACCEPTED)
    colours: dict[tuple[str, int], int] = {}
    for found in facts.trees:  # a snapshot has one colour in its table's tree
        makers = dict.fromkeys(m.added_by for m in found.manifests)
        colours |= {(found.table, maker): i % 6 for i, maker in enumerate(reversed(makers))}
    return _rendered(
        SNAPSHOTS_PAGE,
        facts=facts,
        other_page=DASHBOARD_PAGE,
        counted=COUNTED,
        operations=OPERATIONS,
        raw=raw,
        last_load=last_load(facts),
        rejected_share=rejected_rows / all_rows if all_rows else None,
        growth=[(t, growth(t.snapshots, f"{t.table}: rows by snapshot")) for t in raw],
        travel=[(service, daily(facts.travel.days, service)) for service in travel_services if facts.travel],
        quality=[(service, rejected(facts.quality, service)) for service in services],
        reasons=reasons_of(facts.quality),
        reason_rows={r: sum(q.trips for q in facts.quality if q.reason == r) for r in reasons_of(facts.quality)},
        by_dataset=[(name, list(rows)) for name, rows in groupby(facts.loaded, key=lambda m: m.dataset)],
        colours=colours,
        shown_months=SHOWN_MONTHS,
        shown_snapshots=SHOWN_SNAPSHOTS,
        shown_manifests=SHOWN_MANIFESTS,
        shown_files=SHOWN_FILES,
    )


def last_load(facts: Facts) -> datetime | None:
    """When the newest load was made that no rollback took back."""
    loads = [s.committed_at for t in facts.tables for s in t.snapshots if s.part and not s.rolled_back]
    return max(loads, default=None)


def as_dashboard(dashboard: Dashboard) -> str:
    """The text of the page about trips."""
    rows, missing = dashboard.rows, dashboard.missing
    return _rendered(
        DASHBOARD_PAGE,
        dashboard=dashboard,
        other_page=SNAPSHOTS_PAGE,
        tiles=_tiles(dashboard),
        panels=[(name, found, found.draw(rows[name])) for name, found in QUESTIONS.items() if rows.get(name)],
        unanswered=[(name, found, missing[name]) for name, found in QUESTIONS.items() if name in missing],
        outside=_outside(dashboard),
        shown_generated=SHOWN_GENERATED,
    )


def _tiles(dashboard: Dashboard) -> list[tuple[str, str]]:
    """The numbers at the top, each with its words; those that can't be known are left out."""
    tiles = []
    if days := dashboard.rows.get("trips-by-day"):
        trips, dates = sum(row["trips"] for row in days), {row["pickup_date"] for row in days}
        tiles += [(f"{trips:,}", "trips"), (f"{trips / len(dates):,.0f}", "trips a day")]
    if months := dashboard.rows.get("charges-by-month"):
        charged, trips = (sum(row[name] for row in months) for name in ("total_amount", "trips"))
        tiles += [(f"${short(float(charged))}", "charged"), (money(charged / trips), "a trip")]
    if quality := dashboard.rows.get("quality"):
        rows, accepted = sum(row["trips"] for row in quality), _accepted(quality)
        tiles += [
            (f"{len({row['file_month'] for row in quality}):,}", "months"),
            (f"{(rows - accepted) / rows:.2%}", "of rows rejected"),
        ]
    return tiles


def _outside(dashboard: Dashboard) -> int:
    """How many accepted trips began outside the loaded months."""
    days, quality = dashboard.rows.get("trips-by-day"), dashboard.rows.get("quality")
    return _accepted(quality) - sum(row["trips"] for row in days) if days and quality else 0


def _accepted(quality: Sequence[Row]) -> int:
    return sum(row["trips"] for row in quality if row["rejection_reason"] == ACCEPTED)
