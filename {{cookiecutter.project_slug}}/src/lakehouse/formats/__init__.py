"""Formats: how a file is read, in batches of bounded size. Each reader is in a file of its own."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from lakehouse.datasets.formats import Csv, Parquet
from lakehouse.formats.csv import CsvReader
from lakehouse.formats.parquet import ParquetReader
from lakehouse.formats.protocol import Reader


def open_reader(declared: Parquet | Csv, source: Any) -> Reader:
    """Read an open file as it is declared.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    match declared:
        case Parquet():
            return ParquetReader(source)
        case Csv():
            return CsvReader(declared, source)


def count_rows(declared: Parquet | Csv, source: Any) -> int:
    """How many rows an open file has; where it does not say so itself, it is read.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    with closing(open_reader(declared, source)) as reader:
        return reader.rows if reader.rows is not None else sum(map(len, reader.batches(reader.schema.names[:1])))
