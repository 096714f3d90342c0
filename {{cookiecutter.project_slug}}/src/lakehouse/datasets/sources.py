"""Sources that a declaration names itself. A dataset without one comes from the site or folder of `TLC_SOURCE`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """Rows of a SQL database: those of a table, or of a SELECT.

    `database` is the name of a variable, in the environment or in `.env`. It holds the address of the database as
    SQLAlchemy writes it, with the password. `table` is `NAME` or `SCHEMA.NAME`, as the database writes it.
    """

    database: str
    table: str = ""
    sql: str = ""

    @property
    def what(self) -> str:
        """What is read, for messages."""
        return f"the table {self.table}" if self.table else "the query of its `sql`"

    @property
    def origin(self) -> str:
        """Where the rows come from, as the record of a landed file says it. The address is no part of it."""
        return f"database {self.database}, " + (f"table {self.table}" if self.table else f"query {self.sql.strip()}")
