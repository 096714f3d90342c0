"""Formats: how a file is read, in batches of bounded size. Each reader is in a file of its own."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines, Parquet, Reader
from lakehouse.formats import csv, excel, function, json_lines, protocol
from lakehouse.formats.csv import CsvReader
from lakehouse.formats.excel import SheetReader
from lakehouse.formats.function import FunctionReader
from lakehouse.formats.json_lines import JsonLinesReader
from lakehouse.formats.parquet import ParquetReader


def open_reader(declared: Format, source: Any) -> protocol.Reader:
    """Read an open file as it is declared.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    match declared:
        case Parquet():
            return ParquetReader(source)
        case Csv():
            return CsvReader(declared, source)
        case JsonLines():
            return JsonLinesReader(declared, source)
        case Excel():
            return SheetReader(declared, source)
        case Reader():
            return FunctionReader(declared, source)


def names_at_the_head(declared: Csv | JsonLines | Excel | Reader, source: Any) -> list[str]:
    """The names of columns that the beginning of an open file shows; most of it is not read.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    match declared:
        case Csv():
            return csv.names_in(declared, source)
        case JsonLines():
            return json_lines.names_in(declared, source)
        case Excel():
            return excel.names_in(declared, source)
        case Reader():
            return function.names_in(declared, source)


def count_rows(declared: Format, source: Any) -> int:
    """How many rows an open file has; where it does not say so itself, it is read.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    with closing(open_reader(declared, source)) as reader:
        return reader.rows if reader.rows is not None else sum(map(len, reader.batches(reader.schema.names[:1])))
