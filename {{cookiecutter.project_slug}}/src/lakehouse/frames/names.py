"""Which tables a data frame may be written to."""

from __future__ import annotations

import re

from lakehouse.errors import QueryError, RefusedError

_NAME = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")
_WRITABLE = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")
_DBT = "dbt's models make it: write a model in dbt/models"
_OWNERS = {
    "raw": "`lakehouse load` makes it from published files: declare a dataset (docs/your-own-dataset.md)",
    "silver": _DBT,
    "gold": _DBT,
    "published": "`lakehouse publish` shows readers the last publication there",
}
_ENGINES = frozenset({"information_schema", "system", "pg_catalog", "main", "temp"})


def refuse_no_name(table: str) -> None:
    """Refuse what is no `schema.table`.

    Raises:
        QueryError: says how to write it.
    """
    if not _NAME.fullmatch(table):
        raise QueryError(f"{table!r} is no table's name. Write it as gold.fct_daily_trips.")


def refuse_owned(table: str) -> None:
    """Refuse a table that something else makes, and a name that one of the engines could not read.

    Raises:
        RefusedError: says whose it is, and what to do instead.
    """
    schema = table.partition(".")[0]
    instead = "Nothing was written. Take a schema of your own, for example features."
    if not _WRITABLE.fullmatch(table):
        raise RefusedError(
            f"{table!r} can't be written: a table is called schema.name, in small letters, digits and '_', for example "
            "features.hourly. Nothing was written."
        )
    if schema in _OWNERS:
        raise RefusedError(f"{table} is not written from data frames: {_OWNERS[schema]}. {instead}")
    if schema in _ENGINES:
        raise RefusedError(f"{table} can't be written: the SQL engines have a schema {schema} of their own. {instead}")
