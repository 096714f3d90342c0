"""Bad rows: kept on disk while a file is read, then written to the table of rejected rows beside its raw table.

SQLite's catalog can't commit two tables at once. So, on both targets, the rows that a load sets aside are added before
its commit, and those of earlier loads are removed after it. At each moment the rejected table has the rows that the raw
table's load set aside. After a kill it may have more. The next load of the part removes them. A row names its load by
hash and run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute, ipc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Column, Dataset, normalised
from lakehouse.datasets.sources import CursorValue, Since
from lakehouse.errors import CommitError, RefusedError
from lakehouse.formats.protocol import UnreadRows
from lakehouse.iceberg.catalog import settings_of
from lakehouse.iceberg.commit import ATTEMPTS, MovedError, Replacement, commit, discarding
from lakehouse.iceberg.files import live_files, rows_of_file
from lakehouse.iceberg.rows import batches_of
from lakehouse.iceberg.staging import staged
from lakehouse.iceberg.tables import RUN, SOURCE, partition_of, rejected_schema
from lakehouse.landing import Landed
from lakehouse.loading.conform import BadRow, as_text
from lakehouse.loading.fixes import fix_or_declare

# its stubs know no plain Python values
pc: Any = compute

_LOAD = (SOURCE[0], RUN[0])  # the columns that name the load
_ROW = ("column_name", "row_values")  # those that say what is wrong of which row; `reason` has its place too
Mask = npt.NDArray[np.bool_]
Texts = Any  # an array of strings
_ROWS = 8_192


@dataclass(frozen=True)
class LoadedBy:
    """The load of a row: the file's hash, and the run. A run of None stands for any: its snapshot has expired."""

    sha256: str
    run_id: str | None


_NONE = LoadedBy("", None)  # no row is of it


class SetAside:
    """The bad rows of one file.

    `total` says how many rows the file has. It is asked once, and only if there is a bad row. `unread` are rows that
    the file's reader could not read.
    """

    def __init__(
        self, rejected: Rejected, file: str, load: LoadedBy, total: Callable[[], int], unread: UnreadRows
    ) -> None:
        self._unread = unread
        self._dataset, self._part = rejected.dataset, rejected.file.part
        self._file, self.load, self._total = file, load, total
        self._tmp = settings_of(rejected.catalog).home / "tmp"
        self._schema: Any = schema_to_pyarrow(rejected_schema(self._dataset), include_field_ids=False)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._writer: Any = None
        self._most = self._of = -1
        self.rows = 0
        self._first = ""

    @property
    def left(self) -> int:
        """How many more rows may be bad."""
        if self._most < 0:
            self._of = self._total()
            self._most = int(Decimal(str(self._dataset.bad_share)) * self._of)
        return self._most - self.rows

    def take_unread(self, first: int, rows: int) -> UnreadRows:
        """What could not be read of the rows of a batch, by position in it. It is forgotten then."""
        here = [row for row in self._unread if first <= row < first + rows]
        return {row - first: self._unread.pop(row) for row in here}

    def add(self, batch: pa.RecordBatch, bad: Sequence[BadRow]) -> None:
        """Take the bad rows of a batch.

        Raises:
            RefusedError: there are more than the declaration allows; names the first.
        """
        self._first = self._first or bad[0].reason
        left = self.left
        self.rows += len(bad)
        if len(bad) > left:
            raise RefusedError(
                f"{self._file}: at least {self.rows:,} of its {self._of:,} rows are bad, and at most "
                f"{self._most:,} may be (bad_share={self._dataset.bad_share}). The first: {self._first}. "
                f"{fix_or_declare(self._dataset, 'If these rows are right, correct the columns or `bad_share`')}"
            )
        if self._folder is None:
            self._tmp.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(prefix="bad-rows-", dir=self._tmp, ignore_cleanup_errors=True)
            self._writer = ipc.new_stream(str(self._spool), self._schema)
        for first in range(0, len(bad), _ROWS):
            self._writer.write_batch(self._as_batch(batch, bad[first : first + _ROWS]))

    def batches(self) -> Iterator[dict[str, pa.Array[Any]]]:
        """All of them, in the order of the file: arrays by column."""
        if self._folder is None:
            return
        self._writer.close()
        with pa.OSFile(str(self._spool), "r") as source, ipc.open_stream(source) as stream:
            for batch in stream:
                yield dict(zip(batch.schema.names, batch.columns, strict=True))

    def close(self) -> None:
        """Remove them from the disk."""
        if self._folder is not None:
            self._writer.close()
            self._folder.cleanup()

    @property
    def _spool(self) -> Path:
        assert self._folder is not None  # noqa: S101 - for the type checker: it is asked once there are rows
        return Path(self._folder.name) / "rows.arrow"

    def _as_batch(self, batch: pa.RecordBatch, bad: Sequence[BadRow]) -> pa.RecordBatch:
        columns: dict[str, list[Any]] = {
            "file_row": [one.row for one in bad],
            "source_sha256": [self.load.sha256] * len(bad),
            "run_id": [self.load.run_id] * len(bad),
            "file_name": [self._file] * len(bad),
            "place": [one.place for one in bad],
            "column_name": [one.column for one in bad],
            "reason": [one.reason for one in bad],
            "row_values": [_as_json(batch, one) if one.text is None else one.text for one in bad],
        }
        if self._part and self._dataset.parts.column:
            columns[self._dataset.parts.column] = [self._part.first_day] * len(bad)
        return pa.RecordBatch.from_pydict(columns, schema=self._schema)


def _as_json(batch: pa.RecordBatch, bad: BadRow) -> str:
    row = {name: as_text(batch.column(n), bad.position) for n, name in enumerate(batch.schema.names)}
    return json.dumps({**row, **bad.found}, ensure_ascii=False)


@dataclass(frozen=True)
class Rejected:
    """The rejected table of a dataset, as the load of one file sees it.

    `current` says which load the raw table has of the file's part now; None if it has none.
    """

    catalog: Catalog
    dataset: Dataset
    landed: Landed
    table: str
    current: Callable[[], LoadedBy | None]

    @property
    def file(self) -> DatasetFile:
        """Which file it is."""
        return self.landed.file

    def lacks(self, rows: SetAside) -> bool:
        """Whether some of these rows are not in the table, set aside by any load."""
        table = self.catalog.load_table(self.table)
        wanted: Any = pa.array([], pa.large_string())
        for batch in rows.batches():
            wanted = pa.concat_arrays([wanted, _as_one(*(batch[name] for name in _ROW))])
        for file in live_files(table, self._predicate):
            for row in batches_of(table, file, _ROW):
                wanted = wanted.filter(pc.invert(pc.is_in(wanted, _as_one(*row))))
        return len(wanted) > 0

    def add(self, rows: SetAside) -> None:
        """Add what a load has set aside, before its own commit. Nothing is removed.

        A run that is tried again may have added them before.

        Raises:
            CommitError: the catalog or store did not take it.
        """
        table = self.catalog.load_table(self.table)
        if rows.rows and self._look(table, rows.load)[0] != rows.rows:
            self._commit(self._set_aside, table, rows.load, rows.batches(), frozenset())

    def settle(self, rows: SetAside | None = None, refused: LoadedBy = _NONE) -> int:
        """Remove the rows of all loads but the raw table's current one. Add `rows` again if another load removed them.

        A file of a dataset that is not complete replaces no other file: rows that other files brought stay, but not
        those of a load that was `refused`, nor a row that the current load set aside again, for the same columns. An
        extract has all rows from its beginning on: of those, no row stays that it did not set aside itself.

        Returns:
            How many rows of the current load are here.

        Raises:
            CommitError: the catalog or store did not take it, or others changed the table at each attempt.
        """
        try:
            return self._settled(rows, refused)
        except CommitError as error:
            if refused != _NONE:
                raise
            raise type(error)(
                f"{error} The file itself is loaded into {self.dataset.table}. {self.table} may still have rows that "
                "earlier loads set aside, or lack rows that this one did. Run the same command again."
            ) from error

    def _settled(self, rows: SetAside | None, refused: LoadedBy) -> int:
        for _ in range(ATTEMPTS):
            current = self.current() or _NONE
            table = self.catalog.load_table(self.table)
            again = self._set_aside_again(table, current)
            own, stale = self._look(table, current, refused, again)
            lost = rows if rows is not None and rows.load == current and own < rows.rows else None
            if not stale and lost is None:
                return own
            kept = (arrays for file in stale for arrays in self._kept(table, file, current, refused, again))
            added = chain(kept, lost.batches() if lost else ())
            what = self._set_aside if lost else f"the removal of rows that earlier loads of {self.file.label} set aside"
            try:
                self._commit(what, table, current, added, frozenset(file.file_path for file in stale))
            except MovedError:
                continue
            return lost.rows if lost else own
        raise CommitError(
            f"{self.table}: the rows that earlier loads of {self.file.label} set aside could not be removed, because "
            f"others changed the table at each of {ATTEMPTS} attempts. Run the same command again."
        )

    @property
    def _set_aside(self) -> str:
        return f"what was set aside of {self.file.label}"

    @property
    def _predicate(self) -> BooleanExpression:
        return rows_of_file(self.file)

    def _set_aside_again(self, table: Table, current: LoadedBy) -> Texts | None:
        """The rows of the current load, if a file does not replace the others: extracts overlap."""
        if self.dataset.parts.complete:
            return None
        found: list[Any] = []
        for file in live_files(table, self._predicate):
            for hashes, runs, *row in batches_of(table, file, (*_LOAD, *_ROW)):
                found.append(_as_one(*row).filter(pa.array(_of(current, hashes, runs))))
        return pa.concat_arrays(found) if found else pa.array([], pa.large_string())

    def _look(
        self, table: Table, current: LoadedBy, refused: LoadedBy = _NONE, again: Texts | None = None
    ) -> tuple[int, list[DataFile]]:
        """How many rows the current load has in the table, and which data files have rows that go."""
        own, stale = 0, []
        for file in live_files(table, self._predicate):
            goes = False
            for arrays in batches_of(table, file, (*_LOAD, *_ROW)):
                own += int(_of(current, *arrays[:2]).sum())
                goes = goes or bool(self._goes(current, refused, again, *arrays).any())
            if goes:
                stale.append(file)
        return own, stale

    def _goes(
        self, current: LoadedBy, refused: LoadedBy, again: Texts | None, hashes: Texts, runs: Texts, *row: Texts
    ) -> Mask:
        others = ~_of(current, hashes, runs)
        is_extract = self.dataset.source is not None and current.sha256 == self.landed.sha256
        if again is None or (is_extract and self.landed.since is None):
            return others
        comes_again: Mask = pc.is_in(_as_one(*row), again).to_numpy(zero_copy_only=False)
        same = _of(LoadedBy(current.sha256, None), hashes, runs)
        goes: Mask = same | _of(refused, hashes, runs) | comes_again
        if is_extract and self.landed.since is not None:
            goes |= _reach(self.landed.since, self.dataset, row[1])
        return others & goes

    def _kept(
        self, table: Table, file: DataFile, current: LoadedBy, refused: LoadedBy, again: Texts | None
    ) -> Iterator[dict[str, pa.Array[Any]]]:
        """The rows of a data file that stay."""
        names = table.schema().column_names
        for arrays in batches_of(table, file, names):
            columns = dict(zip(names, arrays, strict=True))
            stays = pa.array(~self._goes(current, refused, again, *(columns[name] for name in (*_LOAD, *_ROW))))
            yield {name: array.filter(stays) for name, array in columns.items()}

    def _commit(
        self, what: str, table: Table, load: LoadedBy, added: Iterable[dict[str, pa.Array[Any]]], paths: frozenset[str]
    ) -> None:
        """Put rows into the table, and take these data files out of it. Messages call that `what`."""

        def check(handle: Table) -> None:
            live = {file.file_path for file in live_files(handle, self._predicate)} if paths else set()
            if not paths <= live or (paths and (self.current() or _NONE) != load):
                raise MovedError(f"{self.table} was changed meanwhile")

        file = self._staged(table, added)
        summary = {
            **self.file.summary,
            "lakehouse.source-sha256": load.sha256,
            **({"lakehouse.run-id": load.run_id} if load.run_id else {}),
        }
        change = Replacement(what, self._predicate, summary, is_held=lambda _: False, paths=paths)
        commit(self.catalog, self.table, [file] if file else [], change, check=check)

    def _staged(self, table: Table, rows: Iterable[dict[str, pa.Array[Any]]]) -> DataFile | None:
        """The rows as a data file that nothing refers to yet, read back and compared; None without rows."""
        fields = list(schema_to_pyarrow(table.schema()))
        batches = (
            [arrays[f.name].cast(f.type) if f.name in arrays else pa.nulls(length, f.type) for f in fields]
            for arrays in rows
            if (length := len(arrays[SOURCE[0]]))
        )
        part = self.file.part
        return staged(table, batches, f"{part or self.dataset.name}-rejected", partition_of(table, part))


def _reach(since: Since, dataset: Dataset, values: Texts) -> Mask:
    """Which bad rows, as JSON objects, an extract has that begins there: the others are older, or nobody can tell."""
    column = next((column for column in dataset.columns if column.name == since.column), None)
    if column is None:  # it is no longer the cursor
        return np.zeros(len(values), dtype=np.bool_)
    begin = since.read(column.kind)
    return np.array([_reaches(begin, column, text) for text in values.to_pylist()], dtype=np.bool_)


def _reaches(begin: CursorValue, column: Column, text: str) -> bool:
    names = {normalised(name) for name in column.published_names(None)}
    try:
        (value,) = (value for name, value in json.loads(text).items() if normalised(name) in names)
        found: Any = None if value is None else Since(column.name, value).read(column.kind)
        return found is None or bool(found >= begin)
    except (ValueError, TypeError, AttributeError, ArithmeticError):  # the cursor is what is bad of the row
        return False


def _as_one(columns: Texts, values: Texts) -> Texts:
    """What is wrong of which row, as one text."""
    large = pa.large_string()
    between = pa.scalar("\n", large)
    return pc.binary_join_element_wise(columns.cast(large), values.cast(large), between, null_handling="replace")


def _of(load: LoadedBy, hashes: pa.Array[Any], runs: pa.Array[Any]) -> Mask:
    """Which rows are of this load."""
    same: Any = pc.equal(hashes, load.sha256)
    if load.run_id is not None:
        same = pc.and_(same, pc.equal(runs, load.run_id))
    mask: Mask = same.to_numpy(zero_copy_only=False)
    return mask


@contextmanager
def beside(
    rejected: Rejected | None, aside: SetAside | None, table: Table, files: Sequence[DataFile]
) -> Iterator[None]:
    """The commit of `files` to the raw table happens inside. Rows that are set aside are added before it.

    After it, the rows of earlier loads are removed. If it is refused, those that were just added are.
    """
    if rejected is None or aside is None:
        yield
        return
    with discarding(table, files):
        rejected.add(aside)
    try:
        yield
    except RefusedError as refusal:
        try:
            rejected.settle(refused=aside.load)
        except CommitError as error:
            if isinstance(refusal, MovedError):
                raise  # it is no refusal: the load would begin again, with a catalog that takes nothing
            raise type(refusal)(
                f"{refusal} Rows that this load set aside may still be in {rejected.table}. The next load of "
                f"{rejected.file.label} removes them."
            ) from error
        raise
    rejected.settle(aside)
