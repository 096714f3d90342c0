"""What files bring, and what each gets: docs/data.md's rules as one table of cases, for both targets.

A case takes a good month of 40 rows and changes it. What must come out is known without asking the code under test: the
good month's values, those of the changed file, or a refusal that names file, cause and way out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table
from tests.lake import Lake
from tests.property.odd_files import TIMES, WHOLE, published_names

from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import LakehouseError, LandingError, RefusedError
from lakehouse.iceberg import staging
from lakehouse.landing import Landed
from lakehouse.landing.bucket import PREFIX, s3_client

ROWS, HELD = 40, 60
REFRESH, SHRINK, SAME = "--refresh", "--allow-shrink", "run the same command again"

Change = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class Brought:
    """One file and the one right answer to it.

    `change` makes it from the good month, `spoil` changes its bytes before they land, `after` those that have landed;
    `plant` is a fault while it is loaded. Refused: the message says all of `refused` and the `way_out`. Loaded: the
    table holds the good month's values where the file only spells them otherwise (`respelled`), else the file's own.
    """

    what: str
    change: Change = lambda table: table
    spoil: Callable[[bytes], bytes] | None = None
    after: Callable[[bytes], bytes] | None = None
    plant: Callable[[], AbstractContextManager[object]] = nullcontext
    dataset: str = "green"
    month: str = "2024-01"
    allow_shrink: bool = False
    allow_strays: bool = False
    refused: tuple[str, ...] = ()
    way_out: str = REFRESH
    respelled: bool = False
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.what.replace(" ", "-")

    def file(self, lake: Lake) -> tuple[Path, dict[str, list[Any]]]:
        """The file, and what its month must hold once it is loaded, by canonical name."""
        good = pq.read_table(
            lake.generate(self.dataset, self.month, ROWS, seed=1, dirt=False, strays=False)
        ).replace_schema_metadata(None)
        changed = self.change(good)
        # Plain, so that nothing but a page's checksum tells a flipped bit.
        plain: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
        path = lake.write(self.dataset, self.month, changed, **plain)
        if self.spoil:
            path.write_bytes(self.spoil(path.read_bytes()))
        return path, {} if self.refused else values(self.dataset, self.month, good if self.respelled else changed)


def values(dataset: str, month: str, published: pa.Table) -> dict[str, list[Any]]:
    """A file's values by canonical name; null where it has no such column."""
    names = {canonical: name for name, canonical in published_names(dataset, Month.parse(month))}
    nothing: list[Any] = [None] * len(published)
    found = {}
    for column in DATASETS[dataset].columns:
        name = names.get(column.name)
        given = published[name].to_pylist() if name in published.column_names else nothing
        read = datetime.fromisoformat if column.name in TIMES else int if column.name in WHOLE else None
        found[column.name] = [read(value) if read and isinstance(value, str) else value for value in given]
    return found


def holds(lake: Lake, case: Brought) -> None:
    """Load the case's file over a month that is there already, and look at everything it may and may not have done."""
    dataset = DATASETS[case.dataset]
    held = lake.generate(case.dataset, case.month, HELD)
    lake.load(case.dataset, case.month, held)
    file, expected = case.file(lake)
    landed = lake.land(case.dataset, case.month, file)
    if case.after:
        rewrite(lake, landed, case.after)
    before = state(lake, dataset.table)

    if case.refused:
        with case.plant(), pytest.raises((RefusedError, LandingError)) as caught:
            lake.load(case.dataset, case.month, allow_shrink=case.allow_shrink, allow_strays=case.allow_strays)
        names_what_is_wrong(case, caught.value)
        assert state(lake, dataset.table) == before
        assert lake.load(case.dataset, case.month, held).action == "unchanged"
    else:
        result = lake.load(case.dataset, case.month, allow_shrink=case.allow_shrink, allow_strays=case.allow_strays)
        assert (result.action, result.rows, result.unknown_columns) == ("loaded", _count(expected), case.unknown)
        assert [row.snapshot_id for row in lake.history(dataset.table)] == [before[0], result.snapshot_id]
        assert read(lake, dataset.name, case.month) == expected
    assert not list(lake.landing.staging.glob("landed-*"))


def names_what_is_wrong(case: Brought, error: LakehouseError) -> None:
    """One message: which file, what is wrong with it, what to do."""
    name = DATASETS[case.dataset].file_name(Month.parse(case.month))
    said = str(error)
    for words in (*case.refused, case.way_out, *(() if case.way_out == SAME else (name,))):
        assert words.lower() in said.lower(), f"{said}\n\ndoes not say {words!r}"


def state(lake: Lake, name: str) -> tuple[int | None, set[str]]:
    """The current snapshot, and every file below the table: a refused load leaves none behind."""
    table = lake.table(name)
    snapshot = table.current_snapshot()
    place = urlsplit(table.location())
    system: Any = PyArrowFileIO(table.io.properties).fs_by_scheme(place.scheme, place.netloc)
    root = f"{place.netloc}{place.path}"
    below = system.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
    return (snapshot.snapshot_id if snapshot else None), {info.path for info in below if info.is_file}


def read(lake: Lake, dataset: str, month: str) -> dict[str, list[Any]]:
    """A month as the target's engine reads it, by column."""
    names = [column.name for column in DATASETS[dataset].columns]
    rows = lake.rows(
        f"select file_row, {', '.join(names)} from {DATASETS[dataset].table} "
        f"where file_month = date '{month}-01' order by file_row"
    )
    assert [row["file_row"] for row in rows] == list(range(len(rows)))
    return {name: [row[name] for row in rows] for name in names}


def _count(columns: dict[str, list[Any]]) -> int:
    return len(next(iter(columns.values())))


def rewrite(lake: Lake, landed: Landed, change: Callable[[bytes], bytes]) -> None:
    """Change landed bytes behind the landing zone's back; its record stays."""
    if lake.settings.target == "embedded":
        path = Path(url2pathname(urlsplit(landed.uri).path))
        path.write_bytes(change(path.read_bytes()))
        return
    client = s3_client(lake.settings)
    place = {"Bucket": lake.settings.s3_bucket, "Key": f"{PREFIX}{landed.file.key}"}
    content = client.get_object(**place)["Body"].read()  # type: ignore[arg-type]
    client.put_object(**place, Body=change(content))  # type: ignore[arg-type]


def with_column(name: str, made: Callable[[list[Any]], Any]) -> Change:
    """One column made anew from its values."""

    def change(table: pa.Table) -> pa.Table:
        array = made(table[name].to_pylist())
        return table.set_column(table.column_names.index(name), name, pa.array(array))

    return change


def typed(name: str, kind: Any) -> Change:
    """One column in another type."""
    return with_column(name, lambda values: pa.array(values, kind))


def empty(name: str, kind: Any) -> Change:
    """One column without any value."""
    return with_column(name, lambda values: pa.nulls(len(values), kind))


def text(name: str) -> Change:
    """One column as text."""
    return with_column(name, lambda values: [str(value) for value in values])


def one(name: str, row: int, value: Any, kind: Any = None) -> Change:
    """One value in the place of another."""
    return with_column(name, lambda values: pa.array([*values[:row], value, *values[row + 1 :]], kind))


def some(name: str, count: int, value: Any) -> Change:
    """The same value in the first rows."""
    return with_column(name, lambda values: [value] * count + values[count:])


def without(*names: str) -> Change:
    """Columns gone."""
    return lambda table: table.drop_columns(list(names))


def renamed(**names: str) -> Change:
    """Columns under other names."""
    return lambda table: table.rename_columns([names.get(name, name) for name in table.column_names])


def both(*changes: Change) -> Change:
    """One change after another."""

    def change(table: pa.Table) -> pa.Table:
        for step in changes:
            table = step(table)
        return table

    return change


def backwards(count: int) -> Change:
    """The first trips end before they begin."""
    early = [datetime(2024, 1, 1) - timedelta(hours=n) for n in range(count)]  # noqa: DTZ001 - New York's clocks
    return with_column("lpep_dropoff_datetime", lambda values: [*early, *values[count:]])


def no_text(name: str, row: int) -> Change:
    """A column of text with bytes in one row that are no UTF-8: parquet takes them, and no reader looks."""

    def made(values: list[Any]) -> Any:
        content = [None if value is None else value.encode() for value in values]
        return pa.array([*content[:row], b"N\xff", *content[row + 1 :]], pa.binary()).view(pa.string())

    return with_column(name, made)


def as_text(table: pa.Table) -> pa.Table:
    """Every value as text, as files were that went through CSV; whole numbers with a fraction of 0."""

    def spelled(value: Any) -> str | None:
        return None if value is None else f"{value}.0" if isinstance(value, int) else str(value)

    return pa.table({n: pa.array([spelled(v) for v in table[n].to_pylist()], pa.string()) for n in table.column_names})


def as_pandas_writes_it(table: pa.Table) -> pa.Table:
    """Nullable numbers as doubles with NaN, times in nanoseconds, text as dictionaries."""

    def written(array: pa.ChunkedArray[Any]) -> Any:
        if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
            return pa.array(np.array([np.nan if v is None else float(v) for v in array.to_pylist()]))
        if pa.types.is_timestamp(array.type):
            return array.cast(pa.timestamp("ns"))
        return array.dictionary_encode() if pa.types.is_large_string(array.type) else array

    return pa.table({name: written(table[name]) for name in table.column_names})


def flipped(content: bytes) -> bytes:
    """One bit in the middle of the data."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def page_damaged(content: bytes) -> bytes:
    """One bit of a fare: what a page's checksum tells."""
    meta = pq.ParquetFile(BytesIO(content)).metadata.row_group(0).column(9)
    place = meta.data_page_offset + meta.total_compressed_size // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def staged(change: Callable[[Table, str], None]) -> Callable[[], AbstractContextManager[object]]:
    """Something happens to the data file between its writing and its audit."""

    def plant() -> AbstractContextManager[object]:
        planted = pytest.MonkeyPatch()
        real: Any = staging.__dict__["write_data_file"]

        def write_and_change(table: Table, *others: Any) -> Any:
            file, totals = real(table, *others)
            change(table, file.file_path)
            return file, totals

        planted.setattr(staging, "write_data_file", write_and_change)
        return _Undone(planted)

    return plant


class _Undone(AbstractContextManager["_Undone"]):
    def __init__(self, planted: pytest.MonkeyPatch) -> None:
        self._planted = planted

    def __exit__(self, *_: object) -> None:
        self._planted.undo()


def _damage_staged(table: Table, path: str) -> None:
    _write_staged(table, path, page_damaged(_staged_bytes(table, path)))


def _cut_staged(table: Table, path: str) -> None:
    _write_staged(table, path, _staged_bytes(table, path)[:-200])


def _other_fare(table: Table, path: str) -> None:
    """A whole file with one fare changed: only its values tell."""
    rows = pq.read_table(BytesIO(_staged_bytes(table, path)))
    at = rows.column_names.index("fare_amount")
    changed = one("fare_amount", 7, 0.25)(rows)["fare_amount"]
    _write_rows(table, path, rows.set_column(at, rows.schema.field(at), changed))


def _one_row_less(table: Table, path: str) -> None:
    _write_rows(table, path, pq.read_table(BytesIO(_staged_bytes(table, path))).slice(1))


def _write_rows(table: Table, path: str, rows: pa.Table) -> None:
    buffer = BytesIO()
    pq.write_table(rows, buffer, store_schema=False)
    _write_staged(table, path, buffer.getvalue())


def _staged_bytes(table: Table, path: str) -> bytes:
    with table.io.new_input(path).open() as stream:
        return bytes(stream.read())


def _write_staged(table: Table, path: str, content: bytes) -> None:
    with table.io.new_output(path).create(overwrite=True) as stream:
        stream.write(content)


CASES = (
    # a column's known other name, case or type of another era; another order
    Brought("names in capitals", lambda t: t.rename_columns([n.upper() for n in t.column_names]), respelled=True),
    Brought(
        "canonical names",
        renamed(VendorID="vendor_id", lpep_pickup_datetime="pickup_datetime", PULocationID="pu_location_id"),
        respelled=True,
    ),
    Brought(
        "a name of another era",
        renamed(airport_fee="Airport_fee"),
        dataset="yellow",
        month="2022-01",
        respelled=True,
    ),
    Brought("another order", lambda t: t.select(t.column_names[::-1]), respelled=True),
    Brought("all text as in CSV files", as_text, respelled=True),
    Brought("types that pandas writes", as_pandas_writes_it, respelled=True),
    Brought(
        "amounts as decimals", with_column("tip_amount", lambda v: [Decimal(f"{x:.2f}") for x in v]), respelled=True
    ),
    Brought("text codes of 2009", dataset="yellow", month="2009-06", respelled=True),
    Brought("text codes and a stray index of 2010", dataset="yellow", month="2010-02", respelled=True),
    # a column that the era may lack
    Brought("no fees before they existed", without("congestion_surcharge"), month="2018-12"),
    Brought("no airport fee in 2018", without("airport_fee"), dataset="yellow", month="2018-12"),
    Brought("an empty column without a type", typed("ehail_fee", pa.null()), respelled=True),
    # a required column missing, a type that can't be meant, text that is no number, ids with fractions
    Brought(
        "no fares",
        without("fare_amount"),
        refused=("the column 'fare_amount' is missing", "green files of 2024-01 must have it", "a number"),
    ),
    Brought(
        "no zones",
        without("PULocationID"),
        refused=("the column 'PULocationID' is missing", "(as a whole number)"),
    ),
    Brought(
        "fares without any value",
        empty("fare_amount", pa.null()),
        refused=(
            "the column 'fare_amount' has no value in any of its 40 rows",
            "of 2024-01 must have some. Nothing of this file was loaded. If it may be",
        ),
    ),
    Brought(
        "zones without any value",
        empty("DOLocationID", pa.int32()),
        refused=(
            "the column 'DOLocationID' has no value in any of its 40 rows",
            "remove `never_empty` from the column",
        ),
    ),
    Brought(
        "pickup times without any value",
        empty("lpep_pickup_datetime", pa.timestamp("us")),
        refused=("the column 'lpep_pickup_datetime' has no value in any of its 40 rows", "of 2024-01 must have some"),
    ),
    Brought("passengers without any value", empty("passenger_count", pa.null())),
    Brought("no zones before they existed", dataset="yellow", month="2010-12", respelled=True),
    Brought(
        "two columns for one",
        lambda t: t.append_column("Fare_Amount", t["fare_amount"]),
        refused=("'fare_amount' and 'Fare_Amount' are both names of the table's column fare_amount",),
    ),
    Brought(
        "fares that are true or false",
        with_column("fare_amount", lambda v: [True] * len(v)),
        refused=("the column 'fare_amount' is bool", "wants a number"),
    ),
    Brought(
        "times with a zone",
        typed("lpep_pickup_datetime", pa.timestamp("us", tz="America/New_York")),
        refused=("the column 'lpep_pickup_datetime' is timestamp[us, tz=", "wants a local time"),
    ),
    Brought(
        "passengers that are times",
        with_column("passenger_count", lambda v: pa.array([0] * len(v), pa.timestamp("us"))),
        refused=("the column 'passenger_count' is timestamp[us]", "wants a whole number"),
    ),
    Brought(
        "text that is no number",
        both(text("fare_amount"), one("fare_amount", 23, "12,5")),
        refused=("the column 'fare_amount' has '12,5' in row 23 (counted from 0)", "expected a number"),
    ),
    Brought(
        "text that is no time",
        both(
            text("lpep_dropoff_datetime"),
            one("lpep_dropoff_datetime", 5, "2024-02-30 10:00:00"),
        ),
        refused=("the column 'lpep_dropoff_datetime' has '2024-02-30 10:00:00' in row 5 ", "expected a local time"),
    ),
    Brought(
        "an id with a fraction",
        one("PULocationID", 39, 1.5, pa.float64()),
        refused=(
            "the column 'PULocationID' has 1.5 in row 39 ",
            "expected a whole number for the table's column pu_location_id",
        ),
    ),
    Brought(
        "bytes that are no text",
        no_text("store_and_fwd_flag", 17),
        refused=("the column 'store_and_fwd_flag' has b'N\\xff' in row 17 (counted from 0)", "expected text"),
    ),
    Brought(
        "bytes that are no text in the place of a number",
        both(text("fare_amount"), no_text("fare_amount", 39)),
        refused=("the column 'fare_amount' has b'N\\xff' in row 39 (counted from 0)", "expected a number"),
    ),
    Brought(
        "an amount beyond measure",
        one("total_amount", 0, 1e11),
        refused=("the column 'total_amount' has 100000000000.0 in row 0 ", "from -99,999,999.99 to 99,999,999.99"),
    ),
    Brought(
        "a count that no sum could hold",
        one("passenger_count", 3, 2**63 - 1),
        refused=("the column 'passenger_count' has 9223372036854775807 in row 3 ", "-2,147,483,647 to 2,147,483,647"),
    ),
    Brought(
        "a time without its time of day",
        both(text("lpep_pickup_datetime"), one("lpep_pickup_datetime", 7, " 2024-01-05 ")),
        refused=("the column 'lpep_pickup_datetime' has ' 2024-01-05 ' in row 7 ", "expected a local time"),
    ),
    Brought(
        "days in the place of times",
        with_column("lpep_dropoff_datetime", lambda values: [value.date() for value in values]),
        refused=("the column 'lpep_dropoff_datetime' is date32[day]", "wants a local time"),
    ),
    # pickup and dropoff plainly swapped, zone ids outside 1-265 in more than half
    Brought(
        "pickup and dropoff swapped",
        renamed(lpep_pickup_datetime="lpep_dropoff_datetime", lpep_dropoff_datetime="lpep_pickup_datetime"),
        refused=("'lpep_dropoff_datetime' is before 'lpep_pickup_datetime' in ", " of 40 rows", "look swapped"),
    ),
    Brought(
        "dropoff first in just over half",
        backwards(21),
        refused=("'lpep_dropoff_datetime' is before 'lpep_pickup_datetime' in 21 of 40 rows", "look swapped"),
    ),
    Brought("dropoff first in half", backwards(20)),
    Brought(
        "pickup zones unknown in just over half",
        some("PULocationID", 21, 266),
        refused=("in 21 of 40 rows, 'PULocationID' is no taxi zone (these are 1 to 265)",),
    ),
    Brought(
        "dropoff zones unknown in just over half",
        some("DOLocationID", 21, 0),
        refused=("in 21 of 40 rows, 'DOLocationID' is no taxi zone (these are 1 to 265)",),
    ),
    Brought("zones unknown in half", some("PULocationID", 20, 0)),
    # rows of another month, in more than half
    Brought(
        "rows of another month in just over half",
        some("lpep_pickup_datetime", 21, datetime(2023, 12, 5)),  # noqa: DTZ001
        refused=("'lpep_pickup_datetime' is more than a day outside 2024-01 in 21 of 40 rows", "(52.5 %) are of 2023"),
        way_out="--allow-strays",
    ),
    Brought("rows of another month in half", some("lpep_pickup_datetime", 20, datetime(2023, 12, 5))),  # noqa: DTZ001
    Brought(
        "rows of another month as is meant",
        some("lpep_pickup_datetime", 21, datetime(2023, 12, 5)),  # noqa: DTZ001
        allow_strays=True,
    ),
    # a column nobody declared
    Brought(
        "columns nobody declared",
        lambda t: t.append_column("mood", pa.array(["fine"] * ROWS)).append_column("odd", pa.array([[1]] * ROWS)),
        respelled=True,
        unknown=("mood", "odd"),
    ),
    # 0 rows, or fewer than half of the month it replaces
    Brought("no rows", lambda t: t.slice(0, 0), refused=("has 0 rows", "the 60 it would replace"), way_out=SHRINK),
    Brought("no rows as is meant", lambda t: t.slice(0, 0), allow_shrink=True),
    Brought(
        "fewer than half of the rows",
        lambda t: t.slice(0, 29),
        refused=("has 29 rows, fewer than 50% of the 60 it would replace",),
        way_out=SHRINK,
    ),
    Brought("fewer than half as is meant", lambda t: t.slice(0, 29), allow_shrink=True),
    Brought("half of the rows", lambda t: t.slice(0, 30)),
    # bytes that differ from the length or SHA-256 recorded at landing; not parquet; cut short
    Brought("a bit changed since landing", after=flipped, refused=("landed",)),
    Brought("cut since landing", after=lambda content: content[:-100], refused=("landed", "changed")),
    Brought("another whole file since landing", after=lambda _: _another_month(), refused=("landed",)),
    Brought("a web page", spoil=lambda _: b"<html>not found</html>", refused=("read as a parquet file",)),
    Brought("no bytes at all", spoil=lambda _: b"", refused=("read as a parquet file",)),
    Brought("cut short", spoil=lambda content: content[: len(content) // 2], refused=("read as a parquet file",)),
    # damage found while reading or in the audit
    Brought("damage in a page", spoil=page_damaged, refused=("read as a parquet file",)),
    Brought("damage in the staged file", plant=staged(_damage_staged), refused=("can't be read back",), way_out=SAME),
    Brought("a staged file cut short", plant=staged(_cut_staged), refused=("can't be read back",), way_out=SAME),
    Brought(
        "another fare in the staged file",
        plant=staged(_other_fare),
        refused=("is not what was written: fare_amount: values differ",),
        way_out=SAME,
    ),
    Brought(
        "a row less in the staged file",
        plant=staged(_one_row_less),
        refused=("is not what was written: 40 rows were written, 39 were read",),
        way_out=SAME,
    ),
    # dirt inside rows
    Brought(
        "dirt inside rows",
        both(
            some("fare_amount", 30, -12.5),
            some("trip_distance", 30, 200_000.0),
            some("lpep_pickup_datetime", 3, datetime(2002, 12, 31)),  # noqa: DTZ001
            some("passenger_count", 30, None),
            some("DOLocationID", 10, 999),
        ),
    ),
)


def _another_month() -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.table({"n": [1]}), buffer)
    return buffer.getvalue()
