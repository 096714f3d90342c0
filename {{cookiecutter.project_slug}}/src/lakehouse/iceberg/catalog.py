"""The Iceberg catalog of the target: SQLite on `embedded`, the REST catalog on `trino`."""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, ValidationError
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from lakehouse.errors import LAST_CHANGE, BoundaryError, ServiceError, first_line
from lakehouse.iceberg.identity import NAME, RESTORE, check_home, check_not_behind, check_table, newest_on_disk
from lakehouse.iceberg.publication import SCRATCH
from lakehouse.iceberg.timeline import stamped

if TYPE_CHECKING:
    from pyiceberg.catalog.rest import RestCatalog

    from lakehouse.settings import Settings

LOCAL_FILES = "lakehouse.iceberg.local_files.LocalFiles"
SQLITE_SECONDS = 25  # that a commit waits for one of another process
CATALOG_TABLES = 2  # that PyIceberg makes in a new catalog, one after the other
# What DuckDB says of a file that is whole.
_NO_DAMAGE = {os.strerror(number): number for number in (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO)}
_BROKEN = ("malformed", "not a database", "no such table")  # SQLite's words for a file that is damaged
# What a file of a table raises that is gone, is damaged, or can't be written.
_FILES = (OSError, EOFError, ValidationError)


def table_names(catalog: Catalog) -> list[str]:
    """Every table of the catalog, as `schema.table`, sorted; not those of scratch schemas, which go at any moment."""
    return sorted(
        ".".join(identifier)
        for namespace in catalog.list_namespaces()
        if not namespace[0].startswith(SCRATCH)
        for identifier in catalog.list_tables(namespace)
    )


def commits_together(catalog: Catalog) -> TypeGuard[RestCatalog]:
    """Whether one request can change several tables: a REST catalog's can."""
    return not isinstance(catalog, SqliteCatalog)


class SqliteCatalog(SqlCatalog):
    """Can be begun by several processes at once, and keeps no connection between two calls.

    A dropped handle leaves none open, of which Python 3.13 would warn.
    """

    def __init__(self, settings: Settings, **properties: str) -> None:
        self.settings = settings
        super().__init__(NAME, **properties)

    def _init_catalog(self) -> None:
        self.engine = create_engine(self.engine.url, poolclass=NullPool)
        for _ in range(CATALOG_TABLES):
            try:
                return super()._init_catalog()
            except OperationalError as error:
                if "already exists" not in str(error.orig):
                    raise
                # another process was quicker with one of the catalog's own tables: look again
        return super()._init_catalog()

    def create_namespace(self, namespace: str | Identifier, properties: Properties = EMPTY_DICT) -> None:
        """As PyIceberg's; one that another process makes at the same moment is one that exists, as with tables."""
        try:
            super().create_namespace(namespace, properties)
        except IntegrityError as error:
            raise NamespaceAlreadyExistsError(f"Namespace {namespace} already exists") from error

    def load_table(self, identifier: str | Identifier) -> Table:
        """As PyIceberg's. Reports a metadata file that is gone or damaged; refuses a table that is not this home's."""
        name = ".".join(Catalog.identifier_to_tuple(identifier))
        newest = newest_on_disk(self.settings, name)  # before the catalog is asked: others may commit in between
        with _home_errors(self.settings.home, _FILES):  # a locked catalog is what a commit waits for
            table: Table = super().load_table(identifier)
        check_table(self.settings, table)
        check_not_behind(self.settings, table, newest)
        return table

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """As PyIceberg's, with stamps that follow the log."""
        answer: CommitTableResponse = super().commit_table(table, requirements, stamped(table.metadata, updates))
        return answer

    def table_files(self) -> dict[str, str]:
        """Each table, `schema.table`, with the metadata file that the catalog names. Reads the catalog alone."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text(
                    "select table_namespace, table_name, metadata_location from iceberg_tables "
                    "where catalog_name = :name and metadata_location is not null"
                ),
                {"name": self.name},
            ).all()  # while rows are open, nobody can commit
        return {f"{schema}.{table}": str(location) for schema, table, location in rows}

    def point_to(self, files: Mapping[str, str]) -> None:
        """Make the catalog name other metadata files for these tables: all of them in one transaction."""
        with self.engine.begin() as connection:
            for name, location in files.items():
                schema, _, table = name.rpartition(".")
                connection.execute(
                    text(
                        "update iceberg_tables set metadata_location = :location, previous_metadata_location = null "
                        "where catalog_name = :catalog and table_namespace = :schema and table_name = :table"
                    ),
                    {"location": location, "catalog": self.name, "schema": schema, "table": table},
                )


def open_catalog(settings: Settings, *, check: bool = True) -> Catalog:
    """A fresh handle on the catalog.

    Args:
        settings: of the target.
        check: False for a restore, which begins in a home that is only in part there.

    Raises:
        ServiceError: the REST catalog does not answer or is none, or the files of `embedded` can't be used.
        BoundaryError: the home on `embedded` was copied, moved, or is only in part here.
    """
    if settings.target == "embedded":
        with _home_errors(settings.home):
            catalog = open_sqlite(settings)
            if check:
                check_home(settings, catalog.table_files)
            return catalog
    from lakehouse.iceberg.rest_catalog import open_rest  # noqa: PLC0415 - `embedded` needs no client of REST

    return open_rest(settings)


def open_sqlite(settings: Settings) -> SqliteCatalog:
    """The catalog of `embedded`, unchecked: `lakehouse adopt` opens one that names another home."""
    settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
    # a writer waits this long for another process's commit to SQLite
    uri = f"sqlite:///{settings.catalog_file}?timeout={SQLITE_SECONDS}"
    # As it is, not percent-encoded: PyIceberg takes the path literally, and would make a folder `my%20lake`.
    warehouse = f"file:///{settings.warehouse_dir.as_posix().lstrip('/')}"
    return SqliteCatalog(settings, uri=uri, warehouse=warehouse, **{"py-io-impl": LOCAL_FILES})


def settings_of(catalog: Catalog) -> Settings:
    """The settings that `open_catalog` made this catalog from."""
    ours: Any = catalog  # we open no others
    settings: Settings = ours.settings
    return settings


@contextmanager
def service_errors(catalog: Catalog) -> Iterator[None]:
    """Catalog and store that fail underneath, as errors of ours that name them."""
    if isinstance(catalog, SqliteCatalog):
        with _home_errors(catalog.settings.home):
            yield
        return
    from lakehouse.iceberg.rest_catalog import rest_errors  # noqa: PLC0415 - as above

    with rest_errors(catalog):
        yield


@contextmanager
def file_errors(table: Table, *kinds: type[Exception]) -> Iterator[None]:
    """Report a file of a table that is not whole: what reads it lets its own errors through.

    Args:
        table: whose files are read.
        kinds: errors of a file, of what reads it beside PyIceberg.

    Raises:
        BoundaryError: names the table, and what to do.
    """
    wrong: tuple[type[Exception], ...] = (EOFError, UnicodeDecodeError, zlib.error, *kinds)
    try:
        yield
    except Exception as error:
        from pyarrow import ArrowInvalid  # noqa: PLC0415 - who reads metadata alone does not need it

        if not isinstance(error, (*wrong, ArrowInvalid)):
            raise
        raise damaged(settings_of(table.catalog), f"A file of {'.'.join(table.name())}", error) from error


def damaged(settings: Settings, what: str, error: Exception) -> BoundaryError:
    """The error of a file that is gone or damaged; `what` says of which table."""
    said = first_line(error)  # DuckDB adds lines of SQL
    if number := next((number for words, number in _NO_DAMAGE.items() if words in said), None):
        return BoundaryError(
            f"{what} could not be read ({said}). Nothing was read.", home_fix(settings.home, OSError(number, said))
        )
    return BoundaryError(
        f"{what} is missing or damaged ({said}). Nothing was read.",
        f"If you have a whole copy of this file, put it back: nothing is lost. {RESTORE}"
        if settings.target == "embedded"
        else "Restore the bucket and the catalog's database from one backup.",
    )


@contextmanager
def _home_errors(home: Path, kinds: tuple[type[Exception], ...] = (DBAPIError, *_FILES)) -> Iterator[None]:
    """A catalog, or files of tables, that can't be used, as an error that names the lakehouse's home."""
    try:
        yield
    except FileNotFoundError as error:
        raise BoundaryError(
            f"The lakehouse in {home} is incomplete: a file of a table is missing ({error}). The rows of this "
            "table are as they were.",
            f"If you have a copy of this file, put it back: nothing is lost. {RESTORE}",
        ) from error
    except kinds as error:
        cause = cause_of(error)
        what = "catalog (`catalog.db`)" if isinstance(error, DBAPIError) else "files"
        raise ServiceError(
            f"The {what} of the lakehouse in {home} can't be used ({type(cause).__name__}: {cause}). {LAST_CHANGE} "
            f"{home_fix(home, cause)}"
        ) from error


def cause_of(error: Exception) -> Exception:
    """The error without SQLAlchemy's frame, whose text has the SQL in it, over several lines."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return cause if isinstance(cause, Exception) else error


def is_full(error: Exception) -> bool:
    """Whether this error, of the system or of SQLite, says that the disk is full."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "disk is full" in str(error) or "No space left" in str(error)


def home_fix(home: Path, cause: object) -> str:
    """What to do about a home that can't be used: the one thing that the error proves."""
    number = cause.errno if isinstance(cause, OSError) else None
    words = str(cause)
    if isinstance(cause, Exception) and is_full(cause):
        return (
            f"The disk of {home} is full. Free space there and run the same command again. `lakehouse maintain --now` "
            "frees space too: it removes each snapshot that is neither current nor named by a branch or tag."
        )
    if (
        number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
        or "readonly" in words
        or "unable to open" in words
    ):
        return (
            f"Check that {home} is a folder that you may read and write, or set LAKEHOUSE_HOME to such a folder. "
            "Then run the same command again."
        )
    if "locked" in words:
        return "Another process has locked the catalog. Run the same command again when that process has ended."
    if number == errno.EIO or "I/O" in words:
        return f"The disk of {home} failed to read or write. Check the disk, then run the same command again."
    if number in (errno.EMFILE, errno.ENFILE):
        return "Too many files are open. Allow more (`ulimit -n 4096`), then run the same command again."
    return _damage_fix(home, cause)


def _damage_fix(home: Path, cause: object) -> str:
    """What to do about a file that is damaged, if the error proves it."""
    number = cause.errno if isinstance(cause, OSError) else None
    if number is not None or (isinstance(cause, sqlite3.Error) and not any(said in str(cause) for said in _BROKEN)):
        return (
            "Nothing proves that a file is damaged. Run the same command again. If it fails again, check the disk of "
            f"{home}."
        )
    return (
        "The file is damaged, or is not what its name says. If you have a whole copy of it, as new, put it back: "
        f"nothing is lost. {RESTORE}"
    )
