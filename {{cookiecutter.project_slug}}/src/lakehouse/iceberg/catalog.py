"""The Iceberg catalog of the target: SQLite on `embedded`, the REST catalog on `trino`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
from pyarrow.fs import AwsStandardS3RetryStrategy
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, RESTError, ValidationError
from pyiceberg.table import Table
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from requests import ReadTimeout, RequestException, Session
from requests.adapters import HTTPAdapter
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from lakehouse.errors import ServiceError
from lakehouse.iceberg.refusals import CATALOG_WAITS, refused_user, s3_refuses

if TYPE_CHECKING:
    from lakehouse.settings import Settings

# A service that is away is one clear error within half a minute: a load asks catalog and store several times. A commit
# that takes longer counts as not answered, and is looked for.
CONNECT_SECONDS, READ_SECONDS = 5, 8
STORE_SECONDS, STORE_TRIES = 5, 2
SQLITE_SECONDS = 25
CATALOG_TABLES = 2  # that PyIceberg makes in a new catalog, one after the other
_FILES = (OSError, ValidationError)  # what a file of a table raises that is gone, is damaged, or can't be written


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
    """PyIceberg's REST client with timeouts, which it does not set."""

    def _create_session(self) -> Session:
        session = super()._create_session()
        session.mount("http://", _Timeouts())
        session.mount("https://", _Timeouts())
        return session


class _SqliteCatalog(SqlCatalog):
    """Can be begun by several processes at once, and keeps no connection between two calls.

    A dropped handle leaves none open, of which Python 3.13 would warn.
    """

    def __init__(self, home: Path, **properties: str) -> None:
        self.home = home
        super().__init__("lakehouse", **properties)

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
        """As PyIceberg's; a metadata file that is gone or damaged is told by all who read a table."""
        with _home_errors(self.home, _FILES):  # a locked catalog is what a commit waits for
            return super().load_table(identifier)


def open_catalog(settings: Settings) -> Catalog:
    """A fresh handle on the catalog.

    Raises:
        ServiceError: the REST catalog does not answer or is none, or the files of `embedded` can't be used.
    """
    if settings.target == "embedded":
        with _home_errors(settings.home):
            return _open_sqlite(settings)
    try:
        return _RestCatalog("lakehouse", **_rest_properties(settings))
    except pydantic.ValidationError as error:
        raise ServiceError(
            f"What answers at {settings.rest_url} is no Iceberg REST catalog: its answer can't be read as one. "
            "Correct REST_URL; `lakehouse doctor` shows what answers where."
        ) from error
    except (RequestException, RESTError) as error:
        raise ServiceError(
            f"The Iceberg REST catalog at {settings.rest_url} does not answer ({type(error).__name__}). "
            "Start the stack with `make stack-up`, or set REST_URL; `lakehouse doctor` shows what is missing."
        ) from error


def _open_sqlite(settings: Settings) -> Catalog:
    settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
    # a writer waits this long for another process's commit to SQLite
    uri = f"sqlite:///{settings.catalog_file}?timeout={SQLITE_SECONDS}"
    # As it is, not percent-encoded: PyIceberg takes the path literally, and would make a folder `my%20lake`.
    warehouse = f"file:///{settings.warehouse_dir.as_posix().lstrip('/')}"
    return _SqliteCatalog(settings.home, uri=uri, warehouse=warehouse)


@contextmanager
def service_errors(catalog: Catalog) -> Iterator[None]:
    """Catalog and store that fail underneath, as errors of ours that name them."""
    if isinstance(catalog, _SqliteCatalog):
        with _home_errors(catalog.home):
            yield
        return
    try:
        yield
    except (RequestException, RESTError) as error:
        what_next = "See that it is up (`lakehouse doctor`) and run the same command again."
        if s3_refuses(str(error)):
            what_next = refused_user("catalog")
        elif isinstance(error, ReadTimeout):
            what_next = CATALOG_WAITS
        raise ServiceError(
            f"The Iceberg REST catalog at {catalog.properties.get('uri')} failed ({type(error).__name__}: {error}). "
            f"Tables are as they were. {what_next}"
        ) from error
    except OSError as error:
        if "AWS Error" not in str(error):
            raise
        what_next = "See that it is up, that S3_ACCESS_KEY and S3_SECRET_KEY are right, and run the same command again."
        if s3_refuses(str(error)):
            what_next = refused_user("loader")
        raise ServiceError(
            f"The object store at {catalog.properties.get('s3.endpoint')} failed ({error}). Tables are as they were. "
            f"{what_next}"
        ) from error


@contextmanager
def _home_errors(home: Path, kinds: tuple[type[Exception], ...] = (DBAPIError, *_FILES)) -> Iterator[None]:
    """A catalog, or files of tables, that can't be used, as an error that names the lakehouse's home."""
    try:
        yield
    except kinds as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        what = "catalog, catalog.db," if isinstance(error, DBAPIError) else "files"
        raise ServiceError(
            f"The {what} of the lakehouse in {home} can't be used ({type(cause).__name__}: {cause}). Tables are as "
            "they were; see that LAKEHOUSE_HOME names the folder that is meant, that it is whole and may be written, "
            "that no other process holds the catalog and the disk has room, and run the same command again."
        ) from error


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
