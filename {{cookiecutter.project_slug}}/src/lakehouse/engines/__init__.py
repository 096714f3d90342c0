"""The SQL engines behind one small interface: DuckDB over planned files (`embedded`) and Trino (`trino`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

from lakehouse.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa

    from lakehouse.settings import Settings


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of a table, as both engines tell it. Times are UTC; `summary` holds Iceberg's own words."""

    snapshot_id: int
    parent_id: int | None
    committed_at: datetime
    operation: str
    summary: Mapping[str, str]


@dataclass(frozen=True)
class Ref:
    """A branch or tag: a name for a snapshot."""

    name: str
    kind: str  # "branch" or "tag"
    snapshot_id: int


@dataclass(frozen=True)
class MonthFiles:
    """What a table partitioned by `file_month` holds of one month now. The hash is None where files mix sources."""

    file_month: date
    rows: int
    files: int
    bytes: int
    source_sha256: str | None


class Engine(Protocol):
    """Runs SQL, now or as of a version, and tells a table's history."""

    name: str

    def query(self, sql: str, parameters: Sequence[Any] = (), as_of: str | None = None) -> pa.Table:
        """Rows of one statement. `as_of` moves every table: a ref, a timestamp, or `TABLE@SNAPSHOT`.

        Raises:
            QueryError: the engine refused the statement, or a table has no such version.
        """
        ...

    def tables(self) -> list[str]:
        """Every Iceberg table of the catalog, as `schema.table`, sorted."""
        ...

    def snapshots(self, table: str) -> list[Snapshot]:
        """Every snapshot that still exists, oldest first. Empty for a table without one.

        Raises:
            QueryError: no such table.
        """
        ...

    def refs(self, table: str) -> list[Ref]:
        """Branches and tags, sorted by name."""
        ...

    def month_files(self, table: str) -> list[MonthFiles]:
        """Months of a raw or silver table, in order; from manifests alone, no data is read."""
        ...

    def current_snapshot(self, table: str) -> int | None:
        """Id of the snapshot that a plain query reads."""
        ...

    def made_current(self, table: str) -> list[int]:
        """Ids of the snapshots that a plain query ever read, in that order; one that came back is there again.

        An expired one is left out, and an engine may leave out all that was before it.
        """
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


def open_engine(settings: Settings) -> Engine:
    """The engine of the target."""
    if settings.target == "trino":
        from lakehouse.engines.trino import TrinoEngine  # noqa: PLC0415 - one target needs one engine

        return TrinoEngine(settings)
    from lakehouse.engines.duckdb import DuckDBEngine  # noqa: PLC0415

    return DuckDBEngine(settings)
