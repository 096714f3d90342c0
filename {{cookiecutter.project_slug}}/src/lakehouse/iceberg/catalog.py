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

import pyarrow as pa
import pydantic
from pyarrow.fs import AwsStandardS3RetryStrategy
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    NamespaceAlreadyExistsError,
    RESTError,
    ValidationError,
)
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from requests import ReadTimeout, RequestException, Session
from requests.adapters import HTTPAdapter
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from lakehouse.errors import DONE_STAYS, BoundaryError, ServiceError, first_line
from lakehouse.iceberg.identity import RESTORE, check_home, check_not_behind, check_table, newest_on_disk
from lakehouse.iceberg.publication import SCRATCH
from lakehouse.iceberg.timeline import stamped
from lakehouse.network import way_to
from lakehouse.s3_users import CATALOG_WAITS, refused_user, s3_refuses

if TYPE_CHECKING:
    from lakehouse.settings import Settings

# A service that is away is one clear error within a minute: a load asks catalog and store several times. A commit that
# takes longer counts as not answered, and is looked for. A catalog that has just started needs 8 s on a busy laptop.
CONNECT_SECONDS, READ_SECONDS = 5, 16
STORE_SECONDS, STORE_TRIES = 5, 2
SQLITE_SECONDS = 25
NAME = "lakehouse"  # of the catalog, in PyIceberg and in SQLite
LAYERS = ("raw", "silver", "gold")
CATALOG_TABLES = 2  # that PyIceberg makes in a new catalog, one after the other
# What DuckDB says of a file that is whole.
_NO_DAMAGE = {os.strerror(number): number for number in (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO)}
_BROKEN = ("malformed", "not a database", "no such table")  # SQLite's words for a file that is damaged
# What a file of a table raises that is gone, is damaged, or can't be written.
_FILES = (OSError, EOFError, ValidationError)


class FewTries(AwsStandardS3RetryStrategy):
    """How often the object store is asked. PyIceberg makes one by its name, without arguments."""

    def __init__(self) -> None:
        super().__init__(max_attempts=STORE_TRIES)


class _Timeouts(HTTPAdapter):
    """Bounds every request to the catalog; a catalog that hangs would otherwise hang a load for ever."""

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """The request, with a limit where the caller set none."""
        kwargs["timeout"] = kwargs.get("timeout") or (CONNECT_SECONDS, READ_SECONDS)
        return super().send(request, **kwargs)


class _RestCatalog(RestCatalog):
    """PyIceberg's REST client with timeouts, which it does not set. The project's own tables stay in its own bucket."""

    def __init__(self, settings: Settings, **properties: str) -> None:
        self.settings = settings
        super().__init__(NAME, **properties)

    def load_table(self, identifier: str | Identifier) -> Table:
        """As PyIceberg's. Refuses a table of raw, silver or gold whose files are in another bucket."""
        table: Table = super().load_table(identifier)
        if table.name()[0] in LAYERS:
            check_table(self.settings, table)
        return table

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """As PyIceberg's, with stamps that follow the log. Refuses a table whose files are in another bucket."""
        check_table(self.settings, table)
        answer: CommitTableResponse = super().commit_table(table, requirements, stamped(table.metadata, updates))
        return answer

    def _create_session(self) -> Session:
        session = super()._create_session()
        session.mount("http://", _Timeouts())
        session.mount("https://", _Timeouts())
        return session


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
    return isinstance(catalog, RestCatalog)


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
    try:
        return _RestCatalog(settings, **_rest_properties(settings))
    except pydantic.ValidationError as error:
        raise ServiceError(
            f"The service at {way_to(settings.rest_url)} is no Iceberg REST catalog: its answer can't be read as one. "
            "Nothing was changed. Correct REST_URL; `lakehouse doctor` shows which services answer."
        ) from error
    except RESTError as error:
        raise ServiceError(
            f"The Iceberg REST catalog at {way_to(settings.rest_url)} answered with an error ({type(error).__name__}: "
            f"{error}). Nothing was changed. Correct REST_URL, or look at the catalog's log. Then run the same command "
            "again."
        ) from error
    except RequestException as error:
        raise ServiceError(
            f"The Iceberg REST catalog at {way_to(settings.rest_url)} does not answer ({type(error).__name__}). "
            "Nothing was changed. Start the stack with `make stack-up`, or correct REST_URL; `lakehouse doctor` "
            "shows which services answer."
        ) from error


def open_sqlite(settings: Settings) -> SqliteCatalog:
    """The catalog of `embedded`, unchecked: `lakehouse adopt` opens one that names another home."""
    settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
    # a writer waits this long for another process's commit to SQLite
    uri = f"sqlite:///{settings.catalog_file}?timeout={SQLITE_SECONDS}"
    # As it is, not percent-encoded: PyIceberg takes the path literally, and would make a folder `my%20lake`.
    warehouse = f"file:///{settings.warehouse_dir.as_posix().lstrip('/')}"
    return SqliteCatalog(settings, uri=uri, warehouse=warehouse)


def settings_of(catalog: Catalog) -> Settings:
    """The settings that `open_catalog` made this catalog from."""
    assert isinstance(catalog, SqliteCatalog | _RestCatalog)  # noqa: S101 - for the type checker: we open no others
    return catalog.settings


# A command may commit to several tables, and a lost connection may hide that the last commit was made.
_STATE = f"{DONE_STAYS} Its last change was made whole or not at all."


@contextmanager
def service_errors(catalog: Catalog) -> Iterator[None]:
    """Catalog and store that fail underneath, as errors of ours that name them."""
    if isinstance(catalog, SqliteCatalog):
        with _home_errors(catalog.settings.home):
            yield
        return
    uri = str(catalog.properties.get("uri"))
    try:
        yield
    except pydantic.ValidationError as error:
        wrong = error.errors()[0]
        said = f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
        if "metadata" in wrong["loc"]:
            raise ServiceError(
                f"The Iceberg REST catalog at {way_to(uri)} has a table that can't be read here ({said}). {_STATE} "
                "Read it with the tool that made it."
            ) from error
        raise ServiceError(
            f"The service at {way_to(uri)} is no Iceberg REST catalog: its answer can't be read as one ({said}). "
            f"{_STATE} Correct REST_URL; `lakehouse doctor` shows which services answer."
        ) from error
    except (RequestException, RESTError) as error:
        what_next = "Check that it is running (`lakehouse doctor`), then run the same command again."
        if s3_refuses(str(error)):
            what_next = refused_user("catalog")
        elif isinstance(error, ReadTimeout):
            what_next = CATALOG_WAITS
        raise ServiceError(
            f"The Iceberg REST catalog at {way_to(uri)} failed ({type(error).__name__}: {error}). {_STATE} {what_next}"
        ) from error
    except OSError as error:
        if "AWS Error" not in str(error):
            raise
        what_next = (
            "Check that it is running and that S3_ACCESS_KEY and S3_SECRET_KEY are right, then run the same command "
            "again."
        )
        if s3_refuses(str(error)):
            what_next = refused_user("loader")
        raise ServiceError(
            f"The object store at {catalog.properties.get('s3.endpoint')} failed ({error}). {_STATE} {what_next}"
        ) from error


@contextmanager
def file_errors(table: Table, *kinds: type[Exception]) -> Iterator[None]:
    """Report a file of a table that is not whole: what reads it lets its own errors through.

    Args:
        table: whose files are read.
        kinds: errors of a file, of what reads it beside PyIceberg.

    Raises:
        BoundaryError: names the table, and what to do.
    """
    wrong: tuple[type[Exception], ...] = (EOFError, UnicodeDecodeError, zlib.error, pa.ArrowInvalid, *kinds)
    try:
        yield
    except wrong as error:
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
            f"The {what} of the lakehouse in {home} can't be used ({type(cause).__name__}: {cause}). {_STATE} "
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


def _rest_properties(settings: Settings) -> dict[str, str]:
    """What PyIceberg needs to reach catalog and object store."""
    return {
        "uri": settings.rest_url,
        "warehouse": f"s3://{settings.s3_bucket}/iceberg",
        "s3.endpoint": settings.s3_url,
        "s3.region": settings.s3_region,
        "s3.access-key-id": settings.s3_access_key,
        "s3.secret-access-key": settings.s3_secret_key.get_secret_value(),
        "s3.force-virtual-addressing": "false",
        "s3.connect-timeout": str(CONNECT_SECONDS),
        "s3.request-timeout": str(STORE_SECONDS),
        "s3.retry-strategy-impl": f"{__name__}.FewTries",
    }
