"""Loading one file: each version that landed is one new snapshot, or none.

The steps, in `_load_landed`: is it there already? · accept it: read and conform it in batches (reading.py, conform.py),
write a data file beside the table's others, audit it · one commit.
A kill at any point leaves the table as it was, or with the new file whole; the same command again is right in both.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import dataset_named
from lakehouse.errors import CommitError, LakehouseError, LandingError, RefusedError
from lakehouse.formats.protocol import UnreadRows
from lakehouse.iceberg.catalog import service_errors, settings_of
from lakehouse.iceberg.commit import ATTEMPTS, MovedError, Replacement, commit, discarding
from lakehouse.iceberg.merge import Merged
from lakehouse.iceberg.staging import staged
from lakehouse.iceberg.tables import check_declared_types, ensure_raw_tables, partition_of, raw_schema
from lakehouse.iceberg.timeline import skew
from lakehouse.landing import Landed, Landing
from lakehouse.landing.record import is_generated
from lakehouse.loading.acceptance import (
    Change,
    OtherParts,
    still_current,
    superseded,
)
from lakehouse.loading.conform import Conformer, plan
from lakehouse.loading.cursor import check_no_gap, has_cursor
from lakehouse.loading.file_rows import FileRows, file_rows
from lakehouse.loading.reading import Reading, opened, rows_in_all
from lakehouse.loading.result import LoadResult
from lakehouse.loading.set_aside import LoadedBy, Rejected, SetAside, beside
from lakehouse.progress import Progress


def load(
    catalog: Catalog,
    landing: Landing,
    file: DatasetFile,
    *,
    again: bool = False,
    allow_shrink: bool = False,
    allow_strays: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
    before_commit: Callable[[], object] = lambda: None,
) -> LoadResult:
    """Load a landed file in one snapshot, or none if the table holds it; one more if another version lands meanwhile.

    Args:
        catalog: where the tables are.
        landing: where the file is.
        file: which file: a month or a day of a dataset, or all of it.
        again: load even if the table already holds these bytes, for a declaration that has changed; once for a
            `run_id`.
        allow_shrink: accept a file with no rows, or with fewer than half of the rows it replaces.
        allow_strays: accept a file of which most rows, or all bytes, are those of another part.
        run_id: recorded in the snapshot's summary; made up if absent.
        progress: called with rows done and rows in the file.
        before_commit: called before each commit, once the file is accepted; the load waits for it.

    Raises:
        LandingError: nothing is landed for the part, or the landed file is gone or has another length.
        RefusedError: the file can't be loaded as it is, or its bytes are not those recorded at landing.
        CommitError: the catalog or store did not take it, or did not answer. If it did not answer, the table holds the
            old rows or the new ones, whole, and the message says so.
        ServiceError: the catalog or store does not answer. The last change was made whole or not at all.
    """
    with service_errors(catalog):
        return _load(
            catalog,
            landing,
            file,
            again=again,
            allow_shrink=allow_shrink,
            allow_strays=allow_strays,
            run_id=run_id or str(uuid.uuid4()),
            progress=progress,
            before_commit=before_commit,
        )


def _load(
    catalog: Catalog,
    landing: Landing,
    file: DatasetFile,
    *,
    again: bool,
    allow_shrink: bool,
    allow_strays: bool,
    run_id: str,
    progress: Progress | None,
    before_commit: Callable[[], object],
) -> LoadResult:
    started = time.monotonic()
    while True:
        landed = landing.find(file)
        if landed is None:
            raise LandingError(
                f"No file of {file.label} is landed, so nothing of it was loaded. Run `lakehouse load {file.label}`, "
                "which lands it first."
            )
        change = Change(
            file=file,
            source=landed.origin,
            sha256=landed.sha256,
            run_id=run_id,
            again=again,
            allow_shrink=allow_shrink,
            allow_strays=allow_strays,
        )
        try:
            result = _load_landed(
                catalog, landing, landed, change, progress=progress, before_commit=before_commit, started=started
            )
        except (LandingError, RefusedError):
            if not superseded(landing, landed):
                raise
        else:
            # Also after a commit: the table may have held the newer version already. Then the load of that version did
            # nothing, and this commit has put the older one in its place.
            if not _overtaken(landing, landed):
                return result
        # Another version landed meanwhile, and this one is no longer what is to be loaded: start again.


def _overtaken(landing: Landing, landed: Landed) -> bool:
    """Whether another version has landed since this one was loaded.

    False if the landing zone does not answer: a load that is done must not be reported as failed.
    """
    try:
        return superseded(landing, landed)
    except LakehouseError:
        return False


def _load_landed(
    catalog: Catalog,
    landing: Landing,
    landed: Landed,
    change: Change,
    *,
    progress: Progress | None,
    before_commit: Callable[[], object],
    started: float,
) -> LoadResult:
    ensure_raw_tables(catalog)
    dataset = dataset_named(change.file.dataset)
    _check_part(dataset, change.file)
    table = catalog.load_table(dataset.table)
    check_declared_types(table, dataset)
    rejected = _rejected(catalog, dataset, landed, change)
    held = change.held_rows(table)
    if held is not None:
        set_aside = rejected.settle() if rejected else 0
        if not rejected or _has_all(change, table, set_aside):
            return _result(change, dataset.table, None, held, set_aside, clock=skew(table), started=started)
        change = replace(change, again=True)  # the rows that were set aside are gone: they are read again
    check_no_gap(landed, dataset, table)
    with ExitStack() as stack:
        accepted = _accept(stack, catalog, landing, landed, change, table=table, rejected=rejected, progress=progress)
        with discarding(table, accepted.files):
            before_commit()
        snapshot_id, merged = _commit(catalog, landed, change, accepted, table=table, rejected=rejected)
    return _result(
        change,
        dataset.table,
        snapshot_id,
        accepted.loaded,
        accepted.aside.rows if accepted.aside else 0,
        unknown=accepted.unknown,
        merged=merged,
        clock=skew(table),
        started=started,
    )


@dataclass(frozen=True)
class _Accepted:
    """A file whose rows may be loaded: staged as a data file or, where the dataset has a key, waiting to be merged.

    `source_rows` counts the file's rows, `loaded` those of them that go into the table; the others are `aside`.
    """

    files: list[DataFile]
    rows: FileRows | None
    aside: SetAside | None
    source_rows: int
    loaded: int
    unknown: tuple[str, ...]
    synthetic: bool
    check: Callable[[Table], None]


def _accept(
    stack: ExitStack,
    catalog: Catalog,
    landing: Landing,
    landed: Landed,
    change: Change,
    *,
    table: Table,
    rejected: Rejected | None,
    progress: Progress | None,
) -> _Accepted:
    """Read the landed file once, conform it and refuse it if it can't be loaded. What it keeps on disk is `stack`'s.

    Raises:
        RefusedError: the file can't be loaded as it is.
    """
    dataset, part, name = dataset_named(change.file.dataset), change.file.part, landed.file.name
    unread: UnreadRows = {}
    with landing.local(landed) as path, opened(path, landed, unread if rejected else None) as (reader, check):
        match = plan(dataset, part, reader.schema, name)
        if reader.rows is not None and not rejected:  # as early as it can be known: some rows may be set aside
            change.check_size(table, reader.rows, name)
        # The number of rows tells two files apart. Not where rows are set aside: another load of these bytes may have
        # set aside others, so the table may hold fewer or more of them.
        others = OtherParts(change, name, None if rejected else reader.rows)
        others.check(table)
        aside = rows = None
        if rejected:
            load, total = LoadedBy(change.sha256, change.run_id), partial(rows_in_all, reader, path, dataset, check)
            aside = stack.enter_context(closing(SetAside(rejected, name, load, total, unread)))
        if dataset.key:
            rows = stack.enter_context(file_rows(settings_of(catalog), dataset, name, match.sources, reader.place))
        conformer = Conformer(dataset, part, match, name, reader.place, needs_keys=aside is not None)
        keep_keys = rows.keep_keys if rows else None
        reading = Reading(reader, conformer, check, progress=progress, aside=aside, keep_keys=keep_keys)
        file = None
        if rows:
            rows.take(reading.batches())
            reading.finish(change)
        else:
            file = staged(
                table,
                _as_the_table_has_them(table, dataset, reading.placed_batches()),
                f"{part or dataset.name}-{change.sha256[:8]}",
                partition_of(table, part),
                partial(reading.finish, change),
            )
    current = still_current(landing, landed, change, reading.loaded, aside.rows if aside else 0)

    def check_again(state: Table) -> None:
        check_declared_types(state, dataset)
        current(state)
        others.check(state)

    return _Accepted(
        files=[file] if file else [],
        rows=rows,
        aside=aside,
        source_rows=reading.rows,
        loaded=reading.loaded,
        unknown=match.unknown,
        synthetic=reader.is_synthetic or is_generated(landed),
        check=check_again,
    )


def _commit(
    catalog: Catalog, landed: Landed, change: Change, accepted: _Accepted, *, table: Table, rejected: Rejected | None
) -> tuple[int | None, Merged | None]:
    """The one commit of a load: the staged file in place of its part's rows, or its rows merged by key.

    Returns:
        The snapshot's id, None if the table holds this file already; and what was merged.
    """
    dataset, rows, aside = dataset_named(change.file.dataset), accepted.rows, accepted.aside
    bad = aside.rows if aside else None
    replacement = partial(change.replacement, accepted.source_rows, synthetic=accepted.synthetic, set_aside=bad)
    with_bad_rows = partial(beside, rejected, aside)
    if rows is None:
        with with_bad_rows(table, accepted.files):
            return commit(catalog, dataset.table, accepted.files, replacement(), check=accepted.check), None
    # An extract by a cursor mostly has rows that are here, good and bad ones: a snapshot of them would say nothing.
    news = rejected and aside and aside.rows and has_cursor(dataset) and rejected.lacks(aside)
    return _merge(
        catalog,
        landed,
        rows,
        change,
        replaced_by=replacement,
        with_bad_rows=with_bad_rows,
        records_unchanged=bool(news) or not has_cursor(dataset),
        check=accepted.check,
    )


def _check_part(dataset: Dataset, file: DatasetFile) -> None:
    """Refuse a month of a dataset that comes by the day, and the like."""
    if not dataset.parts.has(file.part):
        name, word = dataset.name, dataset.parts.word
        if isinstance(dataset.parts, Whole):
            raise RefusedError(
                f"The dataset {name} is one file, which has no months or days. Nothing was loaded. Write `lakehouse "
                f"load {name}`, without {file.part}."
            )
        given = f"{file.part} is a {type(file.part).__name__.lower()}" if file.part else f"no {word} is given"
        raise RefusedError(
            f"The dataset {name} comes by the {word}, and {given}. Nothing was loaded. Write a {word}: `lakehouse load "
            f"{name} {dataset.parts.example}`."
        )


def _rejected(catalog: Catalog, dataset: Dataset, landed: Landed, change: Change) -> Rejected | None:
    """The table of the dataset's rejected rows; None if a bad row refuses its file."""

    def current() -> LoadedBy | None:
        found = change.current_load(catalog.load_table(dataset.table))
        return LoadedBy(*found[:2]) if found else None

    name = dataset.rejected_table
    return Rejected(catalog, dataset, landed, name, current) if name else None


def _has_all(change: Change, table: Table, set_aside: int) -> bool:
    """Whether all rows are there that the table's load has set aside; where its snapshot has expired, nobody knows."""
    found = change.current_load(table)
    return found is None or found[2] is None or found[2] == set_aside


def _merge(
    catalog: Catalog,
    landed: Landed,
    rows: FileRows,
    change: Change,
    *,
    replaced_by: Callable[..., Replacement],
    with_bad_rows: Callable[[Table, list[DataFile]], AbstractContextManager[None]],
    records_unchanged: bool,
    check: Callable[[Table], None],
) -> tuple[int | None, Merged | None]:
    """Merge the file's rows into the newest state of the table; again, where others have changed it meanwhile.

    With `records_unchanged`, a merge that changes nothing makes a snapshot too.

    Returns:
        The snapshot's id and what was merged; None for both if the table holds this file already, or if there is
        nothing new in an extract by a cursor.

    Raises:
        RefusedError: the file begins where the table does not reach.
    """
    dataset = dataset_named(change.file.dataset)
    for _ in range(ATTEMPTS):
        table = catalog.load_table(dataset.table)
        check_no_gap(landed, dataset, table)
        merge = rows.compare(table, again=change.again)
        if not records_unchanged and merge.changes_nothing:
            return None, None

        def unmoved(handle: Table, base: int | None = merge.snapshot_id) -> None:
            check(handle)
            current = handle.current_snapshot()
            if (current.snapshot_id if current else None) != base:
                raise MovedError(f"{dataset.table} was changed meanwhile")

        batches = rows.new_rows(table, merge, change.sha256)
        file = staged(table, batches, f"{dataset.name}-{change.sha256[:8]}", None)
        files, replacement = [file] if file else [], replaced_by(merge=merge)
        try:
            with with_bad_rows(table, files):
                snapshot_id = commit(catalog, dataset.table, files, replacement, check=unmoved)
        except MovedError:
            continue
        return snapshot_id, merge.merged if snapshot_id else None
    raise CommitError(
        f"{dataset.table}: {change.file.label} could not be merged, because others changed the table at each of "
        f"{ATTEMPTS} attempts. The table is as they left it; run the same command again when they are done."
    )


def _result(
    change: Change,
    table: str,
    snapshot_id: int | None,
    rows: int,
    set_aside: int,
    *,
    unknown: tuple[str, ...] = (),
    merged: Merged | None = None,
    clock: str | None = None,
    started: float,
) -> LoadResult:
    return LoadResult(
        file=change.file,
        table=table,
        action="unchanged" if snapshot_id is None else "loaded",
        snapshot_id=snapshot_id,
        rows=rows,
        set_aside=set_aside,
        source_sha256=change.sha256,
        unknown_columns=unknown,
        merged=merged,
        clock=clock,
        seconds=time.monotonic() - started,
    )


def _as_the_table_has_them(
    table: Table, dataset: Dataset, batches: Iterator[list[pa.Array[Any]]]
) -> Iterator[list[pa.Array[Any]]]:
    """Batches in the order of the table's columns, which is not the declaration's once that has gained or lost one.

    A column that is added comes last in a table. One that is no longer declared stays, and is null from then on.
    """
    place = {column.name: i for i, column in enumerate(raw_schema(dataset).fields)}
    fields = list(schema_to_pyarrow(table.schema()))
    for arrays in batches:
        rows = len(arrays[0])
        yield [arrays[place[f.name]] if f.name in place else pa.nulls(rows, f.type) for f in fields]
