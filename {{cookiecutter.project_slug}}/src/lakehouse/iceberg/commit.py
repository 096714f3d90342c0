"""One commit of a load: old files out, new files in, provenance in the summary; what to do when others write too."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
from pyarrow import ArrowException
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import (
    BadRequestError,
    CommitFailedException,
    CommitStateUnknownException,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    ValidationException,
)
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, EqualTo
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import StringType
from requests import RequestException
from sqlalchemy.exc import OperationalError

from lakehouse.datasets.model import DATASETS
from lakehouse.datasets.months import Month
from lakehouse.errors import CommitError, RefusedError
from lakehouse.iceberg.writer import remove
from lakehouse.landing import SHA256_LENGTH, Landed, Landing
from lakehouse.s3_users import refused_user, s3_refuses

MAIN = "main"
ATTEMPTS = 20
LOOK_SECONDS = 8.0
_CLOCK = ("Invalid update timestamp", "Invalid snapshot timestamp", "Expected sorted snapshot log")
# After these a commit may have been made all the same.
LOST_ANSWER = (CommitStateUnknownException, ServerError, ServiceUnavailableError, RequestException)


@dataclass(frozen=True)
class Change:
    """What a load wants the table to hold: a month (or the whole lookup) from these bytes."""

    dataset: str
    month: Month | None
    source: str
    sha256: str
    run_id: str
    again: bool
    allow_shrink: bool
    allow_strays: bool = False

    @property
    def what(self) -> str:
        """It in words, for messages."""
        return f"{self.dataset} {self.month}" if self.month else self.dataset

    @property
    def predicate(self) -> BooleanExpression:
        """The rows it replaces. Commits to other months don't conflict with it."""
        return month_is(self.month) if self.month else AlwaysTrue()

    def summary(self, rows: int, *, synthetic: bool) -> dict[str, str]:
        """The snapshot's provenance."""
        words = {
            "lakehouse.dataset": self.dataset,
            "lakehouse.source": self.source,
            "lakehouse.source-sha256": self.sha256,
            "lakehouse.source-rows": str(rows),
            "lakehouse.run-id": self.run_id,
        }
        if self.month:
            words["lakehouse.file-month"] = str(self.month)
        if synthetic:
            words["lakehouse.synthetic"] = "true"
        return words

    def held_rows(self, table: Table) -> int | None:
        """How many rows the table holds of exactly these bytes; None if it does not, or a load is asked for again."""
        if self.again:
            return None
        files = live_files(table, self)
        if files:
            same = all(file_hash(table, file) == self.sha256 for file in files)
            return sum(file.record_count for file in files) if same else None
        emptied = self._last_load(table)
        if emptied is not None and emptied.get("lakehouse.source-rows") == "0":
            return 0 if emptied.get("lakehouse.source-sha256") == self.sha256 else None
        return None

    def _last_load(self, table: Table) -> dict[str, str] | None:
        """The summary of the newest load of this month that the table's state descends from."""
        snapshot: Snapshot | None = table.current_snapshot()
        month = str(self.month) if self.month else None
        while snapshot is not None:
            words = dict(snapshot.summary.additional_properties) if snapshot.summary else {}
            if words.get("lakehouse.dataset") == self.dataset and words.get("lakehouse.file-month") == month:
                return words
            snapshot = table.snapshot_by_id(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id else None
        return None

    def check_size(self, table: Table, rows: int, file: str) -> None:
        """Refuse an empty file, or one that is plainly cut short, unless that is meant.

        Raises:
            RefusedError: names both counts and the way out.
        """
        if self.allow_shrink:
            return
        held = sum(f.record_count for f in live_files(table, self))
        share = DATASETS[self.dataset].shrink_share if self.dataset in DATASETS else 0.5
        if rows == 0 or rows < share * held:
            than = f", fewer than {share:.0%} of the {held:,} it would replace" if held else ""
            raise RefusedError(
                f"{file} has {rows:,} rows{than}. Nothing was loaded; if that is meant, load it with --allow-shrink."
            )


def check_bytes(landed: Landed, found: str) -> None:
    """Refuse bytes whose SHA-256 is not the one recorded at landing.

    Raises:
        RefusedError: names the file and both hashes.
    """
    if found != landed.sha256:
        raise RefusedError(
            f"{landed.name}: its bytes are not those that landed on {landed.landed_at:%Y-%m-%d} (SHA-256 "
            f"{found[:12]}… instead of {landed.sha256[:12]}…). Nothing was loaded; get the "
            "published file again with --refresh."
        )


def superseded(landing: Landing, landed: Landed) -> bool:
    """Whether another version has landed since `landed` was found."""
    newest = landing.find(landed.dataset, landed.month)
    return newest is not None and newest.sha256 != landed.sha256


def still_meant(landing: Landing, landed: Landed, change: Change, rows: int) -> Callable[[Table], None]:
    """What `commit` asks of each handle: while a load conformed, another may have landed and loaded a newer version.

    Raises, when called:
        RefusedError: another version has landed, or the table holds far more of this month than it did.
    """

    def check(table: Table) -> None:
        if superseded(landing, landed):
            raise RefusedError(
                f"{landed.name} was landed anew while it was being loaded. Nothing was loaded; run the same command "
                "again."
            )
        change.check_size(table, rows, landed.name)

    return check


@contextmanager
def discarding(table: Table, file: DataFile | None) -> Iterator[None]:
    """Remove a staged file when what follows fails."""
    try:
        yield
    except BaseException:
        if file is not None:
            remove(table.io, file.file_path)
        raise


def month_is(month: Month) -> BooleanExpression:
    """The rows of one file month."""
    by_name: Any = EqualTo  # its stub knows bound terms only
    predicate: BooleanExpression = by_name("file_month", month.first_day.isoformat())
    return predicate


def live_files(table: Table, change: Change) -> list[DataFile]:
    """The data files of the month (or of the whole table) that a reader sees now. Reads manifests, no data."""
    scan = table.scan(row_filter=change.predicate)
    return [task.file for task in scan.plan_files()]


def file_hash(table: Table, file: DataFile) -> str | None:
    """The one `source_sha256` of a data file; None if the file mixes sources.

    From its metrics; where a compaction by Trino has cut these to 16 characters, from the column itself.
    """
    low, high = _hash_bounds(table, file)
    if low is None or high is None:
        return None
    if min(len(low), len(high)) < SHA256_LENGTH:
        return _hash_in(table, file.file_path)
    return str(from_bytes(StringType(), low)) if low == high else None


def prefix_of_hash(table: Table, file: DataFile) -> str | None:
    """What a data file's metrics alone say of its `source_sha256`: all of it, or where they are cut, its beginning.

    None if the file mixes sources, as far as the metrics show.
    """
    low, high = _hash_bounds(table, file)
    if low is None or high is None:
        return None
    least, greatest = (str(from_bytes(StringType(), bound)) for bound in (low, high))
    if min(len(low), len(high)) < SHA256_LENGTH:
        # An upper bound that is cut has its last character raised, so that no value is above it.
        least, greatest = least[: len(low) - 1], greatest[: len(low) - 1]
    return least if least == greatest else None


def _hash_bounds(table: Table, file: DataFile) -> tuple[bytes | None, bytes | None]:
    """The least and the greatest `source_sha256` in a data file's metrics."""
    field_id = table.schema().find_field("source_sha256").field_id
    return (file.lower_bounds or {}).get(field_id), (file.upper_bounds or {}).get(field_id)


def _hash_in(table: Table, path: str) -> str | None:
    source: Any = table.io.new_input(path)
    with source.open() as stream:
        column = pq.ParquetFile(stream).read(columns=["source_sha256"])["source_sha256"]
    found = column.unique().to_pylist()
    return str(found[0]) if len(found) == 1 else None


def commit(
    catalog: Catalog,
    name: str,
    file: DataFile | None,
    rows: int,
    change: Change,
    *,
    check: Callable[[Table], None],
    synthetic: bool = False,
) -> int | None:
    """Put the staged file in place of what the table holds of this month: one snapshot, with provenance.

    Other months' commits are rebased over (PyIceberg does, thanks to the predicate). The same month's are not: start
    again, and stop if the winner brought the same bytes. When an answer is lost, look for our own snapshot first.

    `check` is asked after each fresh handle, also of the one that PyIceberg takes to rebase. A commit made after that
    fails with a conflict, so no further check is needed.

    Returns:
        The snapshot's id, or None if the table holds these bytes already; the staged file is removed then.

    Raises:
        RefusedError: by `check`; the staged file is removed.
        CommitError: the catalog or store did not take it; says whether that is certain.
    """
    table = catalog.load_table(name)
    lost: set[int] = set()  # snapshots whose commit was not answered
    reason: Exception | None = None
    give_up = float("inf")
    for attempt in range(ATTEMPTS):
        try:
            if attempt:
                time.sleep(random.uniform(0.02, 0.1) * min(attempt, 10))  # noqa: S311 - writers out of step
                table = reloaded(catalog, name)
            if landed := next((i for i in lost if table.snapshot_by_id(i)), None):
                return landed
            if change.held_rows(table) is not None:
                _discard(table, file, change)
                return None
            with discarding(table, None if lost else file):  # a commit that was not answered may still arrive
                check(table)
            if file is not None and not table.io.new_input(file.file_path).exists():
                raise CommitError(
                    f"{name}: {change.what} was not committed: its data file {file.file_path} was removed while it was "
                    "being loaded, for example by `lakehouse maintain --unreferenced-days 0`. The table is as it was; "
                    "run the same command again."
                )
            rebased = _Rebased(table, check, lost)
            return _replace(rebased, file, change, change.summary(rows, synthetic=synthetic), lost)
        except (ValidationException, CommitFailedException, OperationalError) as error:
            reason = error  # someone else was quicker, or SQLite stayed locked
        except LOST_ANSWER as error:
            reason = error
            if _is_clock(error):
                lost.clear()  # refused for its time, so certainly not committed
                break
            give_up = min(give_up, time.monotonic() + LOOK_SECONDS)
            if time.monotonic() >= give_up:
                break
        except (OSError, RESTError, ArrowException) as error:
            reason = error
            break
    if lost:
        raise CommitError(
            f"{name}: the catalog did not say whether it took {change.what} ({reason}). The table holds the old rows "
            "or the new ones, whole. Run the same command again: it looks first, and loads nothing twice."
        ) from reason
    if file is not None:
        remove(table.io, file.file_path)
    raise _not_committed(name, change, reason) from reason


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


def _not_committed(name: str, change: Change, reason: Exception | None) -> CommitError:
    """What to say, and to advise, of a commit that certainly was not made."""
    if reason is not None and _is_clock(reason):
        return CommitError(
            f"{name}: {change.what} was not committed: this machine's clock ({datetime.now(UTC):%H:%M:%S} UTC) and "
            f"the catalog's disagree ({reason}). The table is as it was; set the clock and run the same command again."
        )
    what_next = "Check that catalog and store answer (`lakehouse doctor`) and run the same command again."
    if s3_refuses(str(reason)):
        what_next = refused_user("catalog" if isinstance(reason, RESTError) else "loader")
    elif isinstance(reason, ValidationException | CommitFailedException):
        what_next = f"Others changed it at each of {ATTEMPTS} attempts; run the same command again when they are done."
    return CommitError(
        f"{name}: {change.what} could not be committed ({type(reason).__name__}: {reason}). The table is as it was. "
        f"{what_next}"
    )


def _is_clock(error: Exception) -> bool:
    """Whether the catalog refused a snapshot because its time is far before or after the catalog's own."""
    return any(words in str(error) for words in _CLOCK)


def _replace(table: Table, file: DataFile | None, change: Change, summary: dict[str, str], lost: set[int]) -> int:
    """One overwrite snapshot. Its id is in `lost` from just before the catalog is asked until it has answered."""
    old = live_files(table, change)
    transaction = table.transaction()
    with transaction.update_snapshot(summary, branch=MAIN).overwrite() as overwrite:
        overwrite.delete_by_predicate(change.predicate)
        for data_file in old:
            overwrite.delete_data_file(data_file)
        if file is not None:
            overwrite.append_data_file(file)
    lost.add(overwrite.snapshot_id)
    try:
        transaction.commit_transaction()
    except (ValidationException, CommitFailedException, OperationalError, BadRequestError):
        lost.discard(overwrite.snapshot_id)  # certainly not committed; an earlier one, not answered, may still be
        raise
    lost.discard(overwrite.snapshot_id)
    return overwrite.snapshot_id


def reloaded(catalog: Catalog, name: str) -> Table:
    """The table as the catalog knows it now; a catalog that is coming back is given a moment."""
    until = time.monotonic() + LOOK_SECONDS
    while True:
        try:
            return catalog.load_table(name)
        except LOST_ANSWER:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _discard(table: Table, file: DataFile | None, change: Change) -> None:
    """Remove the staged file, unless the table holds it: a commit whose answer was lost may have arrived late."""
    if file is not None and file.file_path not in {f.file_path for f in live_files(table, change)}:
        remove(table.io, file.file_path)
