"""Formats: how a dataset's files are written. `lakehouse.formats` reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parquet:
    """Apache Parquet: it knows its columns, types and number of rows."""

    suffix = "parquet"
    title = "parquet file"


@dataclass(frozen=True)
class Csv:
    """Text with commas, its first line the columns' names. Every value is read as text, and then conformed."""

    suffix = "csv"
    title = "CSV file"
