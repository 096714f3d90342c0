"""The rows of a file, to be merged into a table by key. They wait in a DuckDB of their own, on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lakehouse.datasets.model import Dataset
from lakehouse.duckdb_config import duckdb_config
from lakehouse.errors import CommitError, RefusedError, first_line
from lakehouse.iceberg.merge import Incoming, Merge
from lakehouse.iceberg.tables import SOURCE
from lakehouse.loading.fixes import NOTHING, fix
from lakehouse.settings import Settings

if TYPE_CHECKING:
    import duckdb

# its stubs know no plain Python values
pc: Any = compute

_ONE = "so only one may have it. A file with several versions of a row needs an `order` in its declaration"
_NO_KEY = "; or declare no key, and choose the rows in silver"
MEMORY = "256MB"  # of DuckDB; what it holds beyond that is on disk


class FileRows:
    """The conformed rows of one file, waiting to be merged.

    `sources` are the file's own names of its columns. `place` names a row by its number.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        dataset: Dataset,
        file: str,
        sources: Mapping[str, str | None],
        place: Callable[[int], str],
    ) -> None:
        self._connection = connection
        self._dataset = dataset
        self._file = file
        self._sources = sources
        self._place = place
        self._incoming = Incoming(connection, [column.name for column in dataset.columns], dataset.key)

    @property
    def rows(self) -> int:
        """How many rows it has taken."""
        return self._incoming.rows

    def take(self, batches: Iterator[list[pa.Array[Any]]]) -> None:
        """Take all conformed batches of the file, and see that each key stands once.

        Raises:
            RefusedError: a row has no key, or two rows have the same.
        """
        for batch in batches:
            self.add(batch)
        self.check_keys()

    def add(self, arrays: list[pa.Array[Any]]) -> None:
        """Take one conformed batch: an array for each declared column.

        Raises:
            RefusedError: a row has no key; names the column and the row.
        """
        for name, column in zip(self._dataset.key, self._incoming.key, strict=True):
            keys: Any = arrays[self._incoming.columns.index(column)]
            if keys.null_count:
                row = self.rows + int(pc.index(keys.is_null(), True).as_py())
                source = self._sources[name]
                raise RefusedError(
                    f"{self._file}: the column {source!r} has no value in {self._place(row)}, and it belongs to the "
                    f"table's key, so every row must have one. {fix(self._dataset)}"
                    if source
                    else f"{self._file} has no column {self._called(name)!r}, which belongs to the table's key. "
                    f"{fix(self._dataset)}"
                )
        rows = pa.array(np.arange(self.rows, self.rows + len(arrays[0])))
        batch = pa.RecordBatch.from_arrays([rows, *arrays], names=["row", *self._incoming.columns])
        self._connection.register("batch", batch)
        if not self.rows:
            self._connection.execute("create table if not exists incoming as select * from batch limit 0")
        self._connection.execute("insert into incoming select * from batch")
        self._connection.unregister("batch")
        self._incoming.rows += len(batch)

    def keep_keys(self, keys: list[pa.Array[Any]], rows: int) -> None:
        """Take the keys of rows that were set aside; of `rows` rows, some may have none that can be read.

        The table keeps its rows of these keys. Where a key is not known, it keeps all rows.
        """
        self._incoming.unknown += rows - len(keys[0])
        batch = pa.RecordBatch.from_arrays(keys, names=self._incoming.key)
        self._connection.register("batch", batch)
        if not self._incoming.aside:
            self._connection.execute("create table aside as select * from batch limit 0")
        self._connection.execute("insert into aside select * from batch")
        self._connection.unregister("batch")
        self._incoming.aside += rows

    def check_keys(self) -> None:
        """One row a key: of several, the greatest by the dataset's `order` is kept, if it has one.

        Raises:
            RefusedError: two rows have the same key, and no order decides; names the columns and the key.
        """
        if not self.rows:
            return
        key, order = ", ".join(self._incoming.key), self._dataset.order
        if order is None:
            self._refuse_twice(self._incoming.repeated_key())
            if self._incoming.aside:
                query = f"select {key} from incoming semi join aside using ({key}) limit 1"
                self._refuse_twice(next(iter(self._connection.sql(query).fetchall()), None))
            return
        by = self._incoming.columns[self._incoming.names.index(order)]
        ranked = f"select row, {key}, rank() over (partition by {key} order by {by} desc nulls last) as place"
        self._refuse_twice(
            self._incoming.repeated_key(f"({ranked} from incoming) where place = 1"),
            f"and the same greatest {self._called(order)!r}, so it is not known which of them counts",
        )
        self._connection.execute(
            f"delete from incoming where row in (select row from ({ranked} from incoming) where place > 1)"
        )
        self._incoming.outdated = self.rows - self._count("select count(*) from incoming")

    def compare(self, table: Table, *, again: bool) -> Merge:
        """Hold the file's rows against a table's.

        With `again` the file's rows are all written again, also those that the table holds as they are.

        Raises:
            RefusedError: the table has a key twice, or delete files.
        """
        files, complete = self._live_files(table), self._dataset.parts.complete
        merge = self._incoming.compare(table, files, complete=complete, again=again)
        if merge.repeated and not again:
            raise RefusedError(
                f"{self._file}: {self._dataset.table} has two rows with the same {' and '.join(self._dataset.key)}, so "
                f"rows can't be merged by it. {NOTHING} `lakehouse load {self._dataset.name} --again` "
                "writes the file's rows again."
            )
        return merge

    def new_rows(self, table: Table, merge: Merge, sha256: str) -> Iterator[list[pa.Array[Any]]]:
        """The rows of the new data file, in batches: arrays of all columns of the table, in its order."""
        return self._incoming.new_rows(table, merge, {SOURCE[0]: sha256})

    def _called(self, name: str) -> str:
        """What the file calls a declared column, or should call it if it lacks it."""
        column = next(column for column in self._dataset.columns if column.name == name)
        return self._sources[name] or column.published_name(None)

    def _live_files(self, table: Table) -> list[DataFile]:
        tasks = list(table.scan().plan_files())
        if any(task.delete_files for task in tasks):
            raise RefusedError(
                f"{self._file} was not loaded: another program has deleted rows of {self._dataset.table}, and Iceberg "
                "keeps such rows in files of their own, called delete files. Rows can't be merged into such a table. "
                "Nothing was changed. On Trino, `lakehouse maintain` writes the table without these rows. On embedded, "
                "rewrite the table with the program that deleted them, or roll it back to before that. Then run the "
                "same command again."
            )
        return [task.file for task in tasks]

    def _refuse_twice(self, found: tuple[Any, ...] | None, why: str = "") -> None:
        if not found:
            return
        # A file that has not all rows needs a key.
        why = why or (_ONE + _NO_KEY if self._dataset.parts.complete else _ONE)
        what = " and ".join(
            f"{self._called(name)!r} = {value}" for name, value in zip(self._dataset.key, found, strict=True)
        )
        raise RefusedError(
            f"{self._file}: more than one row has {what}, which is the table's key, {why}. {fix(self._dataset)}"
        )

    def _count(self, query: str) -> int:
        return int(self._connection.sql(query).fetchall()[0][0])


@contextmanager
def file_rows(
    settings: Settings, dataset: Dataset, file: str, sources: Mapping[str, str | None], place: Callable[[int], str]
) -> Iterator[FileRows]:
    """A place for a file's rows, as long as the context lasts.

    Raises:
        CommitError: the disk, or the memory, does not hold them.
    """
    import duckdb  # noqa: PLC0415 - most files have no key

    tmp = settings.home / "tmp"
    config = {**duckdb_config(settings), "memory_limit": MEMORY}
    with tempfile.TemporaryDirectory(prefix="merge-", dir=tmp, ignore_cleanup_errors=True) as folder:
        config["temp_directory"] = folder
        try:
            with duckdb.connect(str(Path(folder) / "incoming.duckdb"), config=config) as connection:
                connection.execute("set TimeZone = 'UTC'")
                # The file's rows are to be the side of the join that is held in memory; the table's stream past them.
                connection.execute("set disabled_optimizers = 'build_side_probe_side,join_order'")
                yield FileRows(connection, dataset, file, sources, place)
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            what_next = f"See that the disk of {tmp} has room"
            if isinstance(error, duckdb.OutOfMemoryException):
                what_next = f"DuckDB may use {MEMORY} of memory here. End other programs, or see that {tmp} has room"
            raise CommitError(
                f"{file}: its rows could not be compared with those of {dataset.table}: {first_line(error)}. "
                f"The table is as it was. {what_next}. Then run the same command again."
            ) from error
