"""The Iceberg catalog of the target: SQLite on `embedded`, the REST catalog on `trino`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyarrow.fs import AwsStandardS3RetryStrategy
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, RESTError
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from requests import RequestException, Session
from requests.adapters import HTTPAdapter
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import IntegrityError, OperationalError

from lakehouse.errors import ServiceError

if TYPE_CHECKING:
    from lakehouse.settings import Settings

# A service that is away is one clear error within half a minute: a load asks catalog and store several times. A commit
# that takes longer counts as not answered, and is looked for.
CONNECT_SECONDS, READ_SECONDS = 5, 8
STORE_SECONDS, STORE_TRIES = 5, 2
SQLITE_SECONDS = 25
CATALOG_TABLES = 2  # that PyIceberg makes in a new catalog, one after the other


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


def open_catalog(settings: Settings) -> Catalog:
    """A fresh handle on the catalog.

    Raises:
        ServiceError: the REST catalog does not answer.
    """
    if settings.target == "embedded":
        settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
        # a writer waits this long for another process's commit to SQLite
        uri = f"sqlite:///{settings.catalog_file}?timeout={SQLITE_SECONDS}"
        # As it is, not percent-encoded: PyIceberg takes the path literally, and would make a folder `my%20lake`.
        return _SqliteCatalog(
            "lakehouse", uri=uri, warehouse=f"file:///{settings.warehouse_dir.as_posix().lstrip('/')}"
        )
    try:
        return _RestCatalog("lakehouse", **_rest_properties(settings))
    except (RequestException, RESTError) as error:
        raise ServiceError(
            f"The Iceberg REST catalog at {settings.rest_url} does not answer ({type(error).__name__}). "
            "Start the stack with `make stack-up`, or set REST_URL; `lakehouse doctor` shows what is missing."
        ) from error


@contextmanager
def service_errors(catalog: Catalog) -> Iterator[None]:
    """Catalog and object store that fail underneath, as errors of ours that name them."""
    try:
        yield
    except (RequestException, RESTError) as error:
        raise ServiceError(
            f"The Iceberg REST catalog at {catalog.properties.get('uri')} failed ({type(error).__name__}: {error}). "
            "Tables are as they were; see that it is up (`lakehouse doctor`) and run the same command again."
        ) from error
    except OSError as error:
        if "AWS Error" not in str(error):
            raise
        raise ServiceError(
            f"The object store at {catalog.properties.get('s3.endpoint')} failed ({error}). Tables are as they were; "
            "see that it is up, and that S3_ACCESS_KEY and S3_SECRET_KEY are right, and run the same command again."
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
