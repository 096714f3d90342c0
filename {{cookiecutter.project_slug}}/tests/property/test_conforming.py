"""Odd files: the exact table, or a refusal that names the cause. Never a third thing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, event, given, note, settings
from tests.lake import Lake
from tests.property.odd_files import CANONICAL, OddFile, odd_files
from tests.property.profiles import settings_of

from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import parse_months
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError
from lakehouse.loading.conform import Conformer, plan
from lakehouse.settings import Settings
from lakehouse.synthetic.eras import FIRST_MONTHS, published_fields
from lakehouse.synthetic.generate import write_month

Columns = dict[str, list[Any]]


def answer(odd: OddFile, read: Callable[[], tuple[Columns, tuple[str, ...]]]) -> None:
    """Compare what `read` gives with the one right answer."""
    note("\n".join([f"{odd.dataset} {odd.month}", *odd.story]))
    event(odd.story[0])
    if odd.refusal:
        with pytest.raises(RefusedError) as caught:
            read()
        assert re.search(odd.refusal, str(caught.value)), f"{caught.value}\n\ndoes not say {odd.refusal}"
        return
    columns, unknown = read()
    assert unknown == odd.unknown
    for column in DATASETS[odd.dataset].columns:
        expected = odd.trips.get(column.name)
        assert expected is None or columns[column.name] == expected, column.name


@given(odd=odd_files())
@settings_of(examples=150, long=(4_000, 50))
def test_an_odd_file_is_conformed_exactly_or_refused_with_the_cause(odd: OddFile) -> None:
    dataset = DATASETS[odd.dataset]

    def conformed() -> tuple[Columns, tuple[str, ...]]:
        buffer = io.BytesIO()
        pq.write_table(odd.table, buffer, row_group_size=odd.row_group_rows)
        file = pq.ParquetFile(buffer)
        match = plan(dataset, odd.month, file.schema_arrow, "odd.parquet")
        conformer = Conformer(dataset, odd.month, match, "odd.parquet")
        parts = [
            conformer.conform(batch) for batch in file.iter_batches(3, columns=[s for s in match.sources.values() if s])
        ]
        conformer.finish()
        names = [column.name for column in dataset.columns]
        return {
            name: [value for part in parts for value in part[n].to_pylist()] for n, name in enumerate(names)
        }, match.unknown

    answer(odd, conformed)


def test_an_odd_file_is_loaded_exactly_or_refused(tmp_path: Path) -> None:
    numbers = count()
    lakes: list[Lake] = []

    @given(odd=odd_files())
    # Shrinking by whole loads takes minutes; the test above shrinks the same files.
    @settings(parent=settings_of(examples=25, long=(2_000, 50)), phases=(Phase.explicit, Phase.generate))
    def loads(odd: OddFile) -> None:
        number = next(numbers)
        if number % 30 == 0:  # a long history would slow each load
            home = tmp_path / str(number)
            lakes[:] = [Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=home), home / "scratch")]
        (lake,) = lakes
        dataset, month = DATASETS[odd.dataset], str(odd.month)
        file = lake.write(odd.dataset, month, odd.table, row_group_size=odd.row_group_rows)
        before = state(lake, dataset.table)

        def loaded() -> tuple[Columns, tuple[str, ...]]:
            result = lake.load(odd.dataset, month, file, allow_shrink=True, allow_strays=True, again=True)
            rows = lake.table(dataset.table).scan(row_filter=f"file_month == '{month}-01'").to_arrow()
            rows = rows.sort_by("file_row")
            assert rows["file_row"].to_pylist() == list(range(len(odd.table)))
            return {name: rows[name].to_pylist() for name in rows.column_names}, result.unknown_columns

        answer(odd, loaded)
        if odd.refusal:
            assert state(lake, dataset.table) == before

    loads()


def state(lake: Lake, name: str) -> tuple[int | None, set[str]]:
    """The current snapshot, and the data files there are."""
    files = {str(f) for f in lake.settings.warehouse_dir.rglob(f"{name.split('.')[1]}/data/**/*.parquet")}
    if not lake.catalog.table_exists(name):
        return None, files
    snapshot = lake.table(name).current_snapshot()
    return (snapshot.snapshot_id if snapshot else None), files


@pytest.mark.parametrize("name", list(FIRST_MONTHS))
def test_a_generated_month_of_every_era_conforms_with_equal_values(name: str, tmp_path: Path) -> None:
    dataset = DATASETS[name]
    for month in parse_months([f"{dataset.first_part}..2026-12"]):
        path = write_month(tmp_path / "month.parquet", name, month, 60, seed=month.month)
        published = pq.read_table(path)

        match = plan(dataset, month, published.schema, path.name)
        conformer = Conformer(dataset, month, match, path.name)
        (batch,) = published.combine_chunks().to_batches()
        columns = dict(zip([c.name for c in dataset.columns], conformer.conform(batch), strict=True))
        conformer.finish()

        assert match.unknown == ()
        for what, source, _ in published_fields(name, month):
            if what == "index":
                continue
            canonical = CANONICAL.get(source, source) if what == "nothing" else CANONICAL.get(what, what)
            assert same(published[source], columns[canonical]), (month, source)


def same(published: pa.ChunkedArray[Any], conformed: pa.Array[Any]) -> bool:
    """Whether every value is the same, whatever its type is called."""
    values = published.to_pylist()
    if pa.types.is_timestamp(conformed.type) and isinstance(values[0], str):
        return values == [f"{value:%Y-%m-%d %H:%M:%S}" for value in conformed.to_pylist()]
    if pa.types.is_integer(conformed.type) and isinstance(values[0], str):
        values = [None if value is None else int(value) for value in values]
    return bool(values == conformed.to_pylist())


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("payment_type", ["1.0", str(2**53 + 1), " 2 ", ""], [1, 2**53 + 1, 2, None]),
        ("passenger_count", ["0x1F"] * 4, None),
        ("fare_amount", [Decimal("376.78"), Decimal("-618.47"), None, Decimal("0.01")], [376.78, -618.47, None, 0.01]),
    ],
    ids=["text beyond a double", "hexadecimal", "decimal"],
)
def test_spellings_that_a_cast_gets_wrong(
    tmp_path: Path, column: str, values: list[Any], expected: list[Any] | None
) -> None:
    month, dataset = Month(2024, 1), DATASETS["green"]
    table = pq.read_table(write_month(tmp_path / "month.parquet", "green", month, 4))
    table = table.set_column(table.column_names.index(column), column, pa.array(values))
    conformer = Conformer(dataset, month, plan(dataset, month, table.schema, "odd.parquet"), "odd.parquet")
    (batch,) = table.combine_chunks().to_batches()

    if expected is None:
        with pytest.raises(RefusedError, match=f"'{column}' has '0x1F' in row 0 "):
            conformer.conform(batch)
    else:
        columns = dict(zip([c.name for c in dataset.columns], conformer.conform(batch), strict=True))
        assert columns[column].to_pylist() == expected


def test_the_months_of_this_test_are_all_eras() -> None:
    assert len(parse_months([f"{DATASETS['yellow'].first_part}..2026-12"])) == 18 * 12
    assert Month(2013, 8) == DATASETS["green"].first_part
