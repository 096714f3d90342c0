"""The report as one page: Jinja templates beside this file, no script, nothing fetched."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from lakehouse.datasets.registry import monthly
from lakehouse.history.tree import size
from lakehouse.report.charts import ACCEPTED, WIDTH, daily, growth, reasons_of, rejected, short
from lakehouse.report.collect import COUNTED, MART, OPERATIONS, Facts

SHOWN_MONTHS, SHOWN_SNAPSHOTS, SHOWN_MANIFESTS, SHOWN_FILES = 120, 40, 12, 12


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
        "short": short,
        "time": lambda moment: f"{moment:%Y-%m-%d %H:%M}" if isinstance(moment, datetime) else "",
        "file": lambda path: str(path).rsplit("/", 1)[-1],
        "percent": lambda share: f"{share:.2%}",
    }
    return environment


def as_page(facts: Facts) -> str:
    """The page's text."""
    raw = [t for t in facts.tables if t.table in {dataset.table for dataset in monthly()}]
    travel_services = sorted({d.service_type for d in facts.travel.days}) if facts.travel else []
    services = sorted({q.service_type for q in facts.quality})
    all_rows = sum(q.trips for q in facts.quality)
    rejected_rows = sum(q.trips for q in facts.quality if q.reason != ACCEPTED)
    colours: dict[tuple[str, int], int] = {}
    for found in facts.trees:  # a snapshot has one colour in its table's tree
        makers = dict.fromkeys(m.added_by for m in found.manifests)
        colours |= {(found.table, maker): i % 6 for i, maker in enumerate(reversed(makers))}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            facts=facts,
            counted=COUNTED,
            operations=OPERATIONS,
            mart=MART,
            width=WIDTH,
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
    )


def last_load(facts: Facts) -> datetime | None:
    """When the newest load was made that no rollback took back."""
    loads = [s.committed_at for t in facts.tables for s in t.snapshots if s.part and not s.rolled_back]
    return max(loads, default=None)
