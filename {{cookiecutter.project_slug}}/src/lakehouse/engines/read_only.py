"""Whether a statement only reads: `lakehouse sql` runs nothing else."""

from __future__ import annotations

import re

from lakehouse.errors import QueryError

_LEADING = r"(?:\s|;|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_FIRST_WORD = re.compile(rf"{_LEADING}([a-z_]+)", re.IGNORECASE | re.DOTALL)
# `explain` shows a plan; `explain analyze` runs what follows.
_EXPLAIN = re.compile(
    rf"{_LEADING}explain\b(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\([^)]*\)|(?:analyze|verbose)\b)*", re.IGNORECASE | re.DOTALL
)
_READING = frozenset(
    ("select", "with", "from", "values", "table", "show", "describe", "desc", "summarize", "pivot", "unpivot")
)


# What the engines know and this does not run; any other word is a mistake in typing.
_WRITING = frozenset(
    (
        *("alter", "analyze", "attach", "begin", "call", "checkpoint", "comment", "commit", "copy", "create"),
        *("deallocate", "delete", "deny", "detach", "drop", "execute", "export", "extension", "force", "grant"),
        *("import", "insert", "install", "load", "merge", "pragma", "prepare", "refresh", "reset", "revoke"),
        *("rollback", "set", "start", "transaction", "truncate", "update", "use", "vacuum"),
    )
)


def refuse_writing(sql: str, engine: str) -> None:
    """Let pass what only reads. An empty text passes too: the engine says more about it.

    Args:
        sql: one statement.
        engine: `duckdb` or `trino`.

    Raises:
        QueryError: names what it is, and what changes tables instead.
    """
    explained = _EXPLAIN.match(sql)
    rest = sql[explained.end() :] if explained else sql
    first = _FIRST_WORD.match(rest)
    if first is None:
        return
    word = first[1].lower()
    if word not in _READING and word not in _WRITING:
        raise QueryError(
            "`lakehouse sql` runs only what reads: SELECT, WITH, FROM, VALUES, SHOW, DESCRIBE or EXPLAIN. This begins "
            f"with {word.upper()}. Nothing was run. Correct the word."
        )
    if word in _READING and engine == "duckdb":
        word = _duckdb_kind(rest) or word
    if word not in _READING:
        raise QueryError(
            f"`lakehouse sql` only reads, and this is {word.upper()}. Nothing was run. Tables change by `lakehouse "
            "load`, `build` and `publish`; a model of your own goes into dbt/models. To keep a result, add `--json > "
            "FILE`."
        )


def _duckdb_kind(sql: str) -> str | None:
    """What DuckDB's own parser takes the statement for, where that is no reading: `with` may stand before `insert`."""
    import duckdb  # noqa: PLC0415 - Trino needs none

    try:
        kinds = [statement.type for statement in duckdb.extract_statements(sql)]
    except duckdb.Error:
        return None
    # A pivot is several selects. A second statement is refused for being one.
    others = [kind.name for kind in kinds if kind.name not in ("SELECT", "MULTI", "EXPLAIN")]
    return others[0].lower() if others else None
