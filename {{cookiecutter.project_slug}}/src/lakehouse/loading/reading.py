"""Reading a landed file: opened and hashed at once, its rows conformed batch by batch, bad ones set aside."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.parts import Part
from lakehouse.datasets.registry import dataset_named, declaration_of
from lakehouse.errors import LandingError, RefusedError, first_line
from lakehouse.filesystem import sha256_of
from lakehouse.formats.bundle import rows_of
from lakehouse.formats.protocol import BatchReader, ContentError, UnreadRows
from lakehouse.landing import Landed
from lakehouse.loading.acceptance import Change, RowTimes, check_bytes
from lakehouse.loading.conform import BadValueError, Conformer
from lakehouse.loading.fixes import NOTHING, fix, fix_or_declare, get_again
from lakehouse.loading.landed_reader import open_landed
from lakehouse.loading.set_aside import SetAside
from lakehouse.progress import Progress


@contextmanager
def opened(path: Path, landed: Landed, unread: UnreadRows | None) -> Iterator[tuple[BatchReader, Check]]:
    """The landed file, open for reading, while a thread takes its SHA-256. Rows that can't be read go to `unread`.

    What is refused while it is open may be damage that looks like a wrong value: changed bytes are reported first.
    """
    with _both(path, landed) as (file, source), ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:
        check = Check(landed, pool.submit(sha256_of, file))
        try:
            with check.reading():
                reader = open_landed(landed, source, unread)
            try:
                yield reader, check
            except BaseException:
                with suppress(ContentError):  # the first error counts
                    reader.close()
                raise
            with check.reading():
                reader.close()
        except RefusedError:
            check.check_hash()
            raise


@contextmanager
def _both(path: Path, landed: Landed) -> Iterator[tuple[BufferedReader, Any]]:
    """The same file opened twice, to be hashed and to be read: one that is landed meanwhile takes its name.

    Raises:
        LandingError: it was, between the two.
    """
    with path.open("rb") as file, pa.OSFile(str(path), "r") as source:
        if not os.path.sameopenfile(file.fileno(), source.fileno()):
            raise LandingError(
                f"Another version of {landed.file.name} was landed while this one was being opened. {NOTHING} Run "
                "the same command again."
            )
        yield file, source


@dataclass(frozen=True)
class Check:
    """Whether the landed bytes are those that were recorded, and whether they can be read."""

    landed: Landed
    sha256: Future[str]

    def check_hash(self) -> None:
        """Wait for the hash; refuse bytes that are not the recorded ones. TLC files carry no checksums of their own."""
        check_bytes(self.landed, self.sha256.result())

    @property
    def _dataset(self) -> Dataset:
        return dataset_named(self.landed.file.dataset)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A failure to read is a refusal."""
        try:
            yield
        except ContentError as error:
            declare = fix_or_declare(self._dataset, error.declare) if error.declare else fix(self._dataset)
            raise RefusedError(f"{self.landed.file.name}: {error}. {declare}") from error
        except (OSError, pa.ArrowException) as error:
            line = first_line(error)
            kind = self._dataset.format.title
            article = "an" if kind[0] in "AEIOU" else "a"
            compressed = getattr(self._dataset.format, "compression", "")
            declare = (
                f" If it is whole, correct `compression` in {declaration_of(self._dataset)}." if compressed else ""
            )
            raise RefusedError(
                f"The landed file {self.landed.file.name} can't be read as {article} {kind} ({line}). "
                f"{get_again(self.landed)}{declare}"
            ) from error


class Reading:
    """Reads and conforms a file's rows, batch by batch, and counts what shows that the file is wrong.

    Bad rows go to `aside`, and their keys to `keep_keys`, with how many rows these are.
    """

    def __init__(
        self,
        reader: BatchReader,
        conformer: Conformer,
        check: Check,
        *,
        progress: Progress | None,
        aside: SetAside | None,
        keep_keys: Callable[[list[pa.Array[Any]], int], None] | None,
    ) -> None:
        self.aside = aside
        self.keep_keys = keep_keys
        self.reader = reader
        self.conformer = conformer
        self.check = check
        self.progress = progress
        self.rows = 0
        self.places: npt.NDArray[np.int64] = np.arange(0)
        self.times = RowTimes(conformer.dataset, conformer.part)

    @property
    def loaded(self) -> int:
        """How many rows go into the table."""
        return self.rows - (self.aside.rows if self.aside else 0)

    def batches(self) -> Iterator[list[pa.Array[Any]]]:
        """The rows, an array for each declared column. `places` are their places in the file."""
        total = self.reader.rows
        sources = self.conformer.match.sources
        incoming = self.reader.batches([source for source in sources.values() if source is not None])
        while True:
            with self.check.reading():
                batch = next(incoming, None)
            if batch is None:
                break
            if not len(batch):
                continue
            conformed = self._conformed(batch)
            self.times.add(conformed)
            yield conformed
            self.rows += len(batch)
            if self.progress:
                self.progress(self.rows, total or self.rows)
        if total is not None and self.rows != total:
            raise RefusedError(
                f"{self.conformer.file}: only {self.rows:,} of its {total:,} rows could be read. "
                f"{get_again(self.check.landed)}"
            )

    def _conformed(self, batch: pa.RecordBatch) -> list[pa.Array[Any]]:
        """The good rows of a batch. Only where there are bad ones, and these are set aside, rows are looked at."""
        self.places = np.arange(self.rows, self.rows + len(batch), dtype=np.int64)
        if self.aside is None:
            return self.conformer.conform(batch)
        unread = self.aside.take_unread(self.rows, len(batch))
        with suppress(BadValueError):
            if not unread:
                return self.conformer.conform(batch)
        good = np.ones(len(batch), dtype=np.bool_)
        if bad := self.conformer.bad_rows(batch, self.aside.left, unread):
            self.aside.add(batch, bad)
            positions = [row.position for row in bad]
            good[positions] = False
            if self.keep_keys:
                self.keep_keys(self.conformer.keys(batch, positions), len(bad))
        conformed = self.conformer.conform(batch.filter(pa.array(good)))
        self.conformer.rows += len(bad)
        self.conformer.set_aside += len(bad)
        self.places = self.places[good]
        return conformed

    def placed_batches(self) -> Iterator[list[pa.Array[Any]]]:
        """The rows of a table without a key, in the order of `raw_schema`: part, place in the file, hash, columns."""
        part, sha256 = self.conformer.part, pa.array([self.check.landed.sha256])
        for arrays in self.batches():
            rows = len(arrays[0])
            if not rows:
                continue
            row = pa.array(self.places)
            source = pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), sha256)
            yield [*([_days(part, rows)] if part else []), row, source, *arrays]

    def finish(self, change: Change) -> None:
        """The checks that need all rows. How many rows there are is checked later, by `still_current`.

        Raises:
            RefusedError: the file can't be loaded as it is, or its bytes are not those recorded at landing.
        """
        self.conformer.finish()
        if not change.allow_strays:
            self.times.check(self.conformer.file, self.conformer.match.sources)
        self.check.check_hash()


def rows_in_all(reader: BatchReader, path: Path, dataset: Dataset, check: Check) -> int:
    """How many rows a file has; where it does not say so itself, it is read once more."""
    if reader.rows is not None:
        return reader.rows
    with check.reading(), pa.OSFile(str(path), "r") as source:
        return rows_of(dataset, source)


def _days(part: Part, rows: int) -> pa.Array[Any]:
    """The part's first day, for each row."""
    days = (part.first_day - date(1970, 1, 1)).days
    return pa.array(np.full(rows, days, dtype=np.int32)).cast(pa.date32())
