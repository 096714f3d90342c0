"""The datasets that are declared: a file of this folder that holds a `Dataset` is found by being there."""

from __future__ import annotations

import pkgutil
from datetime import date
from importlib import import_module
from pathlib import Path

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.errors import SettingsError

# Files of this folder that read the declarations.
_READERS = {"describe", "file", "registry"}


def declared() -> dict[str, Dataset]:
    """Read every declaration of this folder, by name: first what has months, then what has days, by the first of them.

    Raises:
        SettingsError: two declarations have one name or one table.
    """
    found: dict[str, Dataset] = {}
    files: dict[str, str] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name in _READERS:
            continue
        for value in vars(import_module(f"{__package__}.{module.name}")).values():
            if not isinstance(value, Dataset) or value is found.get(value.name):
                continue
            for mark in (value.name, value.table):
                if mark in files:
                    raise SettingsError(
                        f"datasets/{files[mark]}.py and datasets/{module.name}.py both declare {mark}. Rename one."
                    )
                files[mark] = module.name
            found[value.name] = value
    return dict(sorted(found.items(), key=lambda item: (*_order(item[1]), item[0])))


def _order(dataset: Dataset) -> tuple[int, date]:
    return (Monthly, Daily, Whole).index(type(dataset.parts)), dataset.first_part.first_day


DATASETS: dict[str, Dataset] = declared()


def monthly() -> list[Dataset]:
    """The datasets that come by the month."""
    return [dataset for dataset in DATASETS.values() if isinstance(dataset.parts, Monthly)]


def daily() -> list[Dataset]:
    """The datasets that come by the day."""
    return [dataset for dataset in DATASETS.values() if isinstance(dataset.parts, Daily)]


def dataset_named(name: str) -> Dataset:
    """Find the declaration called `name`.

    Raises:
        SettingsError: no such dataset; the message lists them.
    """
    try:
        return DATASETS[name]
    except KeyError:
        known = ", ".join(DATASETS)
        raise SettingsError(f"There is no dataset {name!r}. Known: {known}.") from None
