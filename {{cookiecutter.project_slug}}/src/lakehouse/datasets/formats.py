"""Formats: how a dataset's files are written. `lakehouse.formats` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Parquet:
    """Apache Parquet: it knows its columns, types and number of rows."""

    suffix = "parquet"
    title = "parquet file"


@dataclass(frozen=True)
class Csv:
    """Text with a line of names. Every value is read as text, and then conformed to its column's type, exactly.

    `encoding` is Python's name of it; a mark at the file's beginning (BOM) is left out. `junk_rows` are the lines
    before the line of names, `footer_rows` the last lines with a value: both are left out. `nulls` are the words that
    mean no value, in each column without `nulls` of its own; blanks around them do not count. `decimal` and `thousands`
    are the signs in numbers. `times` and `dates` are the forms of times and dates, in the signs of `strptime`; without
    them they are written as 2024-01-31 23:59:59 and 2024-01-31. A zip file holds one file.
    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    junk_rows: int = 0
    footer_rows: int = 0
    nulls: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str = ""
    times: str = ""
    dates: str = ""
    compression: Literal["", "gzip", "zip", "zstd"] = ""

    suffix = "csv"
    title = "CSV file"


@dataclass(frozen=True)
class JsonLines:
    """A JSON object a line. Numbers keep their characters, and each value is conformed to its column's type, exactly.

    A member of an object is a column by its path: `customer.address.city`. A name that is missing, and null, are null.
    `times` and `dates` are the forms of times and dates, in the signs of `strptime`. Without them they are written as
    2024-01-31 23:59:59, or with a T between, and 2024-01-31. A zip file holds one file.
    """

    encoding: str = "utf-8"
    times: str = ""
    dates: str = ""
    compression: Literal["", "gzip", "zip", "zstd"] = ""

    suffix = "jsonl"
    title = "JSON lines file"


@dataclass(frozen=True)
class Excel:
    """A sheet of an Excel file (xlsx, xlsm): a row of names, then rows. Each cell is conformed to its column's type.

    `sheet` is its name; without it, the first that is not hidden is read. `header_row` is the number of the row of
    names, from 1; what is above it is left out. `footer_rows` are the last rows with a value, which are left out.
    """

    sheet: str = ""
    header_row: int = 1
    footer_rows: int = 0

    suffix = "xlsx"
    title = "Excel file"


@dataclass(frozen=True)
class Reader:
    """A function of one's own: it takes the open binary file, and yields `pyarrow.RecordBatch`es of one schema.

    `function` is `module:function`. Each value is conformed to its column's type, exactly.
    """

    function: str

    suffix = "bin"
    title = "file of this kind"


Format = Parquet | Csv | JsonLines | Excel | Reader
