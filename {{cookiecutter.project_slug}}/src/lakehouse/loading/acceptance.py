"""Acceptance: whether a file may be loaded, as a whole and as its month or day. It is decided before the commit.

A file of another part has the right columns, types and values. Only its times, or its bytes, show the mistake.
The rules about columns are in conform.py: a missing one, or one of another type, is refused in `plan`; columns that
are swapped, empty or of unknown zones in `Conformer.finish`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyiceberg.expressions import BooleanExpression
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestContent, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.utils.concurrent import ExecutorFactory

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Part, Whole
from lakehouse.datasets.registry import dataset_named, declaration_of
from lakehouse.errors import RefusedError
from lakehouse.iceberg.commit import Replacement
from lakehouse.iceberg.files import file_hash, first_day_of, live_files, prefix_of_hash, rows_of_file
from lakehouse.iceberg.merge import Merge
from lakehouse.landing import Landed, Landing
from lakehouse.loading.fixes import NOTHING, get_again
from lakehouse.loading.spelling import form_of_dates, form_of_times

# its stubs know no plain Python values
pc: Any = compute

SET_ASIDE = "lakehouse.rows-set-aside"
_ALLOW_STRAYS = "--allow-strays (in Dagster: `allow_strays: true`)"


@dataclass(frozen=True)
class Change:
    """What a load wants the table to hold: a month or a day (or, without parts, all of it) from these bytes."""

    file: DatasetFile
    source: str
    sha256: str
    run_id: str
    again: bool
    allow_shrink: bool
    allow_strays: bool = False

    @property
    def predicate(self) -> BooleanExpression:
        """The rows it replaces. Commits to other parts don't conflict with it."""
        return rows_of_file(self.file)

    def replacement(
        self, rows: int, *, synthetic: bool = False, merge: Merge | None = None, set_aside: int | None = None
    ) -> Replacement:
        """This change as `commit` takes it. Without a merge all rows of the part go; with one, the files it replaces.

        `rows` are those of the file. `set_aside` is how many of them are not loaded; None if the dataset sets no rows
        aside.
        """
        summary = self.summary(rows, synthetic=synthetic) | (merge.merged.summary if merge else {})
        if set_aside is not None:
            summary[SET_ASIDE] = str(set_aside)
        return Replacement(
            self.file.label,
            self.predicate,
            summary,
            is_held=lambda table: self.held_rows(table) is not None,
            paths=merge.replaced if merge else None,
        )

    def summary(self, rows: int, *, synthetic: bool) -> dict[str, str]:
        """The snapshot's provenance."""
        words = {
            **self.file.summary,
            "lakehouse.source": self.source,
            "lakehouse.source-sha256": self.sha256,
            "lakehouse.source-rows": str(rows),
            "lakehouse.run-id": self.run_id,
        }
        if synthetic:
            words["lakehouse.synthetic"] = "true"
        return words

    def held_rows(self, table: Table) -> int | None:
        """How many rows the table holds of exactly these bytes; None if it does not.

        With `again` only what this run has loaded counts. That happens where the answer to its commit was lost, and
        where a step of the run is repeated. A table that rows are merged into holds the file of its last load.
        """
        if self.again and not self._is_of_this_run(self._last_load(table)):
            return None
        if dataset_named(self.file.dataset).key:
            last = self._last_load(table)
            same = last is not None and last.get("lakehouse.source-sha256") == self.sha256
            return _loaded(last) if last and same else None
        files = live_files(table, self.predicate)
        if files:
            same = all(file_hash(table, file) == self.sha256 for file in files)
            return sum(file.record_count for file in files) if same else None
        emptied = self._last_load(table)
        if emptied is not None and _loaded(emptied) == 0:
            return 0 if emptied.get("lakehouse.source-sha256") == self.sha256 else None
        return None

    def current_load(self, table: Table) -> tuple[str, str | None, int | None] | None:
        """The load that the table has of this part: its hash, its run, and how many rows it set aside.

        Run and rows are None where the load's snapshot has expired. None if the table has no load of the part.
        """
        if last := self._last_load(table):
            run = last.get("lakehouse.run-id")
            return last["lakehouse.source-sha256"], run, int(last.get(SET_ASIDE, "0"))
        files = live_files(table, self.predicate)
        sha256 = file_hash(table, files[0]) if files else None
        return (sha256, None, None) if sha256 else None

    def _is_of_this_run(self, last: Mapping[str, str] | None) -> bool:
        return last is not None and last.get("lakehouse.run-id") == self.run_id

    def _last_load(self, table: Table) -> dict[str, str] | None:
        """The summary of the newest load of this part that the table's state descends from."""
        snapshot: Snapshot | None = table.current_snapshot()
        while snapshot is not None:
            words = dict(snapshot.summary.additional_properties) if snapshot.summary else {}
            if self.file.summary.items() <= words.items():
                return words
            snapshot = table.snapshot_by_id(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id else None
        return None

    def check_size(self, table: Table, rows: int, file: str, set_aside: int = 0) -> None:
        """Refuse an empty file, or one with fewer than half of the rows it would replace (`shrink_share`).

        Not refused where the user accepts that. `rows` are those that it would load; others of it were `set_aside`.

        Raises:
            RefusedError: names both counts and the fix.
        """
        if self.allow_shrink or not dataset_named(self.file.dataset).parts.complete:
            return
        held = sum(f.record_count for f in live_files(table, self.predicate))
        share = dataset_named(self.file.dataset).shrink_share
        if rows == 0 or rows < share * held:
            than = f", fewer than {share:.0%} of the {held:,} it would replace" if held else ""
            found = f"{rows:,} rows"
            if set_aside:
                found = f"{rows + set_aside:,} rows, and {set_aside:,} of them were set aside, so {rows:,} are left"
            raise RefusedError(
                f"{file} has {found}{than}. {NOTHING} The file is perhaps incomplete: look at it first. If it "
                "is right, add --allow-shrink to the command (in Dagster: `allow_shrink: true`)."
            )


def _loaded(words: Mapping[str, str]) -> int:
    """How many rows of its file a load has brought, by the summary of its snapshot."""
    return int(words.get("lakehouse.source-rows", "-1")) - int(words.get(SET_ASIDE, "0"))


def check_bytes(landed: Landed, found: str) -> None:
    """Refuse bytes whose SHA-256 is not the one recorded at landing.

    Raises:
        RefusedError: names the file and both hashes.
    """
    if found != landed.sha256:
        raise RefusedError(
            f"The landed file {landed.file.name} was changed after it was landed on {landed.landed_at:%Y-%m-%d}: its "
            f"SHA-256 is {found[:12]}… instead of {landed.sha256[:12]}…. {get_again(landed)}"
        )


def superseded(landing: Landing, landed: Landed) -> bool:
    """Whether another version has landed since `landed` was found."""
    newest = landing.find(landed.file)
    return newest is not None and newest.sha256 != landed.sha256


def still_current(
    landing: Landing, landed: Landed, change: Change, rows: int, set_aside: int = 0
) -> Callable[[Table], None]:
    """What `commit` asks of each state of the table: is this still the landed version, and are its rows enough.

    While a load conformed, another may have landed and loaded a newer version.

    Raises, when called:
        RefusedError: another version has landed, or the table holds far more of this part than it did.
    """

    def check(table: Table) -> None:
        if superseded(landing, landed):
            raise RefusedError(
                f"Another version of {landed.file.name} was landed while this one was being loaded. {NOTHING} Run "
                "the same command again."
            )
        change.check_size(table, rows, landed.file.name, set_aside)

    return check


class RowTimes:
    """Counts rows whose time lies outside the file's month or day; refuses a file that is mostly such rows.

    A dataset without a column of such times, and a file that is the whole table, have none to count.
    """

    def __init__(self, dataset: Dataset, part: Part | None) -> None:
        self._dataset = dataset
        self._part = part
        self._known = 0
        self._strays = 0
        self._seen: Counter[np.datetime64] = Counter()  # the months or days where the rows outside lie
        if part and dataset.time and not isinstance(dataset.parts, Whole):
            self._unit = f"datetime64[{dataset.parts.unit}]"
            midnight = datetime.min.time()
            self._position = [column.name for column in dataset.columns].index(dataset.time)
            self._column = dataset.columns[self._position]
            # A time may be the midnight after the last day; a date is a day, and that one is the next part's.
            last = part.next.first_day - timedelta(days=1 if self._column.type == "date" else 0)
            self._first = _time(datetime.combine(part.first_day, midnight) - dataset.parts.tolerance)
            self._last = _time(datetime.combine(last, midnight) + dataset.parts.tolerance)
        else:
            self._part = None

    def add(self, arrays: list[pa.Array[Any]]) -> None:
        """Count one conformed batch."""
        if self._part is None:
            return
        times: Any = _local(self._column, arrays[self._position])
        self._known += len(times) - times.null_count
        outside = pc.or_(pc.less(times, self._first), pc.greater(times, self._last))
        if not outside.true_count:
            return
        self._strays += outside.true_count
        strays = times.filter(outside, null_selection_behavior="drop").to_numpy().astype(self._unit)
        self._seen.update(dict(zip(*np.unique(strays, return_counts=True), strict=True)))

    def check(self, file: str, sources: Mapping[str, str | None]) -> None:
        """Refuse a file of which most rows with a time lie outside its part. `sources` are its own column names.

        Raises:
            RefusedError: names the month or day where most of these rows lie, and their share.
        """
        parts, part = self._dataset.parts, self._part
        if part is None or isinstance(parts, Whole) or self._strays <= self._dataset.stray_share * self._known:
            return
        most, rows = self._seen.most_common(1)[0]
        name = self._dataset.name
        first = self._form()
        outside = f"more than a day outside {part}" if parts.tolerance else f"outside {part}"
        raise RefusedError(
            f"{file} seems to be of {most}, not of {part}: {sources[self._dataset.time or '']!r} is {outside} in "
            f"{self._strays:,} of {self._known:,} rows, and {rows:,} rows ({_percent(rows, self._known)}) are of "
            f"{most}. {NOTHING} {first}{'get' if first else 'Get'} the file of {part} with `lakehouse load {name} "
            f"{part} --refresh`. If this file really is the one of {part}, load it with {_ALLOW_STRAYS}."
        )

    def _form(self) -> str:
        """What to do first where the declaration says how times are written: there a day may be read as a month."""
        dataset, of_dates = self._dataset, self._column.type == "date"
        form = form_of_dates(dataset.format) if of_dates else form_of_times(dataset.format)
        if not form:
            return ""
        named = f"{'dates' if of_dates else 'times'}={form!r}"
        return f"If {named} puts day and month in the wrong order, correct it in {declaration_of(dataset)}. If not, "


class OtherParts:
    """Refuses bytes that the table's current snapshot already holds as another month or day.

    Reads manifests. Reads data, one column of a file, only where a manifest has the beginning of the same hash.

    Manifests never change: one that is found free of these bytes is not read again by a later check. Most are not read
    at all: one with a single file of another number of rows can't hold them.
    """

    def __init__(self, change: Change, file: str, rows: int | None) -> None:
        self._change = change
        self._file = file
        self._rows = rows
        self._free: set[str] = set()

    def check(self, table: Table) -> None:
        """Look at the files of all other parts.

        Raises:
            RefusedError: names the other part.
        """
        snapshot = table.current_snapshot()
        if self._change.allow_strays or self._change.file.part is None or snapshot is None:
            return
        unread = [
            manifest
            for manifest in snapshot.manifests(table.io)
            if manifest.content == ManifestContent.DATA
            and manifest.manifest_path not in self._free
            and self._may_hold(manifest)
        ]
        read = ExecutorFactory.get_or_create().map(lambda manifest: (manifest, _files(manifest, table.io)), unread)
        for manifest, files in read:
            for file in files:
                day = first_day_of(file)
                if day != self._change.file.part.first_day and self._has_these_bytes(table, file):
                    raise self._refusal(day)
            self._free.add(manifest.manifest_path)

    def _may_hold(self, manifest: ManifestFile) -> bool:
        """Whether the manifest list leaves it open; a load writes one file, in a manifest of its own."""
        files = (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)
        rows = (manifest.added_rows_count or 0) + (manifest.existing_rows_count or 0)
        return files != 1 or self._rows in (None, rows)

    def _has_these_bytes(self, table: Table, file: DataFile) -> bool:
        # A compaction by Trino cuts the hash in the metrics. The column is read only where the rest may be the same.
        prefix = prefix_of_hash(table, file)
        if prefix is None or not self._change.sha256.startswith(prefix):
            return False
        return file_hash(table, file) == self._change.sha256

    def _refusal(self, first_day: date) -> RefusedError:
        name, wanted = self._change.file.dataset, self._change.file.part
        parts = dataset_named(name).parts
        assert not isinstance(parts, Whole)  # noqa: S101 - for the type checker: a whole table has no other parts
        other = parts.kind.of(first_day)
        return RefusedError(
            f"{self._file} has the same bytes as the file from which {name} {other} was loaded (SHA-256 "
            f"{self._change.sha256[:12]}…), and one file can't be that of two {parts.word}s. {NOTHING} Get "
            f"the file of {wanted} with `lakehouse load {name} {wanted} --refresh`. If {other} is the wrong one, "
            f"first run `lakehouse load {name} {other} --refresh`. If both are right, load it with {_ALLOW_STRAYS}."
        )


def _files(manifest: ManifestFile, io: FileIO) -> list[DataFile]:
    """The live data files of a manifest."""
    entries = manifest.fetch_manifest_entry(io, discard_deleted=True)
    return [entry.data_file for entry in entries if entry.data_file.content == DataFileContent.DATA]


def _local(column: Column, values: pa.Array[Any]) -> pa.Array[Any]:
    """Times of a column as local times of its zone (UTC without one), dates as their midnight."""
    if column.type == "timestamptz":
        values = pc.local_timestamp(values.cast(pa.timestamp("us", tz=column.zone or "UTC")))
    return values.cast(pa.timestamp("us"))


def _time(value: datetime) -> pa.Scalar[Any]:
    scalar: pa.Scalar[Any] = pa.scalar(value, pa.timestamp("us"))
    return scalar


def _percent(part: int, whole: int) -> str:
    """A share as text; never 100 % unless it is all of them."""
    return "100 %" if part == whole else f"{min(100 * part / whole, 99.9):.1f} %"
