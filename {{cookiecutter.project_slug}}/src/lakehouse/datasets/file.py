"""One file of a dataset: its name, where the publisher has it, and where it lands."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import dataset_named


@dataclass(frozen=True)
class DatasetFile:
    """One file: a dataset's month, or all of a dataset that does not come by the month (`month` is None)."""

    dataset: str
    month: Month | None = None

    @property
    def name(self) -> str:
        """The file's name: `green_tripdata_2024-01.parquet`, `taxi_zone_lookup.csv`."""
        return dataset_named(self.dataset).file_name(self.month)

    @property
    def path(self) -> str:
        """Where the publisher's site has it, below its base URL."""
        return f"{dataset_named(self.dataset).folder}/{self.name}"

    @property
    def key(self) -> str:
        """Where it lands: `green_trips/green_tripdata_2024-01.parquet`."""
        return f"{dataset_named(self.dataset).landing_key}/{self.name}"

    @property
    def label(self) -> str:
        """As on the command line: `green 2024-01`, `zones`."""
        return self.dataset if self.month is None else f"{self.dataset} {self.month}"

    def as_dict(self) -> dict[str, str | None]:
        """For programs, and for records."""
        return {"dataset": self.dataset, "month": None if self.month is None else str(self.month)}
