"""Merging by key: a file's rows against the table's. What is new, what has changed, what is as it was, what is gone.

The file's rows wait in a DuckDB of their own, on disk. The table's rows stream past them once. A second pass writes one
data file: the rows that stay of the data files that lose any, and the new and changed rows. Data files that lose none
are not touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lakehouse.datasets.model import Dataset
from lakehouse.duckdb_config import duckdb_config
from lakehouse.errors import CommitError, RefusedError
from lakehouse.formats.protocol import BATCH_ROWS
from lakehouse.iceberg.files import batches_of
from lakehouse.iceberg.tables import SOURCE
from lakehouse.settings import Settings

# its stubs know no plain Python values
pc: Any = compute

_FIX = "Nothing was loaded. Load it again with --refresh, which gets the published file again."
_ONE = "so only one may have it. A file with several versions of a row needs an `order` in its declaration"
MEMORY = "256MB"  # of DuckDB; what it holds beyond that is on disk
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Merged:
    """What a merge did, in rows.

    `outdated` are rows of the file that a newer one of the same file and key replaced. `kept` are rows of the table
    that the good rows of the file lack. They stay because a row that was set aside has their key, or may have it.
    """

    inserted: int
    updated: int
    unchanged: int
    removed: int
    outdated: int = 0
    kept: int = 0

    @property
    def summary(self) -> dict[str, str]:
        """It as the snapshot's summary has it."""
        return {f"lakehouse.rows-{word}": str(count) for word, count in asdict(self).items()}


@dataclass(frozen=True)
class Merge:
    """The file's rows against one state of the table.

    `files` are that state's data files that lose rows, `stays` which of their rows stay. `fresh` are the rows of the
    file that go into the table, by their place in the file.
    """

    snapshot_id: int | None
    merged: Merged
    files: tuple[DataFile, ...]
    stays: tuple[Mask, ...]
    fresh: Mask

    @property
    def changes_nothing(self) -> bool:
        """Whether the table has all of it already, row by row."""
        return not self.files and not self.fresh.any()

    @property
    def replaced(self) -> frozenset[str]:
        """The data files that go."""
        return frozenset(file.file_path for file in self.files)


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
        names = [column.name for column in dataset.columns]
        # In SQL a column is called by its place, so that no name needs quoting.
        self._key = [f"c{names.index(name)}" for name in dataset.key]
        self._columns = [f"c{i}" for i in range(len(names))]
        self.rows = 0
        self._outdated = 0
        self._aside = 0
        self._unknown = 0

    def add(self, arrays: list[pa.Array[Any]]) -> None:
        """Take one conformed batch: an array for each declared column.

        Raises:
            RefusedError: a row has no key; names the column and the row.
        """
        for name, column in zip(self._dataset.key, self._key, strict=True):
            keys: Any = arrays[self._columns.index(column)]
            if keys.null_count:
                row = self.rows + int(pc.index(keys.is_null(), True).as_py())
                raise RefusedError(
                    f"{self._file}: the column {self._sources[name]!r} has no value in {self._place(row)}, "
                    f"and it belongs to the table's key, so every row must have one. {_FIX}"
                )
        rows = pa.array(np.arange(self.rows, self.rows + len(arrays[0])))
        batch = pa.RecordBatch.from_arrays([rows, *arrays], names=["row", *self._columns])
        self._connection.register("batch", batch)
        if not self.rows:
            self._connection.execute("create table if not exists incoming as select * from batch limit 0")
        self._connection.execute("insert into incoming select * from batch")
        self._connection.unregister("batch")
        self.rows += len(batch)

    def leave(self, keys: list[pa.Array[Any]], rows: int) -> None:
        """Take the keys of rows that were set aside; of `rows` rows, some may have none that can be read.

        The table keeps its rows of these keys. Where a key is not known, it keeps all rows.
        """
        known = len(keys[0])
        self._unknown += rows - known
        batch = pa.RecordBatch.from_arrays(keys, names=self._key)
        self._connection.register("batch", batch)
        if not self._aside:
            self._connection.execute("create table aside as select * from batch limit 0")
        self._connection.execute("insert into aside select * from batch")
        self._connection.unregister("batch")
        self._aside += rows

    def check_keys(self) -> None:
        """One row a key: of several, the greatest by the dataset's `order` is kept, if it has one.

        Raises:
            RefusedError: two rows have the same key, and no order decides; names the columns and the key.
        """
        if not self.rows:
            return
        key, order = ", ".join(self._key), self._dataset.order
        if order is None:
            self._refuse_twice(f"select {key} from incoming group by {key} having count(*) > 1 limit 1")
            return
        by = self._columns[[column.name for column in self._dataset.columns].index(order)]
        ranked = f"select row, {key}, rank() over (partition by {key} order by {by} desc nulls last) as place"
        self._refuse_twice(
            f"select {key} from ({ranked} from incoming) where place = 1 group by {key} having count(*) > 1 limit 1",
            f"and the same greatest {self._sources[order]!r}, so it is not known which of them counts",
        )
        self._connection.execute(
            f"delete from incoming where row in (select row from ({ranked} from incoming) where place > 1)"
        )
        self._outdated = self.rows - self._count("select count(*) from incoming")

    def compare(self, table: Table, *, again: bool) -> Merge:
        """Hold the file's rows against a table's.

        With `again` the file's rows are all written again, also those that the table holds as they are.

        Raises:
            RefusedError: the table has a key twice, or delete files.
        """
        complete = self._dataset.parts.complete and not self._unknown
        files = self._live_files(table)
        stays: list[Mask] = [np.full(file.record_count, not complete) for file in files]
        fresh, met = np.ones(self.rows, dtype=np.bool_), np.zeros(self.rows, dtype=np.bool_)
        if self._outdated:
            fresh[:] = False
            for batch in self._connection.sql("select row from incoming").to_arrow_reader(BATCH_ROWS):
                fresh[batch.column("row").to_numpy()] = True
        wanted = int(fresh.sum())
        unchanged = pairs = kept_rows = 0
        for batch in self._pairs(table, files):
            number, place, row = (batch.column(name).to_numpy() for name in ("number", "place", "row"))
            same = batch.column("same").to_numpy(zero_copy_only=False)
            if (aside := row < 0).any():
                kept_rows += int(aside.sum())
                for one in np.unique(number[aside]):
                    stays[one][place[aside & (number == one)]] = True
                number, place, row, same = (values[~aside] for values in (number, place, row, same))
            pairs += len(row)
            unchanged += int(same.sum())
            met[row] = True
            kept = np.zeros_like(same) if again else same
            fresh[row[kept]] = False
            for one in np.unique(number):
                here = number == one
                stays[one][place[here]] = kept[here]
        if pairs != met.sum() and not again:
            raise RefusedError(
                f"{self._file}: {self._dataset.table} has two rows with the same {' and '.join(self._dataset.key)}, so "
                f"rows can't be merged by it. Nothing was loaded. `lakehouse load {self._dataset.name} --again` "
                "writes the file's rows again."
            )
        merged = Merged(
            inserted=wanted - int(met.sum()),
            updated=pairs - unchanged,
            unchanged=unchanged,
            removed=sum(map(len, stays)) - pairs - kept_rows if complete else 0,
            outdated=self._outdated,
            kept=sum(map(len, stays)) - pairs if self._unknown and self._dataset.parts.complete else kept_rows,
        )
        touched = [one for one, mask in enumerate(stays) if not mask.all()]
        snapshot = table.current_snapshot()
        return Merge(
            snapshot.snapshot_id if snapshot else None,
            merged,
            tuple(files[one] for one in touched),
            tuple(stays[one] for one in touched),
            fresh,
        )

    def new_rows(self, table: Table, merge: Merge, sha256: str) -> Iterator[list[pa.Array[Any]]]:
        """The rows of the new data file, in batches: arrays of all columns of the table, in its order."""
        schema = schema_to_pyarrow(table.schema())
        for file, stays in zip(merge.files, merge.stays, strict=True):
            first = 0
            for arrays in batches_of(table, file, schema.names):
                mask = stays[first : first + len(arrays[0])]
                first += len(mask)
                if mask.any():
                    yield [array.filter(pa.array(mask)) for array in arrays]
        if not merge.fresh.any():
            return
        place = {column.name: i for i, column in enumerate(self._dataset.columns, start=1)}
        for batch in self._connection.sql("select * from incoming").to_arrow_reader(BATCH_ROWS):
            mask = merge.fresh[batch.column("row").to_numpy()]
            if not mask.any():
                continue
            kept = batch.filter(pa.array(mask))
            columns: list[pa.Array[Any]] = []
            for field in schema:
                if field.name == SOURCE[0]:
                    columns.append(pa.repeat(sha256, len(kept)))
                elif field.name in place:
                    columns.append(kept.column(place[field.name]))
                else:  # no longer declared
                    columns.append(pa.nulls(len(kept), field.type))
            yield _cast(columns, schema)

    def _live_files(self, table: Table) -> list[DataFile]:
        tasks = list(table.scan().plan_files())
        if any(task.delete_files for task in tasks):
            raise RefusedError(
                f"{self._file}: {self._dataset.table} has delete files, which another program wrote. Rows can't be "
                "merged into such a table. Nothing was loaded; run `lakehouse maintain`, then the same command again."
            )
        return [task.file for task in tasks]

    def _pairs(self, table: Table, files: list[DataFile]) -> Iterator[pa.RecordBatch]:
        """Rows of the table and of the file with one key: data file, place in it, row of the file, whether the same."""
        if not self.rows and not self._aside:
            return
        names = [column.name for column in self._dataset.columns]
        kinds = schema_to_pyarrow(table.schema())
        fields = [(f"c{i}", kinds.field(name).type) for i, name in enumerate(names)]
        schema = pa.schema([("number", pa.int32()), ("place", pa.int64()), *fields])
        failed: list[BaseException] = []

        def rows() -> Iterator[pa.RecordBatch]:
            try:
                for number, file in enumerate(files):
                    first = 0
                    for arrays in batches_of(table, file, names):
                        length = len(arrays[0])
                        here = pa.array(np.full(length, number, dtype=np.int32))
                        place = pa.array(np.arange(first, first + length))
                        first += length
                        yield pa.RecordBatch.from_arrays([here, place, *arrays], schema=schema)
            except BaseException as error:
                failed.append(error)  # DuckDB would make text of it
                raise

        others = [name for name in self._columns if name not in self._key]
        same = " and ".join(f"held.{name} is not distinct from incoming.{name}" for name in others) or "true"
        on = " and ".join(f"held.{name} = incoming.{name}" for name in self._key)
        self._connection.register("held", pa.RecordBatchReader.from_batches(schema, rows()))
        query = f"select number, place, incoming.row, {same} as same from held join {self._met()} on {on}"
        try:
            yield from self._connection.sql(query).to_arrow_reader(BATCH_ROWS)
        except duckdb.Error as error:
            if failed:
                raise failed[0] from error
            raise
        finally:
            self._connection.unregister("held")

    def _met(self) -> str:
        """The rows of the file that rows of the table are compared with. One that was set aside has the number -1."""
        if not self._aside:
            return "incoming"
        key = ", ".join(self._key)
        aside = f"select distinct -1 as row, {key} from aside anti join incoming using ({key})"
        return f"(select * from incoming union all by name {aside}) as incoming"

    def _refuse_twice(self, query: str, why: str = _ONE) -> None:
        if not (found := self._connection.sql(query).fetchall()):
            return
        what = " and ".join(
            f"{self._sources[name]!r} = {value}" for name, value in zip(self._dataset.key, found[0], strict=True)
        )
        raise RefusedError(f"{self._file}: more than one row has {what}, which is the table's key, {why}. {_FIX}")

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
    config = {**duckdb_config(settings), "memory_limit": MEMORY}
    with tempfile.TemporaryDirectory(prefix="merge-", dir=settings.home / "tmp", ignore_cleanup_errors=True) as folder:
        config["temp_directory"] = folder
        with duckdb.connect(str(Path(folder) / "incoming.duckdb"), config=config) as connection:
            connection.execute("set TimeZone = 'UTC'")
            # The file's rows are to be the side of the join that is held in memory; the table's stream past them.
            connection.execute("set disabled_optimizers = 'build_side_probe_side,join_order'")
            try:
                yield FileRows(connection, dataset, file, sources, place)
            except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
                raise CommitError(
                    f"{file}: its rows could not be compared with those of {dataset.table}: {error}. The table is as "
                    f"it was. Check the free space of {folder} and run the same command again."
                ) from error


def _cast(columns: list[Any], schema: pa.Schema) -> list[pa.Array[Any]]:
    return [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
