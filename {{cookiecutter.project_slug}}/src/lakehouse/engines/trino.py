"""Trino as the SQL engine: bound parameters, Arrow results, time travel, one clear error for each kind of trouble."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import requests
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed
from trino import exceptions
from trino.auth import BasicAuthentication
from trino.dbapi import Connection, Cursor, connect
from urllib3.util.retry import Retry

from lakehouse.engines.as_of import CATALOG, travel, versions
from lakehouse.engines.protocol import PartFiles, not_shown
from lakehouse.engines.trino_types import arrow_table
from lakehouse.errors import DONE_STAYS, LakehouseError, QueryError, ServiceError, SettingsError
from lakehouse.iceberg.names import no_table
from lakehouse.iceberg.publication import SCRATCH
from lakehouse.iceberg.versions import AsOf, Timeline, parse_as_of
from lakehouse.landing import SHA256_LENGTH
from lakehouse.network import way_to
from lakehouse.s3_users import CATALOG_WAITS, refused_user, s3_refuses

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from lakehouse.settings import Settings

CONNECT_SECONDS, READ_SECONDS = 5, 20
STARTING_SECONDS = 20
BATCH = 20_000

_MISSING = frozenset({"TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "NOT_FOUND"})


class TrinoEngine:
    """One connection; safe to use from several threads, each query has a cursor of its own.

    Only connecting is tried again: a statement that may have reached Trino is never sent twice.
    """

    name = "trino"
    maintains = True

    def __init__(self, settings: Settings) -> None:
        self.url = settings.trino_url
        self.user = settings.trino_user
        self._settings = settings
        self._connection = _connect(settings)

    def query(self, sql: str, parameters: Sequence[Any] = (), as_of: str | None = None) -> pa.Table:
        """See `Engine.query`. With one table's snapshot, views keep reading what they are made of.

        Raises:
            QueryError: Trino refused the statement, or a table has no such version.
            ServiceError: Trino, or what it needs, does not answer.
        """
        if as_of is not None:
            sql = self._moved(sql, parse_as_of(as_of))
        return self._run(sql, parameters)

    def tables(self) -> list[str]:
        """Every Iceberg table of the catalog, as `schema.table`, sorted; views are none."""
        found = self._rows(
            f"select table_schema, table_name from {CATALOG}.information_schema.tables "
            "where table_type = 'BASE TABLE' and table_schema not in ('information_schema', 'system') "
            f"and not starts_with(table_schema, '{SCRATCH}') order by 1, 2"
        )
        return [f"{row['table_schema']}.{row['table_name']}" for row in found]

    def timeline(self, table: str) -> Timeline:
        """Its snapshots, branches and tags; see `Engine.timeline`."""
        from lakehouse.iceberg.timeline import timeline_of  # noqa: PLC0415 - as in `_loaded`

        # from the metadata: Trino 483's "t$history" lists snapshots, also those that only a branch has, and no rollback
        return timeline_of(self._loaded(table))

    def part_files(self, table: str, column: str = "file_month") -> list[PartFiles]:
        """Months or days that the table holds now, from `"t$partitions"`; see `Engine.part_files`."""
        if self.timeline(table).current is None:  # Trino 483 can't list the partitions of a table without a snapshot
            return []
        rows = self._metadata(
            table,
            "partitions",
            f"partition.{column} as part, record_count, file_count, total_size, "
            "data.source_sha256.min as low, data.source_sha256.max as high",
            "1",
        )
        deleted = {
            file["part"]
            for file in self._metadata(table, "files", f"partition.{column} as part, content", "1")
            if file["content"]
        }
        known = {row["part"]: (row["record_count"], row["low"], row["high"]) for row in rows}
        # "t$partitions" adds the rows of delete files, and a compaction by Trino keeps 16 characters of the bounds:
        # the rows themselves know better
        unsure = [
            part
            for part, (_, low, high) in known.items()
            if part in deleted or min(len(low or ""), len(high or "")) < SHA256_LENGTH
        ]
        known = {part: found for part, found in known.items() if part not in unsure}
        known |= self._asked(table, column, unsure)
        return [
            PartFiles(
                first_day=row["part"],
                rows=count,
                files=row["file_count"],
                bytes=row["total_size"],
                source_sha256=low if low == high else None,
            )
            for row in rows
            if row["part"] in known  # a part all of whose rows are deleted is none
            for count, low, high in [known[row["part"]]]
        ]

    def _asked(self, table: str, column: str, parts: list[date]) -> dict[date, tuple[int, str, str]]:
        """Rows of each part, and the bounds of their hashes, as a query finds them."""
        if not parts:
            return {}
        schema, _, name = table.partition(".")
        found = self._run(
            f"select {column} as part, count(*) as row_count, min(source_sha256) as low, max(source_sha256) as high "
            f"from {CATALOG}.{_quoted(schema)}.{_quoted(name)} "
            f"where {column} in ({', '.join('?' * len(parts))}) group by {column}",
            parts,
        )
        return {row["part"]: (row["row_count"], row["low"], row["high"]) for row in found.to_pylist()}

    def version_sql(self, table: Table, snapshot_id: int) -> str:
        """One version of a table, to stand after `from`."""
        return f"{'.'.join(table.name())} for version as of {snapshot_id}"

    def close(self) -> None:
        """Give back the connection."""
        self._connection.close()  # type: ignore[no-untyped-call]

    def _moved(self, sql: str, as_of: AsOf) -> str:
        """The statement with a version behind each table. A table without that ref is named."""
        wanted = versions(sql, as_of, "trino")
        if unknown := sorted(set(wanted) - set(self.tables())):
            raise self._no_versions(unknown[0], as_of)
        from lakehouse.iceberg.refs import snapshot_at  # noqa: PLC0415 - a plain query should not wait for it

        # By id, from the metadata that PyIceberg reads: both engines answer a time by the same rule.
        moved = {table: snapshot_at(self._loaded(table), version) for table, version in wanted.items()}
        return travel(sql, moved.get, "trino")

    def _no_versions(self, name: str, as_of: AsOf) -> QueryError:
        """What to say of a name that is no Iceberg table: it is a view's, or nothing has it."""
        schema, _, table = name.partition(".")
        found = self._run(
            f"select 1 from {CATALOG}.information_schema.tables where table_schema = ? and table_name = ?",
            [schema, table],
        )
        if found.num_rows:
            return QueryError(
                f"{name} is a view, so it has no version {as_of.value}: it always reads its tables as they are now. "
                "Query those tables with --as-of instead."
            )
        return self._no_table(name)

    def _no_table(self, name: str) -> QueryError:
        return no_table(name, self.tables())

    def _loaded(self, table: str) -> Table:
        """The table's metadata, from the catalog.

        Raises:
            QueryError: no such table.
        """
        # a plain query should not wait for these
        from lakehouse.iceberg.catalog import open_catalog, service_errors  # noqa: PLC0415
        from lakehouse.iceberg.refs import load_table  # noqa: PLC0415

        catalog = open_catalog(self._settings)
        with service_errors(catalog):
            return load_table(catalog, table)

    def _metadata(self, table: str, kind: str, columns: str, order: str) -> list[dict[str, Any]]:
        schema, _, name = table.partition(".")
        source = f"{CATALOG}.{_quoted(schema)}.{_quoted(f'{name}${kind}')}"
        try:
            return self._rows(f"select {columns} from {source} order by {order}")
        except QueryError as error:
            cause = error.__cause__
            if isinstance(cause, exceptions.TrinoQueryError) and cause.error_name in _MISSING:
                raise self._no_table(table) from cause
            raise

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._run(sql, ()).to_pylist()
        return rows

    def _run(self, sql: str, parameters: Sequence[Any]) -> pa.Table:
        cursor = self._connection.cursor()  # asks nobody yet
        with self._translated(cursor), closing(cursor):
            for attempt in Retrying(
                retry=retry_if_exception(partial(_is_starting, cursor)),
                stop=stop_after_delay(STARTING_SECONDS),
                wait=wait_fixed(1),
                reraise=True,
            ):
                with attempt:
                    cursor.execute(sql, list(parameters) or None)
            columns = cursor.description or []
            batches = iter(lambda: cursor.fetchmany(BATCH), [])
            return arrow_table([c[0] for c in columns], [c[1] for c in columns], batches)

    @contextmanager
    def _translated(self, cursor: Cursor) -> Iterator[None]:
        """Trino's own errors of a statement as ours."""
        try:
            yield
        except LakehouseError:
            raise
        except exceptions.TrinoQueryError as error:
            text = f"Trino: {error.message} [{error.error_name}, query {error.query_id}]."
            causes = _causes(error)
            by_store = any(kind.startswith(_S3) for kind in causes)
            if any(s3_refuses(message) for message in causes.values()):
                raise ServiceError(f"{text} {refused_user('trino' if by_store else 'catalog')}") from error
            if error.error_name == "ICEBERG_COMMIT_ERROR" and not by_store:
                raise ServiceError(
                    f"{text} Another process changed the table meanwhile, or the catalog did not confirm the change. "
                    f"{DONE_STAYS} `lakehouse history TABLE` shows whether this change was made. Then run the same "
                    "command again."
                ) from error
            if error.error_name in _LOST_WORKER:
                raise ServiceError(
                    f"{text} A worker of Trino was lost. {DONE_STAYS} If the command writes, first see whether it has "
                    "written (`lakehouse history TABLE`). Then run it again."
                ) from error
            if _TIMEOUT in causes and not by_store:
                raise ServiceError(
                    f"{text} Trino answers, but the REST catalog does not. {DONE_STAYS} {CATALOG_WAITS}"
                ) from error
            if error.error_type == "EXTERNAL" or error.error_name in _OUTAGES or by_store:
                raise ServiceError(
                    f"{text} Trino answers, but a service that it needs failed. {DONE_STAYS} Check that REST catalog "
                    "and object store are running (`lakehouse doctor`), then run the same command again."
                ) from error
            raise QueryError(text) from error
        except exceptions.HttpError as error:
            if _REFUSED.match(str(error)) and cursor.query_id is None:  # not of a page that came later
                raise ServiceError(
                    f"Trino at {way_to(self.url)}, or a proxy before it, refuses the request of {self.user!r} "
                    f"({error}), so nothing was run. Correct TRINO_USER and TRINO_PASSWORD. If it takes logins over "
                    "https only, correct TRINO_URL."
                ) from error
            raise ServiceError(
                f"Trino at {way_to(self.url)} answered {error}. A statement that was sent may have taken effect, or "
                "not. Look at the log of Trino, or of a proxy before it (`docker compose logs trino` for the project's "
                "own stack). Then run the same command again."
            ) from error
        except json.JSONDecodeError as error:
            state = " The statement may have taken effect, or not." if cursor.query_id else ""
            raise ServiceError(
                f"The service at {way_to(self.url)} is no Trino, or a proxy answers in its place: the answer is no "
                f"JSON ({error}).{state} Correct TRINO_URL; `lakehouse doctor` shows which services answer."
            ) from error
        except exceptions.TrinoDataError as error:
            raise not_shown(error) from error
        except (exceptions.Error, requests.RequestException) as error:
            raise ServiceError(
                f"Trino at {way_to(self.url)} does not answer ({_reason(error)}). Start it (`make stack-up`) or "
                "correct TRINO_URL. A statement that was running may or may not have taken effect."
            ) from error


_REFUSED = re.compile(r"error 40[13]\b")  # how the client's words of an answer begin
# Trino had that from the object store itself; errors that the catalog had from it, the catalog hands on as text.
_S3 = "software.amazon.awssdk."
_TIMEOUT = "java.net.SocketTimeoutException"
# A proxy's words for a service that is away.
_GATEWAY = frozenset({502, 503, 504})
_OUTAGES = frozenset({"SERVER_STARTING_UP", "SERVER_SHUTTING_DOWN"})
_LOST_WORKER = frozenset(
    {
        "NO_NODES_AVAILABLE",
        "REMOTE_TASK_ERROR",
        "REMOTE_TASK_MISMATCH",
        "REMOTE_HOST_GONE",
        "PAGE_TRANSPORT_TIMEOUT",
        "PAGE_TRANSPORT_ERROR",
        "TOO_MANY_REQUESTS_FAILED",
    }
)


def is_up(settings: Settings) -> bool:
    """Whether Trino is there and has started. Asked without a login; a proxy's own answer counts as Trino's."""
    try:
        with _session(settings) as session:
            answer = session.get(f"{settings.trino_url.rstrip('/')}/v1/info", timeout=CONNECT_SECONDS)
    except requests.RequestException:
        return False
    if answer.status_code in _GATEWAY:
        return False
    try:
        return not answer.json()["starting"]
    except (ValueError, KeyError, TypeError):
        return True


class _Adapter(HTTPAdapter):
    """Trusts the authority that the settings name. requests would let REQUESTS_CA_BUNDLE win over a session's own."""

    def __init__(self, ca_file: Path | None, retry: Retry) -> None:
        self._ca_file = ca_file
        super().__init__(max_retries=retry)

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """The request, verified against that authority."""
        if self._ca_file:
            kwargs["verify"] = str(self._ca_file)
        return super().send(request, **kwargs)


def _connect(settings: Settings) -> Connection:
    address = urlsplit(settings.trino_url)
    password = settings.trino_password.get_secret_value() if settings.trino_password else None
    if password and address.scheme == "http":
        raise SettingsError(
            "TRINO_PASSWORD is set, but TRINO_URL begins with http. A password is only sent over https, so nothing was "
            "sent. Set TRINO_URL to an https address, or remove TRINO_PASSWORD."
        )
    connection: Connection = connect(  # type: ignore[no-untyped-call]
        host=address.hostname,
        port=address.port or (443 if address.scheme == "https" else 80),
        http_scheme=address.scheme,
        user=settings.trino_user,
        auth=BasicAuthentication(settings.trino_user, password) if password else None,
        catalog=CATALOG,
        source="lakehouse",
        timezone="UTC",
        http_session=_session(settings),
        request_timeout=(CONNECT_SECONDS, READ_SECONDS),
        max_attempts=1,
        legacy_prepared_statements=False,
        heartbeat_interval=None,
    )
    return connection


def _session(settings: Settings) -> requests.Session:
    session = requests.Session()
    # Connecting may be tried again, and so may reading a further page of a result; sending a statement may not.
    retry = Retry(
        total=3,
        connect=3,
        read=1,
        status=2,
        other=0,
        backoff_factor=0.3,
        allowed_methods={"GET"},
        status_forcelist=_GATEWAY,
        raise_on_status=False,
    )
    session.mount(f"{urlsplit(settings.trino_url).scheme}://", _Adapter(settings.trino_ca_file, retry))
    return session


def _causes(error: exceptions.TrinoQueryError) -> dict[str, str]:
    """What failed, and what made it fail, as message by class: often only the last says who refused whom."""
    causes: dict[str, str] = {}
    info = error.failure_info
    while info:
        causes[str(info.get("type"))] = str(info.get("message"))
        info = info.get("cause")
    return causes


def _is_starting(cursor: Cursor, error: BaseException) -> bool:
    """Trino refused because it is not up yet: the statement did not run.

    A statement that was taken has an id. 503 is then the answer to a later request, and sending it again would run it
    twice.
    """
    return (isinstance(error, exceptions.Http503Error) and cursor.query_id is None) or (
        isinstance(error, exceptions.TrinoQueryError) and error.error_name == "SERVER_STARTING_UP"
    )


def _reason(error: BaseException) -> str:
    """The first cause: `[Errno 111] Connection refused` says more than the three wrappers around it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return str(error) or type(error).__name__


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
