"""One commit: old files out, new files in, one snapshot; what to do when others write too, or an answer is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pyarrow import ArrowException
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    BadRequestError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    ValidationException,
)
from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from sqlalchemy.exc import DBAPIError, OperationalError

from lakehouse.errors import CommitError, RefusedError, UnconfirmedError
from lakehouse.iceberg.catalog import SqliteCatalog, cause_of, home_fix
from lakehouse.iceberg.files import live_files, remove
from lakehouse.iceberg.transaction import begin, overwrite
from lakehouse.s3_users import refused_user, s3_refuses

ATTEMPTS = 20
LOOK_SECONDS = 8.0
LOCKED_TRIES = 2  # each has waited `SQLITE_SECONDS`, so a process that stands still with a lock is an error in a minute
_CLOCK = ("Invalid update timestamp", "Invalid snapshot timestamp", "Expected sorted snapshot log")
# After these a commit was certainly not made.
FORBIDDEN = (UnauthorizedError, ForbiddenError, AuthorizationExpiredError)
REFUSED = (
    *FORBIDDEN,
    ValidationException,
    CommitFailedException,
    OperationalError,
    BadRequestError,
    TooManyRequestsError,
)


def lost_answer() -> tuple[type[Exception], ...]:
    """The errors after which a commit may have been made all the same."""
    from requests import RequestException  # noqa: PLC0415 - `embedded` asks no service

    return CommitStateUnknownException, ServerError, ServiceUnavailableError, RequestException


@dataclass(frozen=True)
class Replacement:
    """What a commit puts in place of what.

    Args:
        what: it, for messages: `green 2024-01`.
        predicate: the rows that go. Commits to other rows don't conflict with it.
        summary: what the snapshot's summary says beside Iceberg's own counts, by key.
        is_held: whether a state of the table holds the new rows already.
        prepare: what else the commit changes, before the rows: the table's columns.
        paths: which of the data files with such rows go; all of them if None.
        if_unconfirmed: what the error says next if nobody knows whether the commit was made.
    """

    what: str
    predicate: BooleanExpression
    summary: Mapping[str, str]
    is_held: Callable[[Table], bool]
    prepare: Callable[[Transaction], None] | None = None
    paths: frozenset[str] | None = None
    if_unconfirmed: str = (
        "Run the same command again: it looks first, and loads nothing twice. Only with `--again` it makes another "
        "snapshot, of the same rows."
    )

    def files(self, table: Table) -> list[DataFile]:
        """The data files that go."""
        live = live_files(table, self.predicate)
        return live if self.paths is None else [file for file in live if file.file_path in self.paths]


class MovedError(RefusedError):
    """The table is not in the state any more that a commit was prepared for. Raised by its check, and never shown."""


@contextmanager
def discarding(table: Table, files: Sequence[DataFile]) -> Iterator[None]:
    """Remove staged files when what follows fails."""
    try:
        yield
    except BaseException:
        for file in files:
            remove(table.io, file.file_path)
        raise


def commit(
    catalog: Catalog,
    name: str,
    files: Sequence[DataFile],
    replacement: Replacement,
    *,
    check: Callable[[Table], None],
) -> int | None:
    """Put the staged files in place of the rows that `replacement` names, in one snapshot.

    Commits of other rows are rebased over: PyIceberg does that, thanks to the predicate. After a commit of the same
    rows this starts again from the newest state, and stops if that state holds the new rows already.

    An answer can be lost: the catalog took the commit, and the connection broke before it said so, or the answer took
    longer than the client waits (`READ_SECONDS` in catalog.py). So the id of the snapshot is noted before the catalog
    is asked. After an error that leaves it open, the newest state is loaded, and if a noted snapshot is in it, the
    commit was made and this returns its id. If it is not, this commits again.

    The unanswered commit may still arrive after the repeated one was sent. The rows are not there twice then. Each
    commit tells the catalog which snapshot the table must have (`AssertRefSnapshotId`), and the catalog refuses it if
    the table has another one by now. So the first that arrives makes the other one stale. If the repeated one is
    refused for that, the next look finds the unanswered one. PyIceberg keeps a snapshot's id where it rebases it.

    A lost answer within `LOOK_SECONDS` of the first one means another attempt; one after that ends the commit. With the
    time that a client waits to connect and to read (catalog.py), a catalog that is away is an error within a minute.
    Nobody may know then whether the commit was made, and the error says so, and what to do. The same load, run again,
    looks first. The staged files are left, because a late commit may still need them; `lakehouse maintain` removes them
    if none did.

    `check` is asked of each state that a commit is prepared on, also of one that PyIceberg takes to rebase. If others
    commit between the check and ours, the catalog refuses ours, and `check` is asked again.

    Returns:
        The snapshot's id, or None if the table holds the new rows already; the staged files are removed then.

    Raises:
        RefusedError: by `check`; the staged files are removed, unless an answer was lost.
        CommitError: the catalog or store did not take it.
        UnconfirmedError: nobody knows whether the catalog took it.
    """
    table = catalog.load_table(name)
    unanswered: set[int] = set()  # snapshots whose commit was not answered
    reason: Exception | None = None
    give_up, locked = float("inf"), 0
    for attempt in range(ATTEMPTS):
        try:
            if attempt:
                time.sleep(random.uniform(0.02, 0.1) * min(attempt, 10))  # noqa: S311 - writers out of step
                table = reloaded(catalog, name)
            if arrived := next((i for i in unanswered if table.snapshot_by_id(i)), None):
                return arrived
            if replacement.is_held(table):
                _discard(table, files, replacement)
                return None
            with discarding(table, () if unanswered else files):  # a commit that was not answered may still arrive
                check(table)
            if gone := next((f.file_path for f in files if not table.io.new_input(f.file_path).exists()), None):
                raise _RemovedError(gone)
            rebased = _Rebased(table, check, unanswered)
            return _replace(rebased, files, replacement, unanswered)
        except (ValidationException, CommitFailedException, OperationalError) as error:
            reason = error  # someone else was quicker, or SQLite stayed locked
            locked += isinstance(error, OperationalError)
            if locked == LOCKED_TRIES:
                break
        except lost_answer() as error:
            reason = error
            give_up = min(give_up, time.monotonic() + LOOK_SECONDS)
            if _is_clock(error) or time.monotonic() >= give_up:
                break
        except (OSError, RESTError, ArrowException) as error:
            reason = error
            break
    if unanswered:
        raise UnconfirmedError(
            f"The catalog did not confirm that {replacement.what} was committed to {name} ({reason}). The table holds "
            f"either all old rows or all new ones. {replacement.if_unconfirmed}"
        ) from reason
    for file in files:
        remove(table.io, file.file_path)
    raise _not_committed(catalog, name, replacement, reason) from reason


class _RemovedError(OSError):
    """A staged file, which this names, was removed while it was being loaded."""


class _Rebased(Table):
    """A table for one commit: where PyIceberg rebases it over another commit, `check` is asked of the new state too.

    Another month's commit is no conflict, but it may be the reason to refuse this one.
    """

    def __init__(self, table: Table, check: Callable[[Table], None], own: set[int]) -> None:
        super().__init__(
            table.name(), table.metadata, table.metadata_location, table.io, table.catalog, config=table.config
        )
        self._check = check
        self._own = own

    def refresh(self) -> Table:
        """Take the newest state.

        Raises:
            ValidationException: `check` refuses that state. PyIceberg removes its manifests then, and `commit` starts
                again, where the same check says why. Not raised if the commit has arrived after all.
        """
        super().refresh()
        if not any(self.snapshot_by_id(i) for i in self._own):
            try:
                self._check(self)
            except RefusedError as error:
                raise ValidationException(str(error)) from error
        return self


def _not_committed(catalog: Catalog, name: str, replacement: Replacement, reason: Exception | None) -> CommitError:
    """What to say, and to advise, of a commit that certainly was not made."""
    if reason is not None and _is_clock(reason):
        return CommitError(
            f"{replacement.what} was not committed to {name}, because this machine's clock "
            f"({datetime.now(UTC):%H:%M:%S} UTC) and the catalog's clock disagree ({reason}). The table is as it was. "
            "Set the clock and run the same command again."
        )
    if isinstance(reason, _RemovedError):
        return CommitError(
            f"{replacement.what} was not committed to {name}: its data file {reason} was removed while it was being "
            "loaded, for example by `lakehouse maintain --unreferenced-days 0`. The table is as it was. Run the same "
            "command again."
        )
    what_next = "Check that catalog and object store answer (`lakehouse doctor`), then run the same command again."
    if isinstance(catalog, SqliteCatalog) and isinstance(reason, OSError | DBAPIError):
        reason = cause_of(reason)
        what_next = home_fix(catalog.settings.home, reason)
    elif s3_refuses(str(reason)):
        what_next = refused_user("catalog" if isinstance(reason, RESTError) else "loader")
    elif turned_away := commit_refused(reason):
        what_next = turned_away
    elif isinstance(reason, ValidationException | CommitFailedException):
        what_next = (
            f"Other processes changed it at each of {ATTEMPTS} attempts. Run the same command again when they have "
            "ended."
        )
    return CommitError(
        f"{replacement.what} could not be committed to {name} ({type(reason).__name__}: {reason}). The table is as it "
        f"was. {what_next}"
    )


def commit_refused(reason: Exception | None) -> str:
    """What to do about a catalog that turned a commit away without a look at it; nothing if it did not."""
    if isinstance(reason, FORBIDDEN):
        return (
            "The catalog does not let this user commit. Check which login it, or a proxy in front of it, asks for. "
            "Then run the same command again."
        )
    if isinstance(reason, TooManyRequestsError):
        return "The catalog is overloaded. Run the same command again in a minute."
    return ""


def _is_clock(error: Exception) -> bool:
    """Whether the catalog refused a snapshot because its time is far before or after the catalog's own."""
    return any(words in str(error) for words in _CLOCK)


def _replace(table: Table, files: Sequence[DataFile], replacement: Replacement, unanswered: set[int]) -> int:
    """One overwrite snapshot. Its id is in `unanswered` from just before the catalog is asked until it has answered."""
    old = replacement.files(table)
    transaction = begin(table)
    if replacement.prepare:
        replacement.prepare(transaction)
    with overwrite(transaction, replacement.summary) as snapshot:
        snapshot.delete_by_predicate(replacement.predicate)
        for data_file in old:
            snapshot.delete_data_file(data_file)
        for data_file in files:
            snapshot.append_data_file(data_file)
    unanswered.add(snapshot.snapshot_id)
    try:
        transaction.commit_transaction()
    except REFUSED:
        unanswered.discard(snapshot.snapshot_id)  # certainly not committed; an earlier one, not answered, may still be
        raise
    except lost_answer() as error:
        if _is_clock(error):
            unanswered.discard(snapshot.snapshot_id)  # refused for its time
        raise
    except OSError:
        if isinstance(table.catalog, SqliteCatalog):
            unanswered.discard(snapshot.snapshot_id)  # its metadata file was not written, so SQLite was not asked
        raise
    unanswered.discard(snapshot.snapshot_id)
    return snapshot.snapshot_id


def reloaded(catalog: Catalog, name: str) -> Table:
    """The table as the catalog knows it now; a catalog that is coming back is given a moment."""
    until = time.monotonic() + LOOK_SECONDS
    while True:
        try:
            return catalog.load_table(name)
        except lost_answer():
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _discard(table: Table, files: Sequence[DataFile], replacement: Replacement) -> None:
    """Remove the staged files, except those that the table holds: a commit with a lost answer may have arrived late."""
    held = {file.file_path for file in live_files(table, replacement.predicate)} if files else set()
    for file in files:
        if file.file_path not in held:
            remove(table.io, file.file_path)
