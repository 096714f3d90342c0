"""A small embedded lakehouse for tests: land generated or hand-made months, load them, look at them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from tests.parsed import give_parse

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.engines import Engine, open_engine
from lakehouse.history.history import HistoryRow, history
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import Landed, Landing, open_landing
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month


@dataclass
class Lake:
    """Settings and what they open. Catalog handles are fresh at every use, as in separate commands."""

    settings: Settings
    scratch: Path

    @property
    def catalog(self) -> Catalog:
        """A fresh handle."""
        return open_catalog(self.settings)

    @cached_property
    def landing(self) -> Landing:
        """The landing zone."""
        return open_landing(self.settings)

    @cached_property
    def engine(self) -> Engine:
        """The target's SQL engine."""
        return open_engine(self.settings)

    def table(self, name: str) -> Table:
        """A fresh handle on an Iceberg table."""
        return self.catalog.load_table(name)

    def generate(self, dataset: str, month: str, rows: int, seed: int = 0, **options: Any) -> Path:
        """A synthetic month, as the publisher would name it."""
        folder = self.scratch / f"{seed}-{rows}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / DATASETS[dataset].file_name(Month.parse(month))
        return write_month(path, dataset, Month.parse(month), rows, seed=seed, **options)

    def write(self, dataset: str, month: str, table: pa.Table, **options: Any) -> Path:
        """A hand-made file under the published name."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        path = self.scratch / DATASETS[dataset].file_name(Month.parse(month))
        pq.write_table(table, path, **options)
        return path

    def land(self, dataset: str, month: str, file: Path, origin: str = "test") -> Landed:
        """Land a file, or a newer version of it."""
        return self.landing.put(DatasetFile(dataset, Month.parse(month)), file, origin)

    def load(self, dataset: str, month: str, file: Path | None = None, **options: Any) -> LoadResult:
        """Load a month; with `file`, land that first."""
        if file is not None:
            self.land(dataset, month, file)
        return load(self.catalog, self.landing, DatasetFile(dataset, Month.parse(month)), **options)

    def give_parse(self) -> None:
        """Take over dbt's parse of the project, before the first build."""
        give_parse({"LAKEHOUSE_TARGET": self.settings.target, "LAKEHOUSE_HOME": str(self.settings.home)})

    def history(self, table: str) -> list[HistoryRow]:
        """The table's snapshots, oldest first."""
        return history(self.engine, table)

    def rows(self, sql: str, as_of: str | None = None) -> list[dict[str, Any]]:
        """The rows of a query."""
        rows: list[dict[str, Any]] = self.engine.query(sql, as_of=as_of).to_pylist()
        return rows
