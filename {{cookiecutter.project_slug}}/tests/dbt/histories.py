"""Raw tables whose months are restated, removed and rolled back, and what gold must be then, on either target."""

from __future__ import annotations

from typing import Any

from pyiceberg.catalog import Catalog
from tests.dbt.raw import gold, made_up_rows, put_month, put_zones, remove_month, silver_row

from lakehouse.datasets.registry import DATASETS
from lakehouse.engines import Engine
from lakehouse.iceberg.refs import rollback

KEYS = {
    "fct_daily_trips": ("service_type", "pickup_date"),
    "fct_hourly_revenue": ("service_type", "pickup_date", "pickup_hour"),
    "fct_trip_distance_stats": ("service_type", "pickup_location_id", "dropoff_location_id"),
    "fct_monthly_quality": ("service_type", "file_month", "rejection_reason"),
}
SERVICES = ("yellow", "green")
Months = dict[str, list[dict[str, Any]]]


class Raw:
    """Raw tables, and what is in them, version by version."""

    def __init__(self, catalog: Catalog, engine: Engine) -> None:
        self.catalog, self.engine = catalog, engine
        self.months: dict[str, Months] = {service: {} for service in SERVICES}
        self.versions: dict[str, list[tuple[int, Months]]] = {service: [] for service in SERVICES}
        put_zones(catalog)

    def put(self, service: str, month: str, seed: int) -> None:
        """A month, or other rows in its place."""
        rows = made_up_rows(service, month, 40 + seed, seed)
        sha = put_month(self.catalog, service, month, rows)
        silver = [silver_row(service, month, sha, i, row) for i, row in enumerate(rows)]
        self._now(service, {**self.months[service], month: silver})

    def remove(self, service: str, month: str) -> None:
        """Take a month out."""
        remove_month(self.catalog, service, month)
        self._now(service, {name: rows for name, rows in self.months[service].items() if name != month})

    def roll_back(self, service: str, version: int) -> None:
        """Make an earlier version current."""
        snapshot, months = self.versions[service][version]
        rollback(self.catalog, DATASETS[service].table, snapshot)
        self.months[service] = months

    def _now(self, service: str, months: Months) -> None:
        snapshot = self.catalog.load_table(DATASETS[service].table).metadata.current_snapshot_id
        assert snapshot is not None
        self.months[service] = months
        self.versions[service].append((snapshot, months))

    def check(self) -> None:
        """Compare gold with what plain Python makes of the months."""
        trips = {service: [row for rows in months.values() for row in rows] for service, months in self.months.items()}
        expected = gold({service: rows for service, rows in trips.items() if rows})
        for mart, keys in KEYS.items():
            found = self.engine.query(f"select * from gold.{mart}").to_pylist()
            rows = {tuple(row[key] for key in keys): row for row in found}
            wanted = {tuple(row[key] for key in keys): row for row in expected[mart]}
            assert rows.keys() == wanted.keys()
            for key, row in wanted.items():
                assert {name: rows[key][name] for name in row} == row
