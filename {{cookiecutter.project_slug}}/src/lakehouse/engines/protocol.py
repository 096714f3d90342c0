"""What every SQL engine answers: rows of a query, and a table's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from lakehouse.errors import QueryError
from lakehouse.iceberg.versions import Timeline

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table


@dataclass(frozen=True)
class PartFiles:
    """What a partitioned table holds of one month or day now. The hash is None where files mix sources."""

    first_day: date
    rows: int
    files: int
    bytes: int
    source_sha256: str | None


class Engine(Protocol):
    """Runs SQL, now or as of a version, and tells a table's history."""

    name: str
    maintains: bool
    """Whether it has statements of its own that compact tables and remove their files."""

    def query(self, sql: str, parameters: Sequence[Any] = (), as_of: str | None = None) -> pa.Table:
        """Rows of one statement. `as_of` moves every table: a ref, a timestamp, or `TABLE@SNAPSHOT`.

        Raises:
            QueryError: the engine refused the statement, or a table has no such version.
        """
        ...

    def tables(self) -> list[str]:
        """Every Iceberg table of the catalog, as `schema.table`, sorted."""
        ...

    def timeline(self, table: str) -> Timeline:
        """Its snapshots, branches and tags, as they are now.

        Raises:
            QueryError: no such table.
        """
        ...

    def part_files(self, table: str, column: str = "file_month") -> list[PartFiles]:
        """Months or days of a table that is partitioned by `column`, in order; from manifests alone."""
        ...

    def version_sql(self, table: Table, snapshot_id: int) -> str:
        """One version of a table, to stand after `from`: a statement can read two versions."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


def check_names(names: Sequence[str]) -> None:
    """Refuse a result in which a name stands for two columns: a row by name would lose one of them.

    Raises:
        QueryError: names the columns.
    """
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise QueryError(f"The result has more than one column called {', '.join(twice)}. Give each a name of its own.")


def not_shown(error: Exception) -> QueryError:
    """The error about a value that Python's types can't hold, such as a time in the year 290000."""
    return QueryError(f"The result has a value that can't be shown ({error}). Cast its column to varchar in the SQL.")


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
