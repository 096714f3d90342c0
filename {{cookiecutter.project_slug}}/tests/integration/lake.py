"""A lakehouse on the stack, as the suites use it: empty at first, with months as a test wants them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchNamespaceError
from tests.integration.stack import MARK, Stack, within

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.engines.trino import TrinoEngine
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.identity import FILE, LAYERS
from lakehouse.landing.bucket import BucketLanding
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month, write_zones

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GREEN = "raw.green_trips"


class Lake:
    """Settings, catalog, landing zone and engine of one test."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.settings: Settings = stack.settings(folder / "home")

    @property
    def environment(self) -> dict[str, str]:
        """For a process of its own: this one's environment, with the stack's settings."""
        return {**os.environ, **self.stack.environment, "LAKEHOUSE_HOME": str(self.settings.home)}

    @property
    def catalog(self) -> Catalog:
        """A fresh handle each time."""
        return open_catalog(self.settings)

    @cached_property
    def landing(self) -> BucketLanding:
        """The landing zone in the bucket."""
        return BucketLanding(self.settings)

    @cached_property
    def engine(self) -> TrinoEngine:
        """Trino."""
        return TrinoEngine(self.settings)

    @property
    def s3(self) -> S3Client:
        """The loader's client of the object store."""
        return self.landing.store.s3

    def close(self) -> None:
        """Give back connections."""
        self.engine.close()

    def sql(self, statement: str, *parameters: Any, as_of: str | None = None) -> list[tuple[Any, ...]]:
        """Rows of a statement on Trino, as tuples."""
        table = self.engine.query(statement, parameters, as_of=as_of)
        return [tuple(row.values()) for row in table.to_pylist()]

    def value(self, statement: str, *parameters: Any, as_of: str | None = None) -> Any:
        """The one value of a statement."""
        ((value,),) = self.sql(statement, *parameters, as_of=as_of)
        return value

    def land(self, dataset: str, month: str | None, rows: int = 1000, seed: int = 0) -> None:
        """Put a generated month (or the zone lookup) into the landing zone."""
        file = self.folder / f"{dataset}-{month}-{rows}-{seed}"
        if month is None:
            write_zones(file)
        else:
            write_month(file, dataset, Month.parse(month), rows, seed=seed)
        self.landing.put(DatasetFile(dataset, Month.parse(month) if month else None), file, f"generated:{seed}")

    def load(self, dataset: str, month: str | None, rows: int = 1000, seed: int = 0, **options: Any) -> LoadResult:
        """Land a generated month and load it."""
        self.land(dataset, month, rows, seed)
        return self.reload(dataset, month, **options)

    def reload(self, dataset: str, month: str | None, **options: Any) -> LoadResult:
        """Load what is landed."""
        return load(self.catalog, self.landing, DatasetFile(dataset, Month.parse(month) if month else None), **options)

    def scan(self, table: str, snapshot_id: int | None = None) -> pa.Table:
        """A table's rows as PyIceberg reads them, in order."""
        rows = self.catalog.load_table(table).scan(snapshot_id=snapshot_id).to_arrow()
        return rows.sort_by([("file_month", "ascending"), ("file_row", "ascending")])

    def keys(self, prefix: str) -> list[str]:
        """Names of the objects below `prefix`."""
        return self.landing.store.objects(prefix)

    def _settle(self) -> None:
        """After Postgres was away, a pooled connection of the catalog fails once: use them all, until none does."""

        with ThreadPoolExecutor(8) as pool:
            within(60, lambda: list(pool.map(lambda _: self.catalog.list_namespaces(), range(8))))

    def empty(self) -> None:
        """Drop all tables and views, and delete every object: the test begins with nothing."""
        self._settle()
        catalog = self.catalog
        present = {namespace for (namespace,) in catalog.list_namespaces()}
        for namespace in present:
            with suppress(NoSuchNamespaceError):  # dropped meanwhile: the catalog may list it for a moment longer
                for view in catalog.list_views(namespace):
                    catalog.drop_view(view)
                for table in catalog.list_tables(namespace):
                    catalog.drop_table(table)
                if namespace not in LAYERS:
                    catalog.drop_namespace(namespace)
        for namespace in LAYERS:
            try:
                catalog.create_namespace(namespace, {MARK: "true"})
            except NamespaceAlreadyExistsError:
                catalog.update_namespace_properties(namespace, updates={MARK: "true"})
        identity = f"iceberg/{FILE}"  # the namespaces stay, and with them the identity that the catalog keeps
        for key in [key for key in (*self.keys("iceberg/"), *self.keys("raw_data/")) if key != identity]:
            self.s3.delete_object(Bucket=self.settings.s3_bucket, Key=key)
