"""Reading CSV: a line of names, then rows. Every value is text; conforming makes numbers and times of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import Any, Literal

import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as arrow

from lakehouse.datasets.formats import Csv
from lakehouse.formats.compression import decompressed
from lakehouse.formats.protocol import ContentError, Unread, UnreadRows, row_from_0
from lakehouse.formats.text import CsvText, declare_encoding, is_utf8

# its stubs know no plain Python values
pc: Any = compute

LONGEST_NAMES = 1 << 20  # bytes of the line of names, with the lines before it
BLOCK = 1 << 20
LONGEST_ROW = 16 << 20  # bytes; only a file with a row beyond `BLOCK` is read in such blocks
MOST_AHEAD = 100_000
MARK = "\ufeff"
REPLACED = "\ufffd"  # the sign in place of bytes that are no text


class CsvReader:
    """A CSV file, read block by block. `source` is an open file that can seek.

    With `unread`, a row with too few or too many values, or with the names of the columns, is put there.
    """

    def __init__(self, declared: Csv, source: Any, unread: UnreadRows | None = None) -> None:
        self._names, self._head = _names_and_lines(declared, source)
        self.schema = pa.schema([(name, pa.string()) for name in self._names])
        self.rows: int | None = None
        self.is_synthetic = False
        self._declared, self._source, self._unread = declared, source, unread
        self._ahead: dict[int, Unread] = {}  # rows that Arrow has left out and that are not in a batch yet
        self._reader: Any = None
        self._text: CsvText | None = None
        self._rest = self._blocks(BLOCK)
        # Arrow reads a first block, so what is no such file is known as it is opened.
        self._first = next(self._rest, None)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        if self._unread is None:  # rows that are left out are noted as they are read, and taken with their batch
            self._rest = _read_ahead(self._rest)
        done = 0
        for batch in chain([self._first] if self._first else [], self._rest):
            self._look_for_names(batch, done)
            done += len(batch)
            yield batch.select([self._names.index(name) for name in columns])

    def place(self, row: int) -> str:
        """How a message names a row: by its number."""
        return row_from_0(row)

    def close(self) -> None:
        """Let go of it, once a thread that still reads has ended."""
        self._rest.close()
        if self._reader is not None:
            self._reader.close()

    def _blocks(self, size: int, done: int = 0) -> Generator[pa.RecordBatch, None, None]:
        """Its rows but the first `done`, with all columns. Where rows are left out, with nulls in place of them."""
        row = 0
        try:
            # What this reads from is let go of with it.
            self._reader = self._opened(size, None if self._unread is None else self._leave_out)
            for batch in self._with_rows_left_out(self._reader):
                row += len(batch)
                if row > done:
                    yield batch.slice(max(0, len(batch) - (row - done)))
                elif self._unread:
                    self._unread.clear()  # those of rows that were given before
        except ContentError:
            raise
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error):
                raise self._named(error) from error
            if size == LONGEST_ROW:
                raise ContentError(
                    f"{row_from_0(row)}, or one after it, is longer than {LONGEST_ROW:,} bytes. Look for a quote there "
                    "that is never closed",
                    'If the row is right, read the file by a function of your own: write `format=Reader("module:f")`',
                ) from error
        else:
            return
        yield from self._blocks(LONGEST_ROW, max(row, done))

    def _opened(self, size: int, leave_out: Callable[[Any], Literal["skip", "error"]] | None, kind: Any = None) -> Any:
        """Arrow's reader from the first row on."""
        self._ahead.clear()
        if self._text is not None:
            self._text.end()
        self._source.seek(0)
        content = decompressed(self._source, self._declared.compression)
        # Arrow hands a row over as text, and prints a traceback if it is none.
        self._text = CsvText(self._declared, content, self._head, checked=leave_out is not None)
        text: Any = pa.PythonFile(self._text, "r")  # not in the stub
        return arrow.open_csv(
            text,
            read_options=arrow.ReadOptions(
                column_names=self._names,
                skip_rows=1,
                block_size=size,
                use_threads=leave_out is None,  # with threads, Arrow does not say which row it left out
            ),
            parse_options=arrow.ParseOptions(
                delimiter=self._declared.delimiter,
                quote_char=self._declared.quote or False,
                newlines_in_values=bool(self._declared.quote),
                ignore_empty_lines=len(self._names) > 1,  # of one column, an empty line is an empty value
                invalid_row_handler=leave_out,
            ),
            convert_options=arrow.ConvertOptions(column_types=dict.fromkeys(self._names, kind or pa.string())),
        )

    def _leave_out(self, row: Any) -> Literal["skip", "error"]:
        """What to do with a row that has too few or too many values."""
        if len(self._ahead) >= MOST_AHEAD:
            return "error"  # as it is without `unread`: it is no such file
        self._ahead[row.number - 2] = Unread(self._reason(row), None, row.text)
        return "skip"

    def _reason(self, row: Any) -> str:
        return f"{self.place(row.number - 2)} has {row.actual_columns} values; expected {row.expected_columns}"

    def _with_rows_left_out(self, batches: Any) -> Iterator[pa.RecordBatch]:
        """Arrow's batches with nulls in place of the rows that were left out before, within and after their rows."""
        row = 0
        nothing: Any = pa.RecordBatch.from_arrays([pa.nulls(1, pa.string())] * len(self._names), schema=self.schema)
        for batch in chain(batches, [nothing.slice(1)]):
            pieces: list[pa.RecordBatch] = []
            taken = 0
            for number in sorted(self._ahead):
                good = number - row
                if good > len(batch) - taken:
                    break
                pieces += [batch.slice(taken, good), nothing]
                taken, row = taken + good, number + 1
                if self._unread is not None:
                    self._unread[number] = [self._ahead.pop(number)]
            row += len(batch) - taken
            if not pieces:
                yield batch
                continue
            table: Any = pa.Table.from_batches([*pieces, batch.slice(taken)])
            yield table.combine_chunks().to_batches()[0]

    def _named(self, error: Exception) -> Exception:
        """The error with the row at which it comes; the file is read again for it, from its beginning."""
        reasons: list[str] = []

        def look(row: Any) -> Literal["skip", "error"]:
            reasons.append(f"{self._reason(row)}, as the line of names has: {row.text[:80]!r}")
            return "error"

        try:
            if no_text := self._no_text():
                return no_text
            for _ in self._opened(LONGEST_ROW, look):
                pass
        except ContentError as other:
            return other
        except pa.ArrowInvalid:
            if reasons:
                return ContentError(reasons[0], "If the file is right, correct `delimiter`, `quote` or `footer_rows`")
        return error

    def _no_text(self) -> ContentError | None:
        """The first value that is no text, of the rows before one that has too few or too many values."""
        row = 0
        with suppress(pa.ArrowInvalid):
            for batch in self._opened(LONGEST_ROW, None, pa.binary()):
                for name, values in zip(self._names, batch.columns, strict=True):
                    if (position := _first_no_text(values)) is not None:
                        found: bytes = values[position].as_py()
                        return ContentError(
                            f"the column {name!r} has {found[:80]!r} in {self.place(row + position)}; expected text in "
                            f"{self._declared.encoding}",
                            declare_encoding(self._declared),
                        )
                row += len(batch)
        return None

    def _look_for_names(self, batch: pa.RecordBatch, first: int) -> None:
        """Find rows that have the names of the columns again, as files that were put together have.

        Raises:
            ContentError: there is one, and no bad rows may be.
        """
        if len(self._names) < 2:
            return
        first_values, name = batch.column(0), self._names[0]
        begins = pc.or_(pc.equal(first_values, name), pc.equal(first_values, MARK + name))
        if not pc.any(begins).as_py():
            return
        for position in pc.indices_nonzero(begins).to_pylist():
            values = [column[position].as_py() for column in batch.columns]
            if values[1:] != self._names[1:]:
                continue
            reason = (
                f"{self.place(first + position)} has the names of the columns again: "
                f"{self._declared.delimiter.join(values)[:80]!r}; expected values"
            )
            if self._unread is None:
                raise ContentError(
                    reason,
                    "If several files were put one behind the other, leave this line out. Or put each into the source "
                    "folder, and declare a name with a * in `files`",
                )
            self._unread[first + position] = [Unread(reason, None, self._declared.delimiter.join(values))]


def _read_ahead(batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    """The same batches. A thread reads one while the caller uses the one before it; it ends when this is closed."""
    with ThreadPoolExecutor(1, thread_name_prefix="csv") as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _first_no_text(values: pa.Array[Any]) -> int | None:
    """The position of the first value that is no UTF-8."""
    try:
        values.cast(pa.string())
    except pa.ArrowInvalid:
        for position, value in enumerate(values.to_pylist()):
            try:
                (value or b"").decode()
            except UnicodeDecodeError:
                return position
    return None


def names_in(declared: Csv, source: Any) -> list[str]:
    """The names of the columns; nothing after them is read.

    Raises:
        ContentError: there is no such line, or it is not written as declared.
        pa.ArrowInvalid, OSError: it can't be decompressed.
    """
    return _names_and_lines(declared, source)[0]


def _names_and_lines(declared: Csv, source: Any) -> tuple[list[str], int]:
    """The names of the columns, and how many lines end with them: a name may have line ends."""
    head = io.BytesIO(decompressed(source, declared.compression).read(LONGEST_NAMES))
    # What is no text in the rows is found with them: this reads on beyond the line of names.
    encoding = "utf-8-sig" if is_utf8(declared.encoding) else declared.encoding
    text = io.TextIOWrapper(head, encoding=encoding, errors="replace", newline="")
    try:
        for _ in range(declared.junk_rows):
            text.readline()
        lines = csv.reader(
            text,
            delimiter=declared.delimiter,
            quotechar=declared.quote or None,
            quoting=csv.QUOTE_MINIMAL if declared.quote else csv.QUOTE_NONE,
            strict=True,
        )
        names = next(lines, [])
    except csv.Error as error:
        raise ContentError(
            f"its line of column names, line {declared.junk_rows + 1}, can't be read: {error}",
            "Correct `delimiter`, `quote` or `junk_rows`",
        ) from error
    except UnicodeError as error:  # in UTF-16 and UTF-32, without the mark that says the order of the bytes
        raise ContentError(f"it is not text in {declared.encoding}: {error}", declare_encoding(declared)) from error
    if not names:
        raise ContentError(
            f"it has no line of column names: line {declared.junk_rows + 1} is blank, or the file ends before it",
            "If the names stand in another line, declare `junk_rows` with the number of lines above them, blank or not",
        )
    if no_text := next((name for name in names if REPLACED in name), None):
        raise ContentError(
            f"its line of column names has {no_text[:80]!r}, which is not text in {declared.encoding}",
            declare_encoding(declared),
        )
    return names, declared.junk_rows + lines.line_num
