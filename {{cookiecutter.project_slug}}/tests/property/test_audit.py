"""The audit of a written file: what was written and what is read back are compared by sums of their values."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.iceberg.data_file import Totals

TEXT = st.none() | st.text(max_size=9) | st.sampled_from(["", "\0", "\0\0", *("x" * n for n in (4095, 4096, 9000))])
TEXTS = st.lists(TEXT, min_size=1, max_size=50)


def totals(*arrays: pa.Array[Any]) -> Totals:
    made = Totals(["n"])
    for array in arrays:
        if len(array):
            made.add([array])
    return made


@given(TEXTS, st.integers(0, 50))
def test_texts_are_the_same_however_they_are_stored_and_cut(texts: list[str | None], cut: int) -> None:
    plain: Any = pa.array(texts, pa.string())
    for other in (plain, plain.cast(pa.large_string()), plain.cast(pa.binary())):
        assert totals(plain).differences(totals(other)) == []
        assert totals(plain).differences(totals(other[:cut], other[cut:])) == []
    few = plain.dictionary_encode()
    for parts in ((few,), (few[:cut], few[cut:]), (plain[:cut].dictionary_encode(), plain[cut:].dictionary_encode())):
        assert totals(few).differences(totals(*parts)) == []


@given(TEXTS, TEXT, st.integers(0, 49))
def test_one_text_that_changed_and_texts_in_another_order_are_found(
    texts: list[str | None], other: str | None, row: int
) -> None:
    changed = [*texts[:row], other, *texts[row + 1 :]]
    for now in (changed, texts[::-1], [*texts[row:], *texts[:row]]):
        plain: list[Any] = [pa.array(values, pa.string()) for values in (texts, now)]
        for one, another in (plain, [array.dictionary_encode() for array in plain]):
            assert bool(totals(one).differences(totals(another))) == (now != texts)


@given(st.lists(st.none() | st.sampled_from([0, 1, -1]), min_size=1, max_size=20), st.integers(0, 20))
def test_numbers_are_told_apart_and_so_is_where_they_are_missing(numbers: list[int | None], cut: int) -> None:
    for kind in (pa.int64(), pa.int32(), pa.float64(), pa.decimal128(30, 2), pa.timestamp("us"), pa.date32()):
        whole: Any = pa.array(numbers, pa.int32()).cast(pa.int64() if pa.types.is_timestamp(kind) else pa.int32())
        whole = whole.cast(kind)
        assert totals(whole).differences(totals(whole[:cut], whole[cut:])) == []
        turned = whole[::-1]
        assert bool(totals(whole).differences(totals(turned))) == (numbers[::-1] != numbers)


@pytest.mark.parametrize("row", range(4))
def test_a_sign_that_turned_is_found_in_each_row(row: int) -> None:
    prices = [1.5] * 4
    turned = [*prices[:row], -1.5, *prices[row + 1 :]]

    assert totals(pa.array(prices)).differences(totals(pa.array(turned))) == ["n: values differ"]


def test_what_lies_behind_a_null_does_not_count() -> None:
    texts, places = pa.py_buffer(b"abcdef"), pa.array([0, 2, 4, 6], pa.int32()).buffers()[1]
    lists: Any = pa.Array
    hidden = lists.from_buffers(pa.string(), 3, [pa.py_buffer(b"\x05"), places, texts])

    assert hidden.to_pylist() == ["ab", None, "ef"]
    assert totals(hidden).differences(totals(pa.array(["ab", None, "ef"], pa.string()))) == []


@given(st.lists(st.none() | st.lists(TEXT, max_size=4), min_size=1, max_size=20), TEXT, st.integers(0, 19))
def test_lists_are_told_apart_however_they_are_cut(
    lists: list[list[str | None] | None], text: str | None, row: int
) -> None:
    kind: Any = pa.list_(pa.string())
    whole: Any = pa.array(lists, kind)
    assert totals(whole).differences(totals(whole[:row], whole[row:])) == []
    assert totals(whole).differences(totals(whole.cast(pa.large_list(pa.large_string())))) == []
    for now in ([*lists[:row], [text], *lists[row + 1 :]], lists[::-1], [one and one[::-1] for one in lists]):
        assert bool(totals(whole).differences(totals(pa.array(now, kind)))) == (now != lists)
