"""Writing one data file of a table, and the audit that reads it back before anything is committed."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionKey
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record
from pyiceberg.types import BinaryType

from lakehouse.errors import CommitError, RefusedError
from lakehouse.formats.buffers import ends_and_bytes
from lakehouse.formats.encoding import encodings
from lakehouse.formats.protocol import BATCH_ROWS
from lakehouse.iceberg.files import remove
from lakehouse.iceberg.rows import FIELD_ID

# its stubs know no plain Python values
pc: Any = compute

ROW_GROUP_ROWS = 1_048_576
ROW_GROUP_BYTES = 16 << 20  # in memory; batches are written once they are so large together, or have `BATCH_ROWS` rows
BATCH_BYTES = 16 << 10  # what a batch takes beside its values, about; so thousands of tiny ones are not gathered
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Totals:
    """What a run of rows adds up to: rows, and for each column nulls and a checksum of values at their positions.

    Exact, however the rows are cut into batches. `dictionaries` are the columns that came as dictionaries. Their
    checksums are of another kind, so they are compared with dictionaries only.
    """

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self.dictionaries: set[str] = set()
        self.rows = 0
        self._sums = [_Checksum() for _ in columns]
        self._weights = _Weights()

    def add(self, arrays: list[pa.Array[Any]]) -> None:
        """Count one batch, its arrays in the order of `columns`."""
        self._weights.begin(self.rows, len(arrays[0]))
        for name, total, array in zip(self.columns, self._sums, arrays, strict=True):
            if pa.types.is_dictionary(array.type):
                self.dictionaries.add(name)
            total.add(array, self._weights)
        self.rows += len(arrays[0])

    def differences(self, other: Totals) -> list[str]:
        """List as text where two runs differ; empty when they hold the same rows."""
        if self.rows != other.rows:
            return [f"{self.rows:,} rows were written, {other.rows:,} were read"]
        return [
            f"{name}: {'nulls' if one.nulls != another.nulls else 'values'} differ"
            for name, one, another in zip(self.columns, self._sums, other._sums, strict=True)
            if one.result != another.result
        ]


class _Weights:
    """The weights of a run of rows, one row after the other, and their sums with numbers.

    The arrays are kept from batch to batch: to get new memory for each costs more than to fill it.
    """

    def __init__(self) -> None:
        self._places = self._weights = self._room = np.zeros(0, dtype=np.uint64)
        self._rows = 0

    def begin(self, first: int, rows: int) -> None:
        """Take the rows from `first` on.

        Their weights are scattered: by plain numbers, rows 1 and 5 weigh as much as rows 2 and 4.
        """
        if rows > len(self._places):
            self._places = np.arange(1, rows + 1, dtype=np.uint64)
            self._weights, self._room = np.empty_like(self._places), np.empty_like(self._places)
        self._rows = rows
        weights, room = self._weights[:rows], self._room[:rows]
        np.add(self._places[:rows], np.uint64(first), out=weights)
        weights *= _ODD
        weights ^= np.right_shift(weights, np.uint64(29), out=room)
        weights *= _ODD
        weights ^= np.right_shift(weights, np.uint64(32), out=room)
        weights |= np.uint64(1)

    def of_nulls(self) -> int:
        """The sum where all values are null."""
        return int(_ODD) * int(self._weights[: self._rows].sum())

    def of(self, bits: npt.NDArray[np.uint64], nulls: npt.NDArray[np.bool_] | None) -> int:
        """The sum of values, 64 bits each; `nulls` says which of them are null."""
        room = self._room[: self._rows]
        # so that the uppermost bit, a double's sign, counts more than once
        np.bitwise_xor(bits, np.right_shift(bits, np.uint64(32), out=room), out=room)
        if nulls is not None:
            np.putmask(room, nulls, _ODD)
        return int(np.dot(room, self._weights[: self._rows]))


class _Checksum:
    """A column's nulls, and the bits of its values, each weighted by its row, modulo 2^64.

    Of text and of lists these bits are the lengths. The content is hashed as one run of bytes, and what lists hold is
    a column of its own: lengths and content together leave nothing open.
    """

    def __init__(self) -> None:
        self.nulls = 0
        self._sum = 0
        self._content = hashlib.blake2b(digest_size=16)
        self._held: _Checksum | None = None
        self._held_rows, self._held_weights = 0, _Weights()

    @property
    def result(self) -> tuple[Any, ...]:
        """What is compared."""
        return self.nulls, self._sum, self._content.digest(), self._held and self._held.result

    def add(self, array: Any, weights: _Weights) -> None:
        """Count one batch."""
        self.nulls += array.null_count
        if array.null_count == len(array):
            found = weights.of_nulls()
        else:
            found = weights.of(self._bits(array), _nulls(array) if array.null_count else None)
        self._sum = (self._sum + found) % 2**64

    def _bits(self, array: Any) -> npt.NDArray[np.uint64]:
        """64 bits a value; anything in place of a null."""
        kind = array.type
        if pa.types.is_dictionary(kind):
            few: npt.NDArray[np.uint64] = _bits_of_few(array.dictionary)[array.indices.fill_null(0).to_numpy()]
            return few
        if _has_bytes(kind):
            if array.null_count:
                array = array.fill_null(b"" if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else "")
            ends, content = ends_and_bytes(array)
            self._content.update(content.data)
            return np.diff(ends).astype(np.uint64)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            held = array.flatten()
            self._held = self._held or _Checksum()
            self._held_weights.begin(self._held_rows, len(held))
            self._held.add(held, self._held_weights)
            self._held_rows += len(held)
            lengths: npt.NDArray[np.uint64] = pc.list_value_length(array).fill_null(0).to_numpy().astype(np.uint64)
            return lengths
        if pa.types.is_boolean(kind):
            array = array.cast(pa.uint8())
        if pa.types.is_decimal(kind):
            halves = np.frombuffer(array.buffers()[1], dtype=np.uint64)[2 * array.offset :][: 2 * len(array)]
            return halves[::2] + halves[1::2] * _ODD  # so that one half can't stand in for the other
        plain = np.frombuffer(array.buffers()[1], dtype=f"u{array.type.bit_width // 8}")
        return plain[array.offset :][: len(array)].astype(np.uint64, copy=False)


def _nulls(array: Any) -> npt.NDArray[np.bool_]:
    """Which values are null. Arrow has a bit for each."""
    bits = np.frombuffer(array.is_null().buffers()[1], dtype=np.uint8)
    return np.unpackbits(bits, count=len(array), bitorder="little").view(np.bool_)


def _has_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _bits_of_few(texts: Any) -> npt.NDArray[np.uint64]:
    """64 bits of each text in a dictionary."""
    found = texts.cast(pa.large_binary()).to_pylist()
    return np.array([int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) for text in found], dtype=np.uint64)


def write_data_file(
    table: Table, batches: Iterable[list[pa.Array[Any]]], name: str, partition: PartitionKey | None
) -> tuple[DataFile, Totals]:
    """Write one parquet file (zstd, page checksums) next to the table's other data. Nothing refers to it yet.

    `batches` yields the arrays of all columns of the table's current schema, in its order. Encoding runs in a thread of
    its own beside the caller's reading. When `batches` raises, the staged file is removed and the error goes on.

    Returns:
        The file as Iceberg will know it, and what was written.

    Raises:
        CommitError: the file could not be written (disk full, object store away).
    """
    schema = schema_to_pyarrow(table.schema())
    path = table.location_provider().new_data_location(f"{name}-{uuid.uuid4()}.parquet", partition)
    totals = Totals(schema.names)
    with _removed_on_error(table.io, path):
        metadata, size = _encode(table.io, path, schema, batches, totals)
    file = described(table.metadata, path, metadata, size, partition)
    return file, totals


def described(
    table: TableMetadata, path: str, metadata: pq.FileMetaData, size: int, partition: PartitionKey | None
) -> DataFile:
    """A parquet file as Iceberg will know it: its partition, size and metrics. Its columns have the table's ids."""
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=metadata,
        stats_columns=compute_statistics_plan(table.schema(), table.properties | _only_counted(table.schema())),
        parquet_column_mapping=parquet_path_to_id_mapping(table.schema()),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=partition.partition if partition else Record(),
        file_size_in_bytes=size,
        sort_order_id=None,
        spec_id=table.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def _only_counted(schema: Schema) -> dict[str, str]:
    """For `binary` columns the manifests hold counts, no least and greatest value: these can be whole images."""
    names = [field.name for field in schema.fields if isinstance(field.field_type, BinaryType)]
    return {f"write.metadata.metrics.column.{name}": "counts" for name in names}


def _encode(
    io: FileIO, path: str, schema: pa.Schema, batches: Iterable[list[pa.Array[Any]]], totals: Totals
) -> tuple[pq.FileMetaData, int]:
    """Feed a writer thread through a short queue: reading and encoding overlap, memory stays bounded.

    What is written is counted into `totals` beside it.
    """
    queue: Queue[list[pa.Array[Any]] | None] = Queue(maxsize=2)
    failed: list[BaseException] = []
    metadata: list[pq.FileMetaData] = []

    def write() -> None:
        ended = False
        try:
            with (
                io.new_output(path).create(overwrite=False) as stream,
                ThreadPoolExecutor(1, thread_name_prefix="totals") as pool,
            ):
                writer: Any = None
                group = _Group()
                while (arrays := queue.get()) is not None:
                    if writer is None:
                        writer = _parquet_writer(stream, schema, arrays)
                    counted = pool.submit(totals.add, arrays)
                    group.add(pa.RecordBatch.from_arrays(arrays, schema=writer.schema))
                    if group.is_enough:
                        writer.write_table(group.taken(), ROW_GROUP_ROWS)
                    counted.result()
                ended = True
                if writer is None:
                    writer = _parquet_writer(stream, schema, [])
                if group.batches:
                    writer.write_table(group.taken(), ROW_GROUP_ROWS)
                writer.close()
                metadata.append(writer.writer.metadata)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            failed.append(error)
            while not ended and queue.get() is not None:
                pass

    thread = Thread(target=write, name="parquet-writer", daemon=True)
    thread.start()
    try:
        for arrays in batches:
            if failed:
                break
            queue.put(arrays)
    finally:
        queue.put(None)
        thread.join()
    if failed:
        raise CommitError(
            f"The data file {path} could not be written: {failed[0]}. The table is as it was. "
            "Check that the disk has room and that the object store answers, then run the same command again."
        ) from failed[0]
    return metadata[0], len(io.new_input(path))


class _Group:
    """Batches that make a row group together. Each group costs time, so small batches are not written alone."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the next one."""
        self.batches.append(batch)
        self._rows += len(batch)
        self._bytes += batch.nbytes + BATCH_BYTES

    @property
    def is_enough(self) -> bool:
        """Whether they are to be written."""
        return self._rows >= BATCH_ROWS or self._bytes >= ROW_GROUP_BYTES

    def taken(self) -> pa.Table:
        """All of them; the group is empty then."""
        table = pa.Table.from_batches(self.batches)
        self.batches, self._rows, self._bytes = [], 0, 0
        return table


def _parquet_writer(stream: Any, schema: pa.Schema, arrays: list[pa.Array[Any]]) -> pq.ParquetWriter:
    """A writer whose columns keep their field ids; dictionary arrays are written as such, which is quicker."""
    first = dict(zip(schema.names, arrays, strict=True)) if arrays else {}
    fields = [
        field.with_type(first[field.name].type)
        if field.name in first and pa.types.is_dictionary(first[field.name].type)
        else field
        for field in schema
    ]
    return pq.ParquetWriter(
        stream,
        pa.schema(fields),
        **encodings(first),
        compression="zstd",
        compression_level=1,
        write_page_checksum=True,
        store_decimal_as_integer=True,  # as Iceberg wants those of up to 18 digits
        store_schema=False,
    )


def audit(table: Table, file: DataFile, written: Totals) -> None:
    """Read a staged file back, with page checksums, and hold it against what was written.

    Raises:
        RefusedError: it can't be read, or differs in rows, nulls or values; the staged file is removed.
    """
    found = Totals(written.columns)
    schema = schema_to_pyarrow(table.schema())
    with _removed_on_error(table.io, file.file_path):
        try:
            source: Any = table.io.new_input(file.file_path)
            with source.open() as stream:
                parquet = pq.ParquetFile(
                    stream, page_checksum_verification=True, read_dictionary=list(written.dictionaries)
                )
                # readers find columns by id, and the footer that holds the ids has no checksum
                if _identities(parquet.schema_arrow) != _identities(schema):
                    raise pa.ArrowInvalid("its columns are not those of the table")
                with ThreadPoolExecutor(1, thread_name_prefix="audit") as pool:
                    counted: Future[None] | None = None
                    for batch in parquet.iter_batches(BATCH_ROWS):  # one is counted while the next is read
                        if counted:
                            counted.result()
                        counted = pool.submit(found.add, batch.columns)
                    if counted:
                        counted.result()
        # a damaged footer fails in many ways: columns by another name, text that is no text
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise RefusedError(
                f"The data file {file.file_path} can't be read back after it was written: {error}. This data file "
                "was not committed. Run the same command again. If it fails again, check the disk or the object store."
            ) from error
        if differences := written.differences(found):
            raise RefusedError(
                f"The data file {file.file_path}, read back, is not what was written: {'; '.join(differences)}. "
                "This data file was not committed. Run the same command again. If it fails again, check the disk or "
                "the object store."
            )


def _identities(schema: pa.Schema) -> list[tuple[str, bytes]]:
    return [(field.name, (field.metadata or {}).get(FIELD_ID, b"")) for field in schema]


@contextmanager
def _removed_on_error(io: FileIO, path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        remove(io, path)
        raise
