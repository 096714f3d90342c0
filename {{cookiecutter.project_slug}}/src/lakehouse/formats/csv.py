"""Reading CSV: a line of names, then rows. Every value is text; conforming makes numbers and times of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow

from lakehouse.datasets.formats import Csv
from lakehouse.formats.compression import decompressed
from lakehouse.formats.protocol import row_from_0

LONGEST_NAMES = 1 << 20  # bytes of the line of names, with the lines before it


class CsvReader:
    """A CSV file, read block by block. `source` is an open file that can seek."""

    def __init__(self, declared: Csv, source: Any) -> None:
        names = names_in(declared, source)
        source.seek(0)
        self.schema = pa.schema([(name, pa.string()) for name in names])
        self.rows: int | None = None
        self.is_synthetic = False
        # What this reads from is let go of with it.
        self._reader = arrow.open_csv(
            decompressed(source, declared.compression),
            read_options=arrow.ReadOptions(
                column_names=names, skip_rows=declared.junk_rows + 1, encoding=declared.encoding
            ),
            parse_options=arrow.ParseOptions(
                delimiter=declared.delimiter,
                quote_char=declared.quote or False,
                newlines_in_values=bool(declared.quote),
                ignore_empty_lines=len(names) > 1,  # of one column, an empty line is an empty value
            ),
            convert_options=arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Its rows in their order, with these columns."""
        for batch in self._reader:
            yield batch.select(list(columns))

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
