"""The text of a CSV file as Arrow gets it, read by Python here: blocks of any size, heads, footers and quotes."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lakehouse.datasets.formats import Csv
from lakehouse.formats import text as text_module
from lakehouse.formats.protocol import ContentError
from lakehouse.formats.text import CsvText

SHARES_A_PATCH = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VALUES = st.text(st.sampled_from('aé",;\n '), max_size=4)
# The first value of a row is never empty: a line without values is no row of a footer.
ROWS = st.lists(st.tuples(st.sampled_from(["1", "x", 'q"r', "é"]), VALUES), min_size=1, max_size=6)


def read(declared: Csv, content: bytes, head: int = 1, *, checked: bool = False, size: int = 5) -> bytes:
    text = CsvText(declared, io.BytesIO(content), head, checked=checked)
    assert text.readable()
    return b"".join(iter(lambda: text.read(size), b""))


def written(rows: list[tuple[str, str]], declared: Csv) -> str:
    made = io.StringIO()
    csv.writer(made, delimiter=declared.delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return made.getvalue()


DECLARED = st.builds(
    Csv,
    encoding=st.sampled_from(["utf-8", "cp1252", "utf-16", "utf-16-le"]),
    delimiter=st.sampled_from(",;"),
    footer_rows=st.integers(0, 2),
)


@SHARES_A_PATCH
@given(
    rows=ROWS,
    declared=DECLARED,
    block=st.sampled_from([1, 2, 3, 7, 1000]),
    head=st.integers(1, 3),
    checked=st.booleans(),
)
def test_all_rows_are_there_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch, *, rows: list[tuple[str, str]], declared: Csv, block: int, head: int, checked: bool
) -> None:
    monkeypatch.setattr(text_module, "BLOCK", block)
    footer, delimiter, encoding = declared.footer_rows, declared.delimiter, declared.encoding
    below = "".join(f"total {number}\n" for number in range(footer)) + (f"\n {delimiter}\n" if footer else "")
    whole = "name\n" * head + written(rows, declared) + below

    assert read(declared, whole.encode(encoding), head, checked=checked) == b"\n" + written(rows, declared).encode()


def outcome(content: bytes) -> bytes | str:
    """The text, or the line that the refusal names first."""
    try:
        return read(Csv(), content)
    except ContentError as error:
        (line,) = re.findall(r"line \d+", str(error))[:1]
        return str(line)


@SHARES_A_PATCH
@given(rows=st.text(st.sampled_from('a",\n '), max_size=20), block=st.sampled_from([1, 2, 3, 7]))
@example(rows='a\n"a""\n",a\n', block=1)
@example(rows='a\n"a"a\n', block=3)
@example(rows='a\n "a"\n', block=2)
@example(rows='a\n5" pipe,"a\n', block=2)
def test_what_a_text_means_does_not_depend_on_the_blocks(
    monkeypatch: pytest.MonkeyPatch, rows: str, block: int
) -> None:
    content = b"name\n" + rows.encode()
    monkeypatch.setattr(text_module, "BLOCK", 1 << 20)
    at_once = outcome(content)
    monkeypatch.setattr(text_module, "BLOCK", block)

    assert outcome(content) == at_once


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ('a\n"b\nc', 'line 3 has a value that begins with " and does not end'),
        ('a\n"b\nc"d\n', 'line 4 has \'a\\n"b\\nc"d\\n\' where a " ends the value that began in line 3'),
        ('a\n"b"c\n', "line 3 has '"),
        ('a, "b"\n', 'line 2 has a blank before the "'),
    ],
)
def test_a_quote_in_a_wrong_place_is_refused_by_its_line(rows: str, says: str) -> None:
    with pytest.raises(ContentError, match=re.escape(says)):
        read(Csv(), b"name\n" + rows.encode())


def test_a_quote_within_a_value_without_quotes_is_a_sign_like_others() -> None:
    assert read(Csv(), b'name\n5" pipe,"a ""b"""\n') == b'\n5" pipe,"a ""b"""\n'
    assert read(Csv(quote=""), b'name\n"a"b\n') == b'\n"a"b\n'


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_bytes_that_are_no_text_are_refused_by_their_line(encoding: str) -> None:
    with pytest.raises(ContentError, match=f"line 3 is not text in {encoding}"):
        read(Csv(encoding=encoding), b"name\na\n\xff\n", checked=True)


def test_a_file_that_ends_within_its_footer_is_refused() -> None:
    with pytest.raises(ContentError, match="fewer than 2 lines below the line of names"):
        read(Csv(footer_rows=2), b"name", 1)


def test_after_the_end_nothing_is_read() -> None:
    text = CsvText(Csv(), io.BytesIO(b"name\na\n"), 1)
    text.end()

    assert text.read(10) == b""
