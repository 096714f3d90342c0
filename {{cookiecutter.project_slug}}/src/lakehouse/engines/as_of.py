"""Time travel in SQL: which tables of a statement `--as-of` moves.

`iceberg/versions.py` reads its words, and `snapshot_at` in `iceberg/refs.py` finds the snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from lakehouse.errors import QueryError
from lakehouse.iceberg.publication import BRANCH, SCHEMA
from lakehouse.iceberg.versions import AsOf

CATALOG = "iceberg"
# Schemas of the engines themselves: nothing in them has a version.
_NOT_ICEBERG = frozenset({"information_schema", "system", "pg_catalog", "main", "temp"})


def referenced_tables(sql: str, dialect: str) -> list[str]:
    """Every table that one query reads, as `schema.table` in lower case, sorted, each once.

    Names without a schema are left out (they can only be a CTE or an alias), and so are the engine's own schemas
    and Iceberg's metadata tables (`"t$snapshots"`).

    Raises:
        QueryError: not exactly one query.
    """
    return sorted({name for name, _ in _tables(sql, dialect)})


def versions(sql: str, as_of: AsOf, dialect: str) -> dict[str, AsOf]:
    """For each table of the query that `as_of` moves, its version.

    Raises:
        QueryError: not exactly one query, or one that would not be read as of that version, in whole or in part.
    """
    tables = referenced_tables(sql, dialect)
    _refuse_arguments(sql, dialect)
    shown = [table for table in tables if table.startswith(f"{SCHEMA}.") and as_of.table in (None, table)]
    if shown and as_of.value != BRANCH:
        name = shown[0].removeprefix(f"{SCHEMA}.")
        raise QueryError(
            f"{shown[0]} always shows the last publication, so it has no other versions. Read gold.{name} with --as-of "
            "instead; the tag of a publication shows what was published then."
        )
    if as_of.table is None:
        if not tables:
            raise QueryError(
                f"The query reads no table that has versions, so it can't be read as of {as_of.value}. Leave --as-of "
                "out, or read a table such as raw.green_trips."
            )
        return {table: as_of for table in tables if table not in shown}
    if as_of.table not in tables:
        if not tables:
            raise QueryError(
                f"--as-of names a version of {as_of.table}, but the query reads no table that has versions. Nothing "
                f"was run. Write {as_of.table} with its schema in the query, or leave --as-of out."
            )
        raise QueryError(
            f"--as-of names a version of {as_of.table}, but the query does not read that table. It reads "
            f"{', '.join(tables)}. Give a version of what it reads."
        )
    return {as_of.table: as_of}


def _refuse_arguments(sql: str, dialect: str) -> None:
    """Refuse a table given by name to a table function: no clause may stand there, so it would be read as it is now.

    Raises:
        QueryError: says how to write it instead.
    """
    for call in _query(sql, dialect).find_all(exp.Anonymous):
        if call.name.lower() == "table" and isinstance(given := next(iter(call.expressions), None), exp.Column):
            raise QueryError(
                f"table({given.sql(dialect)}) can't be read as of a version. Write it as a query: "
                f"table(select * from {given.sql(dialect)})."
            )


def travel(sql: str, snapshot_of: Callable[[str], int | None], dialect: str = "trino") -> str:
    """The same query with each table read at the snapshot `snapshot_of(schema.table)`; None leaves a table as it is.

    The clauses are put into the text at the places that the syntax tree gives: the rest stays as written.
    A table that already has a version of its own keeps it.

    Raises:
        QueryError: not exactly one query.
    """
    places: list[tuple[int, str]] = []
    for name, table in _tables(sql, dialect):
        snapshot_id = snapshot_of(name)
        if snapshot_id is not None and not table.args.get("version") and not table.args.get("when"):
            places.append((table.this.meta["end"] + 1, f"FOR VERSION AS OF {snapshot_id}"))
    for place, clause in sorted(places, reverse=True):
        sql = f"{sql[:place]} {clause}{sql[place:]}"
    return sql


def reads_nothing(sql: str, dialect: str) -> bool:
    """Whether one query has no FROM: `select 1`.

    Raises:
        QueryError: not exactly one query.
    """
    return _query(sql, dialect).find(exp.From) is None


def reads_catalog(sql: str, dialect: str) -> bool:
    """Whether one query asks the engine itself which tables there are.

    Raises:
        QueryError: not exactly one query.
    """
    return any(table.db.lower() in _NOT_ICEBERG for table in _query(sql, dialect).find_all(exp.Table))


def _query(sql: str, dialect: str) -> exp.Query:
    try:
        statements = [s for s in sqlglot.parse(sql, dialect=dialect) if s is not None]
    except SqlglotError as error:
        raise QueryError(
            "The SQL can't be parsed, so no table can be read as of a version. Nothing was run. Correct the SQL. "
            f"{_plain(error)}"
        ) from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise QueryError(
            "To read as of a version, the SQL must be exactly one SELECT (WITH and UNION may be in it). Nothing was "
            "run."
        )
    return statements[0]


def _plain(error: SqlglotError) -> str:
    """What the parser says, without the codes by which a terminal underlines."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def _tables(sql: str, dialect: str) -> list[tuple[str, exp.Table]]:
    found = []
    for table in _query(sql, dialect).find_all(exp.Table):
        schema = table.db.lower()
        if not isinstance(table.this, exp.Identifier) or not schema or schema in _NOT_ICEBERG or "$" in table.name:
            continue
        if table.catalog.lower() in ("", CATALOG):
            found.append((f"{schema}.{table.name.lower()}", table))
    return found
