"""One file of a dataset: its name, where the publisher has it, and where it lands."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.datasets.days import Day
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Part, Whole
from lakehouse.datasets.registry import DATASETS, dataset_named


@dataclass(frozen=True)
class DatasetFile:
    """One file: a month or a day of a dataset, or all of it (`part` is None)."""

    dataset: str
    part: Part | None = None

    @property
    def name(self) -> str:
        """The landed file's name: `green_tripdata_2024-01.parquet`, `orders_2024-01-05_all.csv.zip`."""
        return dataset_named(self.dataset).file_name(self.part)

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
        return self.dataset if self.part is None else f"{self.dataset} {self.part}"

    @property
    def summary(self) -> dict[str, str]:
        """What the summary of a load's snapshot says of it: dataset, and month or day."""
        column = dataset_named(self.dataset).parts.column
        part = {f"lakehouse.{column.replace('_', '-')}": str(self.part)} if column else {}
        return {"lakehouse.dataset": self.dataset, **part}

    def as_dict(self) -> dict[str, str | None]:
        """For programs, and for records: `month` and `day`, of which one or both are null."""
        return {"dataset": self.dataset, **named_part(self.part)}


def named_part(part: Part | None) -> dict[str, str | None]:
    """A part as JSON has it: `month` and `day`, of which one or both are null."""
    return {
        "month": str(part) if isinstance(part, Month) else None,
        "day": str(part) if isinstance(part, Day) else None,
    }


def file_called(name: str) -> DatasetFile | None:
    """The file that a published name stands for, or belongs to; None if no dataset has such a file."""
    for dataset in DATASETS.values():
        part = dataset.part_in(name)
        if (part is None) == isinstance(dataset.parts, Whole) and dataset.has(name, part):
            return DatasetFile(dataset.name, part)
    return None
