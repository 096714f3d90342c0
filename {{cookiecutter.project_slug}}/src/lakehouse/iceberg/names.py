"""How tables are named, and what to say of a name that no table has."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from lakehouse.errors import QueryError


def has_schema(name: str) -> bool:
    """Whether this is `schema.table`: a catalog can't be asked for anything else."""
    schema, _, table = name.partition(".")
    return bool(schema and table)


def no_table(name: str, known: Sequence[str]) -> QueryError:
    """The error about a table that does not exist; it names those that do, the ones with a close name first."""
    close = get_close_matches(name, known, cutoff=0.75)  # two names of one schema are somewhat alike in any case
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    none = "none yet; `lakehouse load` makes them. If you expect some, check the setting LAKEHOUSE_TARGET"
    tables = f"The tables are: {', '.join(known) or none}."
    if not has_schema(name):
        return QueryError(f"{name!r} is no table's name. Write it with its schema, as raw.yellow_trips. {tables}")
    return QueryError(f"There is no table {name}.{meant} {tables}")
