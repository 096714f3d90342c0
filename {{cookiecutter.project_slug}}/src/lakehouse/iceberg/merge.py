"""Merging by key: new rows against a table's. What is new, what has changed, what is as it was, what is gone.

The new rows wait in a DuckDB. The table's rows stream past them once. A second pass writes one data file: the rows that
stay of the data files that lose any, and the new and changed rows. Data files that lose none are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lakehouse.formats.protocol import BATCH_ROWS
from lakehouse.iceberg.rows import batches_of

if TYPE_CHECKING:
    import duckdb

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
    """New rows against one state of the table.

    `files` are that state's data files that lose rows, `stays` which of their rows stay. `fresh` are the new rows that
    go into the table, by their number. `repeated` says that the table has two rows with one key.
    """

    snapshot_id: int | None
    merged: Merged
    files: tuple[DataFile, ...]
    stays: tuple[Mask, ...]
    fresh: Mask
    repeated: bool

    @property
    def changes_nothing(self) -> bool:
        """Whether the table has all of it already, row by row."""
        return not self.files and not self.fresh.any()

    @property
    def replaced(self) -> frozenset[str]:
        """The data files that go."""
        return frozenset(file.file_path for file in self.files)


class Incoming:
    """New rows in the table `incoming` of a DuckDB: their number `row`, from 0, and their columns `c0`, `c1`, ….

    In SQL a column is called by its place, so that no name needs quoting: `columns` and `key`. `names` are the columns'
    names in the Iceberg table. Who fills the table counts `rows`, and `outdated` rows that are not in it any more.
    `aside` counts rows that were set aside; their keys are in the table `aside`, unless they are `unknown`.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, names: Sequence[str], key: Sequence[str]) -> None:
        self.connection = connection
        self.names = list(names)
        self.columns = [f"c{i}" for i in range(len(self.names))]
        self.key = [self.columns[self.names.index(name)] for name in key]
        self.rows = self.outdated = self.aside = self.unknown = 0

    def repeated_key(self, among: str = "incoming") -> tuple[Any, ...] | None:
        """The key of some of these new rows that have the same one."""
        key = ", ".join(self.key)
        query = f"select {key} from {among} group by {key} having count(*) > 1 limit 1"
        found: list[tuple[Any, ...]] = self.connection.sql(query).fetchall()
        return found[0] if found else None

    def compare(self, table: Table, files: Sequence[DataFile], *, complete: bool, again: bool) -> Merge:
        """Hold the new rows against a table's.

        Args:
            table: in the state that counts.
            files: its data files.
            complete: whether rows of the table go whose key no new row has.
            again: whether the new rows are all written, also those that the table holds as they are.
        """
        removes = complete and not self.unknown
        stays: list[Mask] = [np.full(file.record_count, not removes) for file in files]
        fresh, met = np.ones(self.rows, dtype=np.bool_), np.zeros(self.rows, dtype=np.bool_)
        if self.outdated:
            fresh[:] = False
            for batch in self.connection.sql("select row from incoming").to_arrow_reader(BATCH_ROWS):
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
        merged = Merged(
            inserted=wanted - int(met.sum()),
            updated=pairs - unchanged,
            unchanged=unchanged,
            removed=sum(map(len, stays)) - pairs - kept_rows if removes else 0,
            outdated=self.outdated,
            kept=sum(map(len, stays)) - pairs if self.unknown and complete else kept_rows,
        )
        touched = [one for one, mask in enumerate(stays) if not mask.all()]
        snapshot = table.current_snapshot()
        return Merge(
            snapshot.snapshot_id if snapshot else None,
            merged,
            tuple(files[one] for one in touched),
            tuple(stays[one] for one in touched),
            fresh,
            repeated=pairs != int(met.sum()),
        )

    def new_rows(self, table: Table, merge: Merge, constants: Mapping[str, str]) -> Iterator[list[pa.Array[Any]]]:
        """The rows of the new data file, in batches: arrays of all columns of the table, in its order.

        `constants` are values of columns that the new rows do not have.
        """
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
        place = {name: i for i, name in enumerate(self.names, start=1)}
        for batch in self.connection.sql("select * from incoming").to_arrow_reader(BATCH_ROWS):
            mask = merge.fresh[batch.column("row").to_numpy()]
            if not mask.any():
                continue
            kept = batch.filter(pa.array(mask))
            columns: list[pa.Array[Any]] = []
            for field in schema:
                if field.name in constants:
                    columns.append(pa.repeat(constants[field.name], len(kept)))
                elif field.name in place:
                    columns.append(kept.column(place[field.name]))
                else:  # no longer declared
                    columns.append(pa.nulls(len(kept), field.type))
            yield _cast(columns, schema)

    def _pairs(self, table: Table, files: Sequence[DataFile]) -> Iterator[pa.RecordBatch]:
        """Rows of the table and new ones of one key: data file, place in it, the new row's number, whether the same."""
        if not self.rows and not self.aside:
            return
        kinds = schema_to_pyarrow(table.schema())
        fields = [(f"c{i}", kinds.field(name).type) for i, name in enumerate(self.names)]
        schema = pa.schema([("number", pa.int32()), ("place", pa.int64()), *fields])
        failed: list[BaseException] = []

        def rows() -> Iterator[pa.RecordBatch]:
            try:
                for number, file in enumerate(files):
                    first = 0
                    for arrays in batches_of(table, file, self.names):
                        length = len(arrays[0])
                        here = pa.array(np.full(length, number, dtype=np.int32))
                        place = pa.array(np.arange(first, first + length))
                        first += length
                        yield pa.RecordBatch.from_arrays([here, place, *arrays], schema=schema)
            except BaseException as error:
                failed.append(error)  # DuckDB would make text of it
                raise

        others = [name for name in self.columns if name not in self.key]
        same = " and ".join(f"held.{name} is not distinct from incoming.{name}" for name in others) or "true"
        on = " and ".join(f"held.{name} = incoming.{name}" for name in self.key)
        self.connection.register("held", pa.RecordBatchReader.from_batches(schema, rows()))
        query = f"select number, place, incoming.row, {same} as same from held join {self._met()} on {on}"
        try:
            yield from self.connection.sql(query).to_arrow_reader(BATCH_ROWS)
        except Exception as error:
            if failed:
                raise failed[0] from error
            raise
        finally:
            self.connection.unregister("held")

    def _met(self) -> str:
        """The new rows that rows of the table are compared with. One that was set aside has the number -1."""
        if not self.aside:
            return "incoming"
        key = ", ".join(self.key)
        aside = f"select distinct -1 as row, {key} from aside anti join incoming using ({key})"
        return f"(select * from incoming union all by name {aside}) as incoming"


def _cast(columns: list[Any], schema: pa.Schema) -> list[pa.Array[Any]]:
    return [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
