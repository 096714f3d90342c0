"""Reading a landed file: one file, or those of a bundle one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from lakehouse.datasets.formats import JsonLines
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Part
from lakehouse.datasets.registry import dataset_named
from lakehouse.filesystem import sha256_of
from lakehouse.formats import open_reader
from lakehouse.formats.bundle import Member, members, naming
from lakehouse.formats.protocol import BatchReader, ContentError, UnreadRows
from lakehouse.landing import Landed
from lakehouse.loading.conform import column_for, plan


def open_landed(landed: Landed, source: pa.NativeFile, unread: UnreadRows | None = None) -> BatchReader:
    """Read an open landed file as its dataset declares it. With `unread`, rows that can't be read are put there.

    Raises:
        RefusedError: a file of a bundle lacks a column, or has one of another type.
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    dataset = dataset_named(landed.file.dataset)
    if dataset.bundled:
        return BundleReader(dataset, landed.file.part, source, landed.file.name, unread)
    return open_reader(dataset.format, source, unread, partial(_has_lists, dataset, landed.file.part))


def _has_lists(dataset: Dataset, part: Part | None, name: str) -> bool | None:
    """Whether a file's name is that of a declared column of lists; None if it is not declared."""
    column = column_for(dataset, part, pa.field(name, pa.string()))
    return column.kind == "list" if column else None


class BundleReader:
    """The rows of all files of a bundle, in the order of the files' names. One file is open at a time.

    Each file is matched with the declaration as a file of its own: it must have the columns that a file must have, and
    may spell and order them in its own way. `schema` has each column as the first file that has it. JSON lines are
    matched as if they stood in one file, because any line may lack any name.
    """

    def __init__(
        self,
        dataset: Dataset,
        part: Part | None,
        bundle: pa.NativeFile,
        name: str,
        unread: UnreadRows | None = None,
    ) -> None:
        self._dataset, self._part, self._name, self._unread = dataset, part, name, unread
        self._unread_here: UnreadRows | None = None if unread is None else {}  # of the file that is open
        self._members = members(bundle)
        self._copies = _copies(self._members)
        self._names: list[dict[str, str]] = []  # of each file: how it calls a column of `_fields`
        self._fields: dict[str, pa.Field[Any]] = {}
        self._first, self._file = 0, ""
        self._reader: BatchReader | None = None
        self.is_synthetic = False
        counts: list[int | None] = []
        for member in self._members:
            with naming(member):
                member.check()
            with self._opened(member) as reader:
                counts.append(reader.rows)
                self.is_synthetic |= reader.is_synthetic
                self._names.append(self._add_columns(member, reader.schema))
        self.schema = pa.schema(list(self._fields.values()))
        self.rows = None if None in counts else sum(count or 0 for count in counts)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of all files, with these columns. A column that a file lacks is null in its rows."""
        wanted = {field.name: key for key, field in self._fields.items()}
        done = 0
        for member, names in zip(self._members, self._names, strict=True):
            own = [names.get(wanted[column]) for column in columns]
            with self._opened(member) as reader:
                self._first, self._reader, self._file = done, reader, member.name
                incoming = reader.batches([name for name in own if name is not None])
                while True:
                    with naming(member):
                        batch = next(incoming, None)
                    if batch is None:
                        break
                    if len(batch) and member.name in self._copies:
                        raise ContentError(
                            f"{member.name} has the same bytes as {self._copies[member.name]}, so its rows would be "
                            "loaded twice. Remove one of the two; if both are right, write their rows into one file"
                        )
                    self._take_unread(done, done + len(batch), dict(zip(own, columns, strict=True)))
                    yield self._as_asked(batch, columns, own)
                    done += len(batch)

    def place(self, row: int) -> str:
        """How a message names a row of the batch that was read last: by its file, and its place there."""
        assert self._reader is not None  # noqa: S101 - for the type checker: a batch was read
        return f"{self._reader.place(row - self._first)} of {self._file}"

    def close(self) -> None:
        """Let go of the file that was read last."""
        if self._reader is not None:
            self._reader.close()

    def _as_asked(self, batch: pa.RecordBatch, columns: Sequence[str], own: Sequence[str | None]) -> pa.RecordBatch:
        """A file's batch with the columns that were asked for, by the names by which they were; null if it has none."""
        if not columns:
            return batch
        arrays: list[Any] = [pa.nulls(len(batch)) if name is None else batch.column(name) for name in own]
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _take_unread(self, first: int, last: int, asked: Mapping[str | None, str]) -> None:
        """Take over what could not be read of these rows, with the file and the names that were asked for."""
        if self._unread is None or not self._unread_here:
            return
        for row in range(first, last):
            if found := self._unread_here.pop(row - self._first, None):
                self._unread[row] = [
                    replace(one, reason=f"{self._file}: {one.reason}", column=one.column and asked[one.column])
                    for one in found
                ]

    @contextmanager
    def _opened(self, member: Member) -> Iterator[BatchReader]:
        with closing(member.open()) as file:
            with naming(member):
                lists = partial(_has_lists, self._dataset, self._part)
                reader = open_reader(self._dataset.format, file, self._unread_here, lists)
            with closing(reader):
                yield reader

    def _add_columns(self, member: Member, schema: pa.Schema) -> dict[str, str]:
        """Take a file's columns. What it calls each of them, by the declared name where there is one."""
        declared: dict[str | None, str] = {}
        if not isinstance(self._dataset.format, JsonLines):
            match = plan(self._dataset, self._part, schema, f"{self._name}: {member.name}")
            declared = {source: column for column, source in match.sources.items()}
        names: dict[str, str] = {}
        for field in schema:  # by place: columns that are not declared may share a name
            key = declared.get(field.name, field.name)
            names[key], known = field.name, self._fields.get(key)
            # In JSON lines, a name that stands for objects in one file may have values in another.
            if known is None or pa.types.is_struct(known.type):
                self._fields[key] = field
        return names


def _copies(found: Sequence[Member]) -> dict[str, str]:
    """Files with the same bytes as one before them, and which one that is."""
    marks = Counter((member.size, member.crc) for member in found)
    seen: dict[str, str] = {}
    copies: dict[str, str] = {}
    for member in found:
        if marks[member.size, member.crc] > 1:
            with closing(member.open()) as file:
                first = seen.setdefault(sha256_of(file), member.name)
            if first != member.name:
                copies[member.name] = first
    return copies
