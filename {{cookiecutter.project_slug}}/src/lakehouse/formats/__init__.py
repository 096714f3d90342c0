"""Formats: how a file is read, in batches of bounded size. Each reader is in a file of its own."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines, Parquet, Reader
from lakehouse.formats import csv, function, json_lines, protocol
from lakehouse.formats.csv import CsvReader
from lakehouse.formats.function import FunctionReader
from lakehouse.formats.json_lines import JsonLinesReader
from lakehouse.formats.parquet import ParquetReader


def open_reader(
    declared: Format,
    source: Any,
    unread: protocol.UnreadRows | None = None,
    has_lists: json_lines.HasLists = lambda _: None,
) -> protocol.BatchReader:
    """Read an open file as it is declared. With `unread`, lines, rows and cells that can't be read are put there.

    `has_lists` says whether a name in JSON lines is that of a declared column of lists; None if it is not declared.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    match declared:
        case Parquet():
            return ParquetReader(source)
        case Csv():
            return CsvReader(declared, source, unread)
        case JsonLines():
            return JsonLinesReader(declared, source, unread, has_lists)
        case Excel():
            from lakehouse.formats.excel import SheetReader  # noqa: PLC0415 - openpyxl is slow to import

            return SheetReader(declared, source, unread)
        case Reader():
            return FunctionReader(declared, source)


def names_at_the_head(
    declared: Csv | JsonLines | Excel | Reader, source: Any, *, with_bad_rows: bool = False
) -> list[str]:
    """The names of columns that the beginning of an open file shows; most of it is not read.

    `with_bad_rows`: a line that can't be read is no reason to refuse the file.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    match declared:
        case Csv():
            return csv.names_in(declared, source)
        case JsonLines():
            return json_lines.names_in(declared, source, with_bad_rows=with_bad_rows)
        case Excel():
            from lakehouse.formats import excel  # noqa: PLC0415 - as above

            return excel.names_in(declared, source)
        case Reader():
            return function.names_in(declared, source)


def count_rows(declared: Format, source: Any, *, with_bad_rows: bool = False) -> int:
    """How many rows an open file has; where it does not say so itself, it is read.

    `with_bad_rows`: rows that can't be read are counted too.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    unread: protocol.UnreadRows | None = {} if with_bad_rows else None
    with closing(open_reader(declared, source, unread)) as reader:
        if reader.rows is not None:
            return reader.rows
        rows = 0
        for batch in reader.batches(reader.schema.names[:1]):
            rows += len(batch)
            if unread:
                unread.clear()
        return rows
