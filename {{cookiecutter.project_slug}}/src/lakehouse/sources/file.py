"""One published file: what the TLC calls it, and where its site has it."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import dataset_named


@dataclass(frozen=True)
class PublishedFile:
    """A dataset's month, or the zone lookup, whose `month` is None."""

    dataset: str
    month: Month | None

    @property
    def name(self) -> str:
        """The file's name: `green_tripdata_2024-01.parquet`, `taxi_zone_lookup.csv`."""
        return "taxi_zone_lookup.csv" if self.month is None else dataset_named(self.dataset).file_name(self.month)

    @property
    def path(self) -> str:
        """Where the site has it, below its base URL."""
        return f"{'misc' if self.month is None else dataset_named(self.dataset).folder}/{self.name}"

    @property
    def words(self) -> str:
        """As on the command line: `green 2024-01`, `zones`."""
        return self.dataset if self.month is None else f"{self.dataset} {self.month}"
