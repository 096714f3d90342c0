"""The report: what the lakehouse's history is, as a page to look at, as markdown, and as JSON for programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.engines import Engine, open_engine
from lakehouse.iceberg.catalog import open_catalog, service_errors
from lakehouse.landing import open_landing
from lakehouse.report.collect import Facts, collect
from lakehouse.report.markdown import as_markdown
from lakehouse.report.page import as_page
from lakehouse.settings import Settings, project_dir

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

__all__ = ["Facts", "Report", "make_report", "report_file"]


@dataclass(frozen=True)
class Report:
    """One report in its three forms."""

    facts: Facts

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
        """One self-contained page: no script, no network."""
        return as_page(self.facts)

    def write(self, path: Path) -> Path:
        """Write the page, whole or not at all, and return where it is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".tmp")
        try:
            scratch.write_text(self.html, encoding="utf-8")
            return scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def report_file() -> Path:
    """Where the page goes."""
    return project_dir() / "reports" / "snapshots.html"


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
            return Report(collect(asked, tables, open_landing(settings), settings.target))
    finally:
        if engine is None:
            asked.close()
