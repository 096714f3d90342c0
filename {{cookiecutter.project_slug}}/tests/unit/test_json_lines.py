"""JSON lines: what is declared is read exactly, and what is not as declared is refused by its line."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.lake import Lake
from tests.unit.test_csv import zipped

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import JsonLines
from lakehouse.datasets.model import BEGINNING, Column, Dataset, Name
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError, SourceError
from lakehouse.formats import json_lines
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult

EVENTS = DatasetFile("events")
LATE = datetime.fromisoformat("2024-01-31T23:59")
ROWS = [
    {
        "id": 2**53 + 1,
        "placed": LATE,
        "price": 0.1,
        "note": "caf\xe9",
        "city": "Rome",
    },
    {"id": 2, "placed": None, "price": -25.0, "note": "1.0", "city": None},
    {"id": 3, "placed": None, "price": None, "note": "true", "city": None},
]
LINES = (
    '{"id": 9007199254740993, "placed": "2024-01-31 23:59:00", "price": 0.1, "note": "caf\xe9", '
    '"customer": {"name": "Bob", "address": {"city": "Rome"}}, "tags": [{"a": 1}]}\n'
    "\n"
    '{"note": 1.0, "price": -2.5e1, "id": "2", "customer": null}\r\n'
    '{"id": 3, "note": true, "price": null, "customer": {}}\n'
)


@pytest.fixture(autouse=True)
def _events(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, JsonLines())


def declare(monkeypatch: pytest.MonkeyPatch, declared: JsonLines) -> None:
    """Declare a dataset of events."""
    columns = (
        Column("id", "long", required_since=BEGINNING),
        Column("placed", "timestamp"),
        Column("price", "double"),
        Column("note", "string"),
        Column("city", "string", (Name("customer.address.city"),)),
    )
    events = Dataset(
        name="events",
        title="Events",
        table="raw.events",
        files="events.jsonl",
        parts=Whole(),
        format=declared,
        key=("id",),
        columns=columns,
    )
    monkeypatch.setitem(DATASETS, "events", events)


def loaded(lake: Lake, content: bytes, tmp_path: Path) -> LoadResult:
    """Load a file that has landed."""
    (tmp_path / "events.jsonl").write_bytes(content)
    lake.landing.put(EVENTS, tmp_path / "events.jsonl", "test")
    return load(lake.catalog, lake.landing, EVENTS)


def rows(lake: Lake) -> list[dict[str, Any]]:
    """What the table holds, in the order of the file."""
    found = lake.rows("select id, placed, price, note, city from raw.events")
    return sorted(found, key=lambda row: -row["id"] if row["id"] > 3 else row["id"])


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        (JsonLines(), LINES.encode()),
        (JsonLines(), LINES.encode("utf-8-sig").rstrip(b"\n")),
        (JsonLines(encoding="utf-16"), LINES.encode("utf-16")),
        (JsonLines(encoding="latin-1"), LINES.encode("latin-1")),
        (JsonLines(compression="gzip"), gzip.compress(LINES.encode())),
        (JsonLines(compression="zstd"), pa.compress(LINES.encode(), codec="zstd", asbytes=True)),
        (JsonLines(compression="zip"), zipped(LINES)),
        (JsonLines(times="%d.%m.%Y %H:%M"), LINES.replace("2024-01-31 23:59:00", "31.01.2024 23:59").encode()),
    ],
    ids=["plain", "a mark", "utf-16", "latin-1", "gzip", "zstd", "zip", "times"],
)
def test_each_way_to_write_it_gives_the_same_rows(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: JsonLines, content: bytes
) -> None:
    declare(monkeypatch, declared)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "events.jsonl").write_bytes(content)

    land(lake.landing, str(tmp_path / "source"), EVENTS)
    result = load(lake.catalog, lake.landing, EVENTS)

    assert (result.action, result.rows, result.unknown_columns) == ("loaded", 3, ("tags", "customer.name"))
    assert rows(lake) == ROWS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 4.5}', r"'id' has '4.5' in line 5; expected a whole number"),
        ('{"id": 9223372036854775808}', r"'id' has '9223372036854775808' in line 5"),
        ('{"id": 4, "price": 1e400}', r"'price' has '1e400' in line 5; expected a number from"),
        ('{"id": 4, "price": true}', r"'price' has 'true' in line 5"),
        ('{"id": 4, "placed": "2024-02-30 10:00:00"}', r"'placed' has '2024-02-30 10:00:00' in line 5"),
        ('{"id": 4, "placed": "2024-02-03T10:00:00Z"}', r"'placed' has '2024-02-03T10:00:00Z' in line 5"),
        ('{"id": 4, "price": NaN}', r"line 5 has NaN in 'price'; expected a number or null"),
        ('{"id": 4, "customer": {"vat": -Infinity}}', r"line 5 has -Infinity in 'vat'; expected a number or null"),
        ('{"id": 4, "id": 4}', r"line 5 has the name 'id' twice"),
        ('{"id": 4, "customer": {"a": 1, "a": 2}}', r"line 5 has the name 'a' twice"),
        ('{"id": 4, "a.b": 1, "a": {"b": 1}}', r"line 5 has 'a.b' twice: as a name, and as a member of an object"),
        (
            '{"id": 4, "note": ["x"]}',
            r"'note' has a list in line 5; expected a single value.* correct the column's type",
        ),
        ('{"id": 4, "note": {"x": 1}}', r"'note' has an object in line 5; expected a single value"),
        ('{"id": 4, "note": "\\ud800"}', r"'note' has in line 5 the text '\\ud800', which is no Unicode text"),
        ('{"id": 4, "\\ud800": 1}', r"line 5 has the name '\\ud800', which is no Unicode text"),
        ('[{"id": 4}]', r"line 5 has a list, .* expected an object"),
        ("null", r"line 5 has a value, 'null'; expected an object"),
        ('{"id": 4} {"id": 5}', r"line 5 is not one whole JSON object: Extra data at character 11"),
        ('{"id": 4, "note": "cut', r"line 5 is not one whole JSON object: Unterminated string .* character 19"),
        ('{"id": 04}', r"line 5 is not one whole JSON object"),
        ('{"note": "x"}', r"'id' has no value in line 5, and it belongs to the table's key"),
        ("[" * 100_000, r"line 5 has objects or lists within each other, too deep"),
        (f'{{"id": {"1" * 5000}}}', r"'id' has '1111"),
    ],
)
def test_a_line_that_is_not_as_declared_is_refused(lake: Lake, tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(RefusedError, match=rf"^events\.jsonl: .*{message}"):
        loaded(lake, f"{LINES}{line}\n".encode(), tmp_path)

    assert lake.history("raw.events") == []


def test_bytes_of_another_encoding_are_refused_by_line(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"^events\.jsonl: line 2 is not text in utf-8"):
        loaded(lake, b'{"id": 1}\n{"id": 2, "note": "caf\xe9"}\n', tmp_path)


def test_a_line_that_does_not_end_is_not_read_into_memory(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "LONGEST_LINE", 1_000)

    with pytest.raises(RefusedError, match=r"line 2 is longer than 1,000 bytes; expected an object a line"):
        loaded(lake, b'{"id": 1}\n' + b" " * 2_000, tmp_path)


def test_names_without_end_are_refused(lake: Lake, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"id": n, f"name of {n}": 1}) + "\n" for n in range(10_001))

    with pytest.raises(RefusedError, match=r"more than 10,000 different names up to line 10000"):
        loaded(lake, lines.encode(), tmp_path)


def test_a_name_that_stands_only_for_objects_is_no_column_of_values(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = DATASETS["events"]
    columns = (*events.columns, Column("customer", "string"))
    monkeypatch.setitem(DATASETS, "events", Dataset(**{**vars(events), "columns": columns}))

    with pytest.raises(RefusedError, match=r"'customer' has an object in line 1; expected a single value"):
        loaded(lake, LINES.encode(), tmp_path)


def test_a_name_that_no_line_has_is_an_absent_column(lake: Lake, tmp_path: Path) -> None:
    loaded(lake, b'{"id": 1}\n{"id": 2, "a.b": 5}\n', tmp_path)

    assert [list(row.values()) for row in rows(lake)] == [[1, None, None, None, None], [2, None, None, None, None]]
    with pytest.raises(RefusedError, match=r"events.jsonl: the column 'id' is missing"):
        loaded(lake, b'{"note": "x"}\n', tmp_path)


def test_a_column_that_first_stands_in_the_last_line_is_loaded(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "BATCH_LINES", 2)
    lines = (
        "\n\n".join(json.dumps({"id": n}) for n in range(4, 9)) + '\n{"id": 9, "Price": "7"}\n\n{"id": 10, "note": []}'
    )

    with pytest.raises(RefusedError, match=r"'note' has a list in line 12; expected a single value"):
        loaded(lake, lines.encode(), tmp_path)
    loaded(lake, lines.replace("[]", "null").encode(), tmp_path)

    assert [row["price"] for row in sorted(rows(lake), key=lambda row: row["id"])] == [None] * 5 + [7.0, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n", r"none of the columns id, .* Its names are: none; it begins with b'\\n'"),
        (b"{\n", r"line 1 is not one whole JSON object: .* at character 2, ''; expected each object on one line"),
        (b"<html><body>Not found</body></html>", "line 1 is not one whole JSON object: Expecting value at character 1"),
        (b'[{"id": 1}]', "line 1 has a list, .* expected an object"),
        (b'{"other": 1}\n', "none of the columns id, .* Its names are: 'other'; it begins with b'{"),
    ],
    ids=["nothing", "several lines", "a page", "a list", "other names"],
)
def test_what_is_no_such_file_does_not_land(lake: Lake, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "events.jsonl").write_bytes(content)

    with pytest.raises(SourceError, match=rf"events\.jsonl.* {message}.* in the declaration of events\."):
        land(lake.landing, str(tmp_path), EVENTS)


def test_an_empty_file_is_named_so(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()

    with pytest.raises(SourceError, match=r"events\.jsonl is empty: it has 0 bytes\. Nothing of events was landed\."):
        land(lake.landing, str(tmp_path), EVENTS)

    assert lake.landing.find(EVENTS) is None
