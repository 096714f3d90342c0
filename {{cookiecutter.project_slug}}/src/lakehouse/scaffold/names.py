"""Names: which a new dataset may have, and what its columns are called."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

from sqlglot.dialects import DuckDB, Trino

from lakehouse.datasets.declaration import ADDED
from lakehouse.datasets.model import normalised
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import SettingsError

# Trino's page "Keywords and identifiers" has these too; sqlglot does not know them.
_OF_TRINO = (
    "auto cube current_path current_schema grouping json_array json_exists json_object json_query json_table "
    "json_value listagg normalize primary recursive rollup skip trim uescape unnest"
)
# Words that mean something in DuckDB or Trino, so that a table or column of that name must stand in quotes.
RESERVED = frozenset({*DuckDB.Generator.RESERVED_KEYWORDS, *Trino.Generator.RESERVED_KEYWORDS, *_OF_TRINO.split()})


def check_name(name: str, if_taken: str = "Choose another name.") -> None:
    """Refuse what can't be the name of a new dataset; `if_taken` says what to do if there is one of that name.

    Raises:
        SettingsError: it is taken, reserved, or not written as names are.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        proposed = canonical(name) or "orders"
        raise SettingsError(
            f"{name!r} is no name of a dataset. Nothing was written. Use lower-case letters, digits and underscores, "
            f"and begin with a letter: {f'my_{proposed}' if _is_reserved(proposed) else proposed}."
        )
    if _is_reserved(name):
        raise SettingsError(
            f"{name!r} can't be the name of a dataset: it is a reserved word of SQL or Python. Nothing was written. "
            f"Choose another, such as my_{name}."
        )
    for dataset in DATASETS.values():
        if name in (dataset.name, dataset.landing_key):
            raise SettingsError(
                f"There is a dataset {dataset.name} already, with the table {dataset.table}. Nothing was written. "
                f"{if_taken}"
            )


def _is_reserved(name: str) -> bool:
    return name in RESERVED or keyword.iskeyword(name)


def canonical(name: str) -> str:
    """A name in lower-case letters, digits and underscores: `Order No` is order_no; "" where nothing is left of it."""
    plain = unicodedata.normalize("NFKD", name.replace("\u00df", "ss")).encode("ascii", "ignore").decode()
    words = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", plain)
    found = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return f"n_{found}" if found[:1].isdigit() else found


def column_names(published: Iterable[str]) -> dict[str, str]:
    """What each of a file's columns is called in the table: no reserved word, and none twice."""
    published = list(published)
    found: dict[str, str] = {}
    taken = {normalised(name) for name in ADDED}
    for place, name in enumerate(published, 1):
        plain = canonical(name) or f"column_{place}"
        if plain in RESERVED:
            plain = f"{plain}_value"
        others = {normalised(other) for other in published if other != name}
        chosen, number = plain, 1
        while normalised(chosen) in taken | others:
            number += 1
            chosen = f"{plain}_{number}"
        taken.add(normalised(chosen))
        found[name] = chosen
    return found
