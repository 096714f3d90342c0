"""The report: a page about the lakehouse's history and one about the trips; the history also as markdown and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.engines import Engine, open_engine
from lakehouse.iceberg.catalog import open_catalog, service_errors
from lakehouse.landing import open_landing
from lakehouse.report.collect import Facts, collect
from lakehouse.report.dashboard import Dashboard, ask
from lakehouse.report.markdown import as_markdown
from lakehouse.report.page import DASHBOARD_PAGE, SNAPSHOTS_PAGE, as_dashboard, as_page
from lakehouse.settings import Settings, project_dir

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

__all__ = ["Dashboard", "Facts", "Report", "make_report", "reports_dir"]


@dataclass(frozen=True)
class Report:
    """One report: its history in three forms, and the dashboard."""

    facts: Facts
    dashboard: Dashboard

    @property
    def markdown(self) -> str:
        """For Dagster and terminals."""
        return as_markdown(self.facts)

    @property
    def json(self) -> dict[str, Any]:
        """For programs."""
        return self.facts.as_dict()

    @property
    def html(self) -> str:
        """The page about snapshots: no script, no network."""
        return as_page(self.facts)

    @property
    def dashboard_html(self) -> str:
        """The page about trips: no script, no network."""
        return as_dashboard(self.dashboard)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both pages, each whole or not at all: return where that about snapshots and the dashboard are."""
        folder.mkdir(parents=True, exist_ok=True)
        return _write(folder / SNAPSHOTS_PAGE, self.html), _write(folder / DASHBOARD_PAGE, self.dashboard_html)


def _write(path: Path, text: str) -> Path:
    scratch = path.with_suffix(".tmp")
    try:
        scratch.write_text(text, encoding="utf-8")
        return scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def reports_dir() -> Path:
    """Where the pages go."""
    return project_dir() / "reports"


def make_report(settings: Settings, *, engine: Engine | None = None, catalog: Catalog | None = None) -> Report:
    """Collect the report of the target.

    Args:
        settings: which lakehouse.
        engine: an open engine to ask; made and closed here if absent.
        catalog: an open catalog; made here if absent.
    """
    asked = engine or open_engine(settings)
    try:
        tables = catalog or open_catalog(settings)
        with service_errors(tables):
            landing = open_landing(settings)
            facts = collect(asked, tables, landing, settings.target)
            return Report(facts, ask(asked, tables, facts.loaded, settings.target))
    finally:
        if engine is None:
            asked.close()
