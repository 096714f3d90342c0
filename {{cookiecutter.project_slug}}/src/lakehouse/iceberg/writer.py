"""Writing one data file of a table, and the audit that reads it back before anything is committed."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
from lakehouse.formats.protocol import BATCH_ROWS
from lakehouse.iceberg.files import FIELD_ID

# its stubs know no plain Python values
pc: Any = compute

ROW_GROUP_ROWS = 1_048_576
REMOVE_SECONDS = 5.0
LONG_TEXT = 4096  # bytes; longer ones are hashed one by one
_LONG_ON_AVERAGE = 32  # bytes
_TEXTS_AT_ONCE = 8192  # so that what is computed with stays in the processor's cache
_ODD = np.uint64(0x9E3779B97F4A7C15)
_WEIGHTS = np.multiply.accumulate(np.full(LONG_TEXT, _ODD))  # its powers, modulo 2^64


class Totals:
    """What a run of rows adds up to: rows, and for each column nulls and a checksum of values at their positions.

    Exact, however the rows are cut into batches: the bits of each value, weighted by its row, modulo 2^64.
    """

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self.rows = 0
        self._nulls = [0] * len(columns)
        self._sums = [0] * len(columns)

    def add(self, arrays: list[pa.Array[Any]]) -> None:
        """Count one batch, its arrays in the order of `columns`."""
        length = len(arrays[0])
        weights = np.arange(self.rows + 1, self.rows + length + 1, dtype=np.uint64)
        for i, array in enumerate(arrays):
            self._nulls[i] += array.null_count
            self._sums[i] = (self._sums[i] + _checksum(array, weights)) % 2**64
        self.rows += length

    def differences(self, other: Totals) -> list[str]:
        """List as text where two runs differ; empty when they hold the same rows."""
        if self.rows != other.rows:
            return [f"{self.rows:,} rows were written, {other.rows:,} were read"]
        return [
            f"{name}: {'nulls' if self._nulls[i] != other._nulls[i] else 'values'} differ"
            for i, name in enumerate(self.columns)
            if self._nulls[i] != other._nulls[i] or self._sums[i] != other._sums[i]
        ]


def _checksum(array: pa.Array[Any], weights: npt.NDArray[np.uint64]) -> int:
    if array.null_count == len(array):
        return 0
    return int(np.dot(_bits(array), weights))


def _bits(array: Any) -> npt.NDArray[np.uint64]:
    """64 bits a value, which differ where values differ; 0 for null (nulls are counted beside it)."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        values = np.append(_text_bits(array.dictionary), np.uint64(0))  # a null has the last one
        codes = array.indices.fill_null(-1) if array.null_count else array.indices
        weighted: npt.NDArray[np.uint64] = values[codes.to_numpy()]
        return weighted
    if _is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        # long texts are mostly few ones, as the hash of a row's file is: each is looked at once
        return _bits(array.dictionary_encode()) if array.nbytes > _LONG_ON_AVERAGE * len(array) else _text_bits(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _list_bits(array)
    if pa.types.is_decimal(kind):
        return _decimal_bits(array)
    if pa.types.is_boolean(kind):
        array = array.cast(pa.int32())
    bits: Any = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())
    if array.null_count:
        bits = bits.fill_null(0)
    plain: npt.NDArray[np.uint64] = bits.to_numpy().astype(np.int64, copy=False).view(np.uint64)
    return plain


def _decimal_bits(array: Any) -> npt.NDArray[np.uint64]:
    """The two halves of each decimal, mixed so that one can't stand in for the other."""
    halves = np.frombuffer(array.buffers()[1], dtype=np.uint64)[2 * array.offset :][: 2 * len(array)].reshape(-1, 2)
    mixed: npt.NDArray[np.uint64] = halves[:, 0] + halves[:, 1] * _ODD
    if array.null_count:
        mixed = np.where(array.is_null().to_numpy(zero_copy_only=False), np.uint64(0), mixed)
    return mixed


def _list_bits(array: Any) -> npt.NDArray[np.uint64]:
    """The bits of what a list holds, each weighted by its place; an empty list, a null and a null in a list differ."""
    lengths = pc.list_value_length(array).fill_null(0).to_numpy()
    held = array.flatten()
    ends = np.concatenate([[0], np.cumsum(lengths)])
    place = np.arange(len(held)) - np.repeat(ends[:-1], lengths)
    weighted = (_bits(held) + held.is_null().to_numpy(zero_copy_only=False)) * (2 * place.astype(np.uint64) + _ODD)
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(weighted, dtype=np.uint64)])
    bits: npt.NDArray[np.uint64] = sums[ends[1:]] - sums[ends[:-1]] + lengths.astype(np.uint64) + np.uint64(1)
    if array.null_count:
        bits = np.where(array.is_null().to_numpy(zero_copy_only=False), np.uint64(0), bits)
    return bits


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _text_bits(array: Any) -> npt.NDArray[np.uint64]:
    """Text or bytes: the sum of its bytes, each weighted by its place; mixed, so that few bits do not stay few."""
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, places, data = array.buffers()
    ends = np.frombuffer(places, dtype=np.int64 if large else np.int32)[array.offset :][: len(array) + 1]
    content = np.frombuffer(data or b"", dtype=np.uint8)
    bits = np.empty(len(array), dtype=np.uint64)
    for first in range(0, len(array), _TEXTS_AT_ONCE):
        part = ends[first : first + _TEXTS_AT_ONCE + 1]
        part, characters = part - part[0], content[part[0] : part[-1]]
        lengths = np.diff(part)
        place = np.arange(len(characters), dtype=part.dtype)
        place -= np.repeat(part[:-1], lengths)
        weighted = _WEIGHTS.take(place, mode="clip")
        weighted *= characters + np.uint16(1)
        sums = np.zeros(len(characters) + 1, dtype=np.uint64)
        np.cumsum(weighted, out=sums[1:])
        bits[first : first + len(lengths)] = sums[part[1:]] - sums[part[:-1]]
        for one in np.flatnonzero(lengths > LONG_TEXT):
            digest = hashlib.blake2b(characters[part[one] : part[one + 1]].tobytes(), digest_size=8).digest()
            bits[first + one] = int.from_bytes(digest)
    bits += np.uint64(1)  # an empty text is no null
    bits = (bits ^ (bits >> np.uint64(33))) * _ODD
    if array.null_count:
        bits = np.where(array.is_null().to_numpy(zero_copy_only=False), np.uint64(0), bits)
    return bits


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

    The same thread counts into `totals` what it writes.
    """
    queue: Queue[list[pa.Array[Any]] | None] = Queue(maxsize=2)
    failed: list[BaseException] = []
    metadata: list[pq.FileMetaData] = []

    def write() -> None:
        ended = False
        try:
            with io.new_output(path).create(overwrite=False) as stream:
                writer: Any = None
                while (arrays := queue.get()) is not None:
                    if writer is None:
                        writer = _parquet_writer(stream, schema, arrays)
                    totals.add(arrays)
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=writer.schema), ROW_GROUP_ROWS)
                ended = True
                if writer is None:
                    writer = _parquet_writer(stream, schema, [])
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


def _parquet_writer(stream: Any, schema: pa.Schema, arrays: list[pa.Array[Any]]) -> pq.ParquetWriter:
    """A writer whose columns keep their field ids; dictionary arrays are written as such, which is quicker."""
    fields = (
        [
            field.with_type(array.type) if pa.types.is_dictionary(array.type) else field
            for field, array in zip(schema, arrays, strict=True)
        ]
        if arrays
        else list(schema)
    )
    # nearly every value is new in these: a dictionary costs time and space, differences between neighbours are small
    rising = [field.name for field in fields if field.name == "file_row" or pa.types.is_timestamp(field.type)]
    others: Any = [field.name for field in fields if field.name not in rising]
    return pq.ParquetWriter(
        stream,
        pa.schema(fields),
        use_dictionary=others,
        column_encoding=dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
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
    text = [f.name for f in schema if pa.types.is_large_string(f.type)]
    with _removed_on_error(table.io, file.file_path):
        try:
            source: Any = table.io.new_input(file.file_path)
            with source.open() as stream:
                parquet = pq.ParquetFile(stream, page_checksum_verification=True, read_dictionary=text)
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
                f"The data file {file.file_path} can't be read back after it was written: {error}. Nothing was "
                "committed. Run the same command again. If it fails again, check the disk or the object store."
            ) from error
        if differences := written.differences(found):
            raise RefusedError(
                f"The data file {file.file_path}, read back, is not what was written: {'; '.join(differences)}. "
                "Nothing was committed. Run the same command again. If it fails again, check the disk or the object "
                "store."
            )


def _identities(schema: pa.Schema) -> list[tuple[str, bytes]]:
    return [(field.name, (field.metadata or {}).get(FIELD_ID, b"")) for field in schema]


def remove(io: FileIO, path: str) -> None:
    """Remove a staged file that nothing refers to; one that is out of reach is left to maintenance.

    A store that hangs is not waited for: what failed before has taken its time already.
    """

    def attempt() -> None:
        with suppress(OSError):
            io.delete(path)

    removing = Thread(target=attempt, name="remove-staged-file", daemon=True)
    removing.start()
    removing.join(REMOVE_SECONDS)


@contextmanager
def _removed_on_error(io: FileIO, path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        remove(io, path)
        raise
