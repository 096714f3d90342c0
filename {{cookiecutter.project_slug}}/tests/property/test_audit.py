"""The audit of a written file: what was written and what is read back are compared by sums of their values."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.iceberg.writer import LONG_TEXT, Totals

TEXT = (
    st.none() | st.text(max_size=9) | st.sampled_from(["", "\0", "\0\0", *("x" * (LONG_TEXT + n) for n in (0, 1, 9))])
)
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
    for other in (plain, plain.cast(pa.large_string()), plain.dictionary_encode(), plain.cast(pa.binary())):
        assert totals(plain).differences(totals(other)) == []
        assert totals(plain).differences(totals(other[:cut], other[cut:])) == []


@given(TEXTS, TEXT, st.integers(0, 49))
def test_one_text_that_changed_and_texts_in_another_order_are_found(
    texts: list[str | None], other: str | None, row: int
) -> None:
    changed = [*texts[:row], other, *texts[row + 1 :]]
    for now in (changed, texts[::-1], [*texts[row:], *texts[:row]]):
        assert bool(totals(pa.array(texts, pa.string())).differences(totals(pa.array(now, pa.string())))) == (
            now != texts
        )


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
