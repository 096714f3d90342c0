"""Reading CSV: a line of names, then rows. Every value is text; conforming makes numbers and times of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa
from pyarrow import csv as arrow

from lakehouse.datasets.formats import Csv
from lakehouse.formats.compression import decompressed
from lakehouse.formats.protocol import Unread, UnreadRows, row_from_0

LONGEST_NAMES = 1 << 20  # bytes of the line of names, with the lines before it
MOST_AHEAD = 100_000


class CsvReader:
    """A CSV file, read block by block. `source` is an open file that can seek.

    With `unread`, a row with too few or too many values is put there.
    """

    def __init__(self, declared: Csv, source: Any, unread: UnreadRows | None = None) -> None:
        names = names_in(declared, source)
        source.seek(0)
        self.schema = pa.schema([(name, pa.string()) for name in names])
        self.rows: int | None = None
        self.is_synthetic = False
        self._unread = unread
        self._ahead: dict[int, Unread] = {}  # rows that Arrow has left out and that are not in a batch yet
        self._lines_before = declared.junk_rows + 1
        # What this reads from is let go of with it.
        self._reader = arrow.open_csv(
            decompressed(source, declared.compression),
            read_options=arrow.ReadOptions(
                column_names=names,
                skip_rows=declared.junk_rows + 1,
                encoding=declared.encoding,
                use_threads=unread is None,  # with threads, Arrow does not say which row it left out
            ),
            parse_options=arrow.ParseOptions(
                delimiter=declared.delimiter,
                quote_char=declared.quote or False,
                newlines_in_values=bool(declared.quote),
                ignore_empty_lines=len(names) > 1,  # of one column, an empty line is an empty value
                invalid_row_handler=None if unread is None else self._leave_out,
            ),
            convert_options=arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        if self._unread is None:
            for batch in self._reader:
                yield batch.select(list(columns))
            return
        done = 0
        for batch in self._reader:
            whole = self._with_rows_left_out(batch.select(list(columns)), done, self._unread)
            done += len(whole)
            yield whole
        empty: Any = pa.schema([(name, pa.string()) for name in columns]).empty_table()
        yield self._with_rows_left_out(pa.RecordBatch.from_pydict(empty.to_pydict(), empty.schema), done, self._unread)

    def _leave_out(self, row: Any) -> Literal["skip", "error"]:
        """What to do with a row that has too few or too many values."""
        if len(self._ahead) >= MOST_AHEAD:
            return "error"  # as it is without `unread`: it is no such file
        number = row.number - self._lines_before - 1
        reason = f"{self.place(number)} has {row.actual_columns} values; expected {row.expected_columns}"
        self._ahead[number] = Unread(reason, None, row.text)
        return "skip"

    def _with_rows_left_out(self, batch: pa.RecordBatch, first: int, unread: UnreadRows) -> pa.RecordBatch:
        """The batch with nulls in place of the rows that were left out before, within and right after its rows."""
        pieces: list[pa.RecordBatch] = []
        taken, row = 0, first
        nothing: Any = pa.RecordBatch.from_arrays([pa.nulls(1, pa.string())] * batch.num_columns, schema=batch.schema)
        for number in sorted(self._ahead):
            good = number - row
            if good > len(batch) - taken:
                break
            pieces += [batch.slice(taken, good), nothing]
            taken, row = taken + good, number + 1
            unread[number] = [self._ahead.pop(number)]
        if not pieces:
            return batch
        table: Any = pa.Table.from_batches([*pieces, batch.slice(taken)])
        whole: pa.RecordBatch = table.combine_chunks().to_batches()[0]
        return whole

    def place(self, row: int) -> str:
        """How a message names a row: by its number."""
        return row_from_0(row)

    def close(self) -> None:
        """Let go of it."""
        self._reader.close()


def names_in(declared: Csv, source: Any) -> list[str]:
    """The names of the columns; nothing after them is read.

    Raises:
        pa.ArrowInvalid: there is no such line, or it is not written as declared.
        OSError: it can't be decompressed.
    """
    head = io.BytesIO(decompressed(source, declared.compression).read(LONGEST_NAMES))
    # What is no text is found with the rows: this reads on beyond the line of names.
    text = io.TextIOWrapper(head, encoding=_without_mark(declared.encoding), errors="replace", newline="")
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
        raise pa.ArrowInvalid(f"its line of column names can't be read: {error}") from error
    if not names:
        raise pa.ArrowInvalid("it has no line of column names")
    return names


def _without_mark(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
