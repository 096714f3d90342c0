"""The Iceberg REST catalog of the target `trino`: PyIceberg's client, with timeouts and with errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pydantic
from pyarrow.fs import AwsStandardS3RetryStrategy
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import RESTError
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.typedef import Identifier
from requests import ReadTimeout, RequestException, Session
from requests.adapters import HTTPAdapter

from lakehouse.errors import LAST_CHANGE, ServiceError
from lakehouse.iceberg.identity import LAYERS, NAME, check_table
from lakehouse.iceberg.timeline import stamped
from lakehouse.network import way_to
from lakehouse.s3_users import CATALOG_WAITS, refused_user, s3_refuses

if TYPE_CHECKING:
    from lakehouse.settings import Settings

# A service that is away is one clear error within a minute: a load asks catalog and store several times. A commit that
# takes longer counts as not answered, and is looked for. A catalog that has just started needs 8 s on a busy laptop.
CONNECT_SECONDS, READ_SECONDS = 5, 16
STORE_SECONDS, STORE_TRIES = 5, 2


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


class OwnRestCatalog(RestCatalog):
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


def open_rest(settings: Settings) -> OwnRestCatalog:
    """A fresh handle on the catalog.

    Raises:
        ServiceError: it does not answer, or is no Iceberg REST catalog.
    """
    try:
        return OwnRestCatalog(settings, **_properties(settings))
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


@contextmanager
def rest_errors(catalog: Catalog) -> Iterator[None]:
    """Catalog and store that fail underneath, as errors of ours that name them."""
    uri = str(catalog.properties.get("uri"))
    try:
        yield
    except pydantic.ValidationError as error:
        wrong = error.errors()[0]
        said = f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
        if "metadata" in wrong["loc"]:
            raise ServiceError(
                f"The Iceberg REST catalog at {way_to(uri)} has a table that can't be read here ({said}). "
                f"{LAST_CHANGE} Read it with the tool that made it."
            ) from error
        raise ServiceError(
            f"The service at {way_to(uri)} is no Iceberg REST catalog: its answer can't be read as one ({said}). "
            f"{LAST_CHANGE} Correct REST_URL; `lakehouse doctor` shows which services answer."
        ) from error
    except (RequestException, RESTError) as error:
        what_next = "Check that it is running (`lakehouse doctor`), then run the same command again."
        if s3_refuses(str(error)):
            what_next = refused_user("catalog")
        elif isinstance(error, ReadTimeout):
            what_next = CATALOG_WAITS
        raise ServiceError(
            f"The Iceberg REST catalog at {way_to(uri)} failed ({type(error).__name__}: {error}). "
            f"{LAST_CHANGE} {what_next}"
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
            f"The object store at {catalog.properties.get('s3.endpoint')} failed ({error}). {LAST_CHANGE} {what_next}"
        ) from error


def _properties(settings: Settings) -> dict[str, str]:
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
