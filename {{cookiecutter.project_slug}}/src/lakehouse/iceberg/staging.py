"""Staging: rows as a data file that nothing refers to yet, read back and compared, for a commit to come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionKey
from pyiceberg.table import Table

from lakehouse.iceberg.commit import discarding
from lakehouse.iceberg.data_file import audit, write_data_file


def staged(
    table: Table,
    batches: Iterator[list[pa.Array[Any]]],
    name: str,
    partition: PartitionKey | None,
    check: Callable[[], None] = lambda: None,
) -> DataFile | None:
    """The rows as a data file that nothing refers to yet, read back and compared; None without rows.

    `check` is asked once all rows are written.

    Raises:
        RefusedError: by `check`, or the file is not what was written; the data file is removed.
    """
    first = next(batches, None)
    if first is None:
        check()
        return None
    file, written = write_data_file(table, chain([first], batches), name, partition)
    with discarding(table, [file]):
        check()
        audit(table, file, written)
    return file
