"""A SQL database as a source: one SELECT, in one transaction that only reads, becomes one parquet file.

The address of the database, with its password, is used here only. No message, record or log has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Column, Dataset, normalised
from lakehouse.datasets.registry import declaration_of
from lakehouse.datasets.sources import CursorValue, Query, Since
from lakehouse.errors import SettingsError, SourceError, UnreachableError
from lakehouse.progress import Progress
from lakehouse.settings import variable
from lakehouse.sources.extract import POSTGRES_NUMBERS, POSTGRES_TIMES, Field, UnfitError, extract
from lakehouse.sources.site import Version

# A server that is away is noticed within seconds, a connection that is cut within a minute.
_CONNECT: dict[str, dict[str, Any]] = {
    "postgresql+psycopg2": {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
}
_SNAPSHOT: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
}
# Text of values must not depend on how the server or the user is set up.
_SESSION = {
    "postgresql": (
        "set time zone 'UTC'",
        "set datestyle to 'ISO, YMD'",
        "set intervalstyle to 'postgres'",
        "set extra_float_digits to 1",
        "set bytea_output to 'hex'",
    ),
    "sqlite": ("pragma query_only = on",),
}
_SECRET_OPTIONS = ("pass", "pwd", "secret", "token", "key", "odbc_connect")


@dataclass(frozen=True)
class ColumnOfDatabase:
    """A column as the database declares it."""

    name: str
    type: sa.types.TypeEngine[Any]
    nullable: bool


@dataclass(frozen=True)
class TableOfDatabase:
    """A table as the database declares it. `key` is its primary key; `rows` is how many were taken as a sample."""

    columns: tuple[ColumnOfDatabase, ...]
    key: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class QuerySource:
    """The database that a declaration names. `since` is where the rows begin; all rows if None.

    `nothing` is what a message says of the command that failed: that it has changed nothing.
    """

    dataset: Dataset
    query: Query
    since: Since | None = None
    nothing: str = "Nothing was landed."

    def fetch(
        self,
        wanted: DatasetFile,  # noqa: ARG002 - the dataset has one file
        target: Path,
        known: Version | None = None,  # noqa: ARG002 - a database keeps no marks to compare; the bytes are
        progress: Progress | None = None,
    ) -> Version:
        """Extract; see `Source.fetch`. The same rows in the same order give the same bytes."""
        with self._connected() as connection:
            fields = self._fields(connection)
            statement = self._statement(connection, fields)
            names = [field.name for field in fields]
            binary = {str(self._column(one.name, names)) for one in self.dataset.columns if one.type == "binary"}
            try:
                with self._reading(connection):
                    extract(connection, statement, fields, target, progress, binary=binary)
            except UnfitError as error:
                what_next = "Correct the rows in the database, then run the same command again"
                if error.fix or error.column is not None:
                    what_next = f"In the declaration, {error.fix or self.query.casting}"
                raise SourceError(f"{self._name}: {error}. {self.nothing} {what_next}.") from None
        origin = f"{self.query.origin}, {self.since}" if self.since else self.query.origin
        return Version(origin, since=self.since)

    def check(self) -> str:
        """Ask the database for the columns, and no row; the kind of database, and what it was asked for.

        Raises:
            SettingsError: its variable is not set or is no address, or its driver is not installed.
            UnreachableError: the database does not answer.
            SourceError: it does not have the table, or not the columns that are declared, or its cursor has no order.
        """
        with self._connected() as connection:
            return f"{connection.dialect.name}: {self.query.what} has {len(self._fields(connection))} columns"

    def sample(self, target: Path, rows: int) -> TableOfDatabase:
        """Write the first rows of the table to `target`, and say what the database declares of the table.

        Raises:
            SettingsError, UnreachableError, SourceError: as `check` has them; a value can't be written.
        """
        schema, _, name = self.query.table.rpartition(".")
        with self._connected() as connection:
            fields = self._fields(connection)
            chosen = sa.select(sa.text("*")).select_from(sa.table(name, schema=schema or None)).limit(rows)
            statement = str(chosen.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
            with self._reading(connection):
                # What is known of a table is asked with parameters, in which % is doubled.
                inspector = sa.inspect(connection.execution_options(no_parameters=False))
                columns = tuple(
                    ColumnOfDatabase(str(one["name"]), one["type"], one["nullable"])
                    for one in inspector.get_columns(name, schema or None)
                )
                key = inspector.get_pk_constraint(name, schema or None)["constrained_columns"]
                connection.execution_options(no_parameters=True)
                binary = {one.name for one in columns if isinstance(one.type, sa.types.LargeBinary)}
                try:
                    extract(connection, statement, fields, target, None, binary=binary)
                except UnfitError as error:
                    raise SourceError(
                        f"{self._name}: {error}. {self.nothing} Declare the dataset in a file of datasets/ "
                        "yourself, with a query that casts it: docs/your-own-dataset.md, 'A table of a database'."
                    ) from None
        return TableOfDatabase(columns, tuple(key), pq.read_metadata(target).num_rows)

    @property
    def _name(self) -> str:
        """The dataset, the variable and the table, as messages name them."""
        return f"{self.dataset.name}: {self.query.what} in the database of {self.query.database}"

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        """A connection, in a transaction that sees one state of the database and changes nothing."""
        url = self._url()
        engine = self._engine(url)
        try:
            connection = engine.connect()
        except Exception as error:  # noqa: BLE001 - drivers raise errors of any kind for what they can't use
            # One that the driver can't use is no better at the next attempt.
            kind = SourceError if isinstance(error, TypeError | ValueError) else UnreachableError
            checks = f"that the server runs, and user, password and address in {self.query.database}"
            if url.get_backend_name() == "sqlite":  # a file: it has no server, and no user
                checks = f"the address in {self.query.database}, and that you may read the file and its folder"
            raise kind(
                f"{self.dataset.name}: the database of {self.query.database} could not be asked: "
                f"{_first_line(error, url)}. {self.nothing} Check {checks}. Then run the same command again."
            ) from None
        with connection:
            try:
                with self._reading(connection):
                    connection.execution_options(
                        # Signs such as % and : in a query are its own.
                        no_parameters=True,
                        **_SNAPSHOT.get(connection.dialect.name, {}),
                    )
                    for command in _SESSION.get(connection.dialect.name, ()):
                        connection.exec_driver_sql(command)
                yield connection
            finally:
                connection.invalidate()  # nothing is to be undone, and a lost connection takes no rollback

    def _url(self) -> sa.URL:
        name = self.query.database
        text = variable(name)
        if not text:
            raise SettingsError(
                f"{name} is not set, and {self.dataset.name} reads its rows from the database that it names. "
                f"{self.nothing} Write the address into .env: {name}=postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE"
            )
        try:
            url = sa.make_url(text)
        except (ArgumentError, ValueError):  # what they say may have the password in it
            url = None
        if url is None or (url.get_backend_name() == "sqlite" and url.host):
            raise SettingsError(
                f"{name}, the database of {self.dataset.name}, is no address of a database. {self.nothing} Write "
                "it as postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE or sqlite:////PATH/OF/FILE, with "
                "%40 for @ and %2F for / in a password."
            )
        file = url.database or ""
        if url.get_backend_name() == "sqlite" and not file.startswith("file:") and not Path(file).is_file():
            wrong = "is a folder" if Path(file).is_dir() else "does not exist"
            names = f"names the SQLite file {Path(file).absolute()}, which {wrong}" if file else "names no SQLite file"
            raise SourceError(
                f"{self.dataset.name}: {name} {names}. {self.nothing} Correct {name} in .env or the environment: "
                "sqlite:////PATH/OF/FILE."
            )
        return url

    def _engine(self, url: sa.URL) -> sa.Engine:
        try:
            options = _CONNECT.get(f"{url.get_backend_name()}+{url.get_driver_name()}", {})
            return sa.create_engine(url, poolclass=NullPool, connect_args=options)
        except NoSuchModuleError:
            raise SettingsError(
                f"{self.query.database}, the database of {self.dataset.name}, begins with {url.drivername!r}, which "
                f"SQLAlchemy does not know. {self.nothing} Correct the address in .env or the environment, for example "
                "postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE. Or add the package of this database to "
                "pyproject.toml, then run `make lock` and `make install`."
            ) from None
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"{self.query.database}, the database of {self.dataset.name}, needs the driver {error.name!r}, which "
                f"is not installed. {self.nothing} Add its package to pyproject.toml, then run `make lock` and "
                "`make install`."
            ) from None
        except ImportError as error:
            raise SettingsError(
                f"{self.query.database}, the database of {self.dataset.name}: its driver can't be loaded ({error}). "
                f"{self.nothing} Install what it lacks, then run the same command again."
            ) from None
        except (ArgumentError, TypeError, ValueError) as error:
            raise SettingsError(
                f"{self.query.database}, the database of {self.dataset.name}, is no address that {url.drivername} "
                f"takes: {_first_line(error, url)}. {self.nothing} Correct {self.query.database} in .env or the "
                "environment."
            ) from None

    @contextmanager
    def _reading(self, connection: sa.Connection) -> Iterator[None]:
        """What the database refuses is an error of ours."""
        driver = connection.dialect.loaded_dbapi
        try:
            yield
        except (SQLAlchemyError, driver.Error) as error:
            if getattr(getattr(error, "orig", error), "sqlite_errorname", "") == "SQLITE_NOTADB":
                file = connection.engine.url.database
                raise SourceError(
                    f"{self.dataset.name}: {self.query.database} names the file {file}, which is no SQLite database. "
                    f"{self.nothing} Correct {self.query.database} in .env or the environment."
                ) from None
            lost = isinstance(error, DBAPIError) and error.connection_invalidated
            raise (UnreachableError if lost else SourceError)(
                f"{self._name} could not be read: {_first_line(error, connection.engine.url)}. {self.nothing} "
                "Correct the declaration or the rights of the user, or run the same command again if the connection "
                "was lost."
            ) from None

    def _fields(self, connection: sa.Connection) -> list[Field]:
        """The columns of the result.

        Raises:
            SourceError: a column that is declared is not among them, two have one name, or the cursor is of another
                type than declared.
        """
        with self._reading(connection):
            result = connection.exec_driver_sql(f"select * from {self._rows(connection)} where 1 = 0")
            described: Any = result.cursor
            fields = [Field(name, code, *sizes) for name, code, _, _, *sizes, _ in described.description]
            result.close()
        names = [field.name for field in fields]
        if twice := [name for name in names if names.count(name) > 1]:
            raise SourceError(
                f"{self._name} gives two columns the name {twice[0]!r}. {self.nothing} Rename one in `sql`: "
                "`AS other_name`."
            )
        for column in self.dataset.columns:
            if self._column(column.name, names) is None:
                raise SourceError(
                    f"{self._name} has no column {column.published_name(None)!r}, which is declared. It has: "
                    f"{', '.join(names)}. {self.nothing} Correct {declaration_of(self.dataset)}."
                )
        self._check_cursor(connection, fields)
        return fields

    def _check_cursor(self, connection: sa.Connection, fields: list[Field]) -> None:
        """Refuse a cursor that PostgreSQL would compare as text. The others don't say what type a column has."""
        if not self.query.cursor or (connection.dialect.name, connection.dialect.driver) != ("postgresql", "psycopg2"):
            return
        name = self._column(self.query.cursor, [field.name for field in fields])
        code = next(field.code for field in fields if field.name == name)
        declared = self._declared(self.query.cursor)
        if code not in (POSTGRES_NUMBERS if declared.kind in ("long", "decimal") else POSTGRES_TIMES):
            raise SourceError(
                f"{self._name} has the cursor {name!r}, which is of another type there than {declared.type}. "
                f"{self.nothing} In the declaration, {self.query.casting}."
            )

    def _declared(self, name: str) -> Column:
        return next(column for column in self.dataset.columns if column.name == name)

    def _column(self, declared: str, names: list[str]) -> str | None:
        """What the result calls a declared column."""
        column = self._declared(declared)
        understood = {normalised(name) for name in column.published_names(None)}
        return next((name for name in names if normalised(name) in understood), None)

    def _rows(self, connection: sa.Connection) -> str:
        """What stands after FROM."""
        if self.query.sql:
            return f"({self._sql}\n) q"
        schema, _, name = self.query.table.rpartition(".")
        return connection.dialect.identifier_preparer.format_table(sa.table(name, schema=schema or None))

    @property
    def _sql(self) -> str:
        return self.query.sql.strip().removesuffix(";")

    def _statement(self, connection: sa.Connection, fields: list[Field]) -> str:
        """The SELECT. Rows come in the order of the key; without a key, as the database or the `sql` has them."""
        names = [field.name for field in fields]
        key = [self._column(name, names) for name in self.dataset.key]
        if not key:
            return self._sql or f"select * from {self._rows(connection)}"
        quoted = connection.dialect.identifier_preparer.quote_identifier
        order = ", ".join(quoted(str(name)) for name in key)
        where = ""
        if self.since:
            name = self._column(self.since.column, names)
            value = self.since.read(self._declared(self.since.column).kind)
            where = f" where {_from(connection.dialect, quoted(str(name)), value)}"
        return f"select * from {self._rows(connection)}{where} order by {order}"


def _from(dialect: sa.Dialect, column: str, value: CursorValue) -> str:
    """The condition of rows from this value on. Rows without a value have no place in the order, and come each time."""
    if dialect.name == "sqlite":
        column, literal = _in_sqlite(column, value)
    else:
        literal = str(sa.literal(value).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    return f"({column} >= {literal} or {column} is null)"


def _in_sqlite(column: str, value: CursorValue) -> tuple[str, str]:
    """What SQLite compares: it has times as text, in several forms, and numbers as text too.

    Its functions make one form of all. Of a value that they can't read they make null, so that row comes, and the load
    says what is wrong with it.
    """
    match value:
        case datetime():
            at = value.astimezone(UTC) if value.tzinfo else value
            return f"datetime({column})", f"'{at.replace(microsecond=0, tzinfo=None).isoformat(' ')}'"
        case date():
            return f"date({column})", f"'{value.isoformat()}'"
        case _:
            return f"cast({column} as numeric)", f"{value:f}" if isinstance(value, Decimal) else str(value)


def _first_line(error: Exception, url: sa.URL) -> str:
    """What the driver says, without any secret of the address."""
    said = error.orig if isinstance(error, DBAPIError) else error
    text = next((line.strip() for line in str(said).splitlines() if line.strip()), type(said).__name__).rstrip(".")
    options = [
        value
        for name, values in url.query.items()
        for value in ([values] if isinstance(values, str) else values)
        if any(part in name.lower() for part in _SECRET_OPTIONS)
    ]
    for secret in filter(None, [str(url.password or ""), *options]):
        for written in (secret, quote(secret), quote_plus(secret)):
            text = text.replace(written, "***")
    return text
