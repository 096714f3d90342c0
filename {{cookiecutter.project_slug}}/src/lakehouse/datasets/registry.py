"""The datasets that are declared: a file of this folder that holds a `Dataset` is found by being there."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from datetime import date
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from types import ModuleType

from lakehouse.datasets.declaration import problem
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.errors import DeclarationError, LakehouseError, SettingsError

FOLDER = Path(__file__).parent
# Files of this folder that read the declarations.
_READERS = {"describe", "file", "registry"}


def declared() -> dict[str, Dataset]:
    """Read every declaration of this folder, by name: first what has months, then what has days, by the first of them.

    Raises:
        DeclarationError: a file of this folder can't be imported, a declaration breaks a rule (declaration.py), or two
            declarations have one name or one table. The message names the file.
    """
    found: dict[str, Dataset] = {}
    files: dict[str, str] = {}
    for module in pkgutil.iter_modules([str(FOLDER)]):
        if module.name in _READERS:
            continue
        for value in vars(_imported(module.name)).values():
            if not isinstance(value, Dataset):
                continue
            if wrong := problem(value):
                raise DeclarationError(f"datasets/{module.name}.py: {wrong}")
            if value is found.get(value.name):
                continue
            for mark in filter(None, (value.name, value.table, value.rejected_table)):
                if files.get(mark) == module.name:
                    raise DeclarationError(f"datasets/{module.name}.py declares {mark} twice. Give one another name.")
                if mark in files:
                    raise DeclarationError(
                        f"datasets/{files[mark]}.py and datasets/{module.name}.py both declare {mark}. "
                        "Give one of them another name."
                    )
                files[mark] = module.name
            found[value.name] = value
    return {dataset.name: dataset for dataset in in_order(found.values())}


def in_order(datasets: Iterable[Dataset]) -> list[Dataset]:
    """First what has months, then what has days, by the first of them; then what has neither."""
    return sorted(datasets, key=lambda dataset: (*_order(dataset), dataset.name))


def _order(dataset: Dataset) -> tuple[int, date]:
    return (Monthly, Daily, Whole).index(type(dataset.parts)), dataset.first_part.first_day


def _imported(name: str) -> ModuleType:
    """Import one file of this folder.

    Raises:
        DeclarationError: Python can't import it. The message names the file, the line and Python's error.
    """
    try:
        return import_module(f"{__package__}.{name}")
    except Exception as error:
        said = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        kind = "" if isinstance(error, LakehouseError) else f"{type(error).__name__}: "
        place = _place(error) or f"datasets/{name}.py"
        raise DeclarationError(f"{place} can't be imported. Correct it: {kind}{said.rstrip('.')}.") from error


def _place(error: Exception) -> str | None:
    """Name the file of this folder, and its line, at which an import failed: the last one that was being imported."""
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno or 1))
    ours = [f"datasets/{Path(file).name}, line {line}," for file, line in places if Path(file).parent == FOLDER]
    return ours[-1] if ours else None


def declaration_of(dataset: Dataset) -> str:
    """Where a dataset is declared, for messages: `datasets/green.py`."""
    for module in pkgutil.iter_modules([str(FOLDER)]):
        if module.name not in _READERS and any(value is dataset for value in vars(_imported(module.name)).values()):
            return f"datasets/{module.name}.py"
    return f"the declaration of {dataset.name}"  # declared elsewhere, as tests do


DATASETS: dict[str, Dataset] = declared()


def monthly() -> list[Dataset]:
    """The datasets that come by the month."""
    return [dataset for dataset in DATASETS.values() if isinstance(dataset.parts, Monthly)]


def daily() -> list[Dataset]:
    """The datasets that come by the day."""
    return [dataset for dataset in DATASETS.values() if isinstance(dataset.parts, Daily)]


def whole() -> list[Dataset]:
    """The datasets whose file is the whole table."""
    return [dataset for dataset in DATASETS.values() if isinstance(dataset.parts, Whole)]


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
