"""A table's own tree, and what changed between two versions, by example."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from tests.lake import Lake
from tests.marts import MARTS

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import QueryError
from lakehouse.history.diff import PartDiff, diff
from lakehouse.history.model_keys import keys_of_models
from lakehouse.history.tree import tree
from lakehouse.loading.load import load

TABLE = "raw.green_trips"


def _shown(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(renderable)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_the_tree_ends_in_the_files_that_hold_the_rows(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 300))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 200))

    found = tree(lake.catalog, TABLE)

    files = [file for manifest in found.manifests for file in manifest.files]
    assert (found.rows, found.files, found.snapshots) == (500, 2, 2)
    assert {f.partition["file_month"]: f.rows for f in files} == {"2024-01-01": 300, "2024-02-01": 200}
    assert {f.bounds["file_row"] for f in files} == {("0", "299"), ("0", "199")}
    assert all(f.bounds["source_sha256"][0] == f.bounds["source_sha256"][1] for f in files)
    assert {m.added_by for m in found.manifests} == {s.snapshot_id for s in lake.history(TABLE)}
    assert json.loads(json.dumps(found.as_dict()))["rows"] == 500
    assert "300 rows" in _shown(found.renderable())


def test_the_tree_of_an_older_version_holds_what_it_held_then(lake: Lake) -> None:
    first = lake.load("green", "2024-01", lake.generate("green", "2024-01", 300))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 200))

    found = tree(lake.catalog, TABLE, str(first.snapshot_id))

    assert (found.rows, found.files) == (300, 1)
    assert found.snapshot_id == first.snapshot_id


def test_the_tree_of_a_table_without_a_snapshot_says_that_it_is_empty(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 300))

    found = tree(lake.catalog, "raw.yellow_trips")

    assert (found.snapshot_id, found.rows, found.manifests) == (None, 0, ())
    assert "no snapshot yet" in _shown(found.renderable())


def test_a_table_or_version_that_does_not_exist_is_named(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))

    with pytest.raises(QueryError, match=r"raw\.red_trips"):
        tree(lake.catalog, "raw.red_trips")
    with pytest.raises(QueryError, match="77"):
        tree(lake.catalog, TABLE, "77")


def test_a_diff_counts_rows_by_key_in_each_month(lake: Lake) -> None:
    file = lake.generate("green", "2024-01", 300)
    published = pq.read_table(file)
    first = lake.load("green", "2024-01", file)
    fares = pc.if_else(pa.array([i == 7 for i in range(280)]), 99.5, published["fare_amount"].slice(0, 280))
    restated = published.slice(0, 280).set_column(
        published.column_names.index("fare_amount"), "fare_amount", fares.cast("double")
    )
    second = lake.load("green", "2024-01", lake.write("green", "2024-01", restated))
    third = lake.load("green", "2024-02", lake.generate("green", "2024-02", 200))

    found = diff(lake.engine, lake.catalog, TABLE, str(first.snapshot_id), str(third.snapshot_id))

    assert found.months == (
        PartDiff("2024-01-01", added=0, removed=20, changed=1, same=279),
        PartDiff("2024-02-01", added=200, removed=0, changed=0, same=0),
    )
    assert [row["file_row"] for row in found.removed_rows] == [280, 281, 282, 283, 284]
    assert found.changed_rows[0]["file_row"] == 7
    assert found.changed_rows[0]["fare_amount"][1] == 99.5
    assert diff(lake.engine, lake.catalog, TABLE, str(second.snapshot_id), "main").months == found.months[1:]
    assert "99.5" in _shown(found.renderable())
    assert json.loads(json.dumps(found.as_dict()))["months"][1]["added"] == 200


def test_two_versions_with_the_same_files_do_not_differ(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))

    found = diff(lake.engine, lake.catalog, TABLE, "main", "main")

    assert found.months == ()
    assert "nothing differs" in _shown(found.renderable())


def test_zones_are_compared_by_their_location_id(lake: Lake) -> None:
    versions = []
    for name in ("Old name", "New name"):
        lake.scratch.mkdir(parents=True, exist_ok=True)
        file = lake.scratch / "taxi_zone_lookup.csv"
        lines = [f'{i},"B","{name if i == 264 else "Zone"}","S"' for i in range(1, 266)]
        file.write_text("\r\n".join(["LocationID,Borough,Zone,service_zone", *lines, ""]), encoding="utf-8", newline="")
        lake.landing.put(DatasetFile("zones"), file, "test")
        versions.append(str(load(lake.catalog, lake.landing, DatasetFile("zones")).snapshot_id))

    found = diff(lake.engine, lake.catalog, "raw.taxi_zones", *versions)

    assert found.months == (PartDiff(None, added=0, removed=0, changed=1, same=264),)
    assert found.changed_rows == ({"location_id": 264, "zone": ["Old name", "New name"]},)


def test_rows_of_a_whole_file_without_a_key_are_compared_by_their_place(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    towns = Dataset("towns", "Towns", "raw.towns", "towns.csv", Whole(), (Column("town", "string"),), format=Csv())
    monkeypatch.setitem(DATASETS, "towns", towns)
    lake.scratch.mkdir(parents=True)
    versions = []
    for text in ("town\nRome\nOslo\n", "town\nRome\nBergen\nLima\n"):
        (lake.scratch / "towns.csv").write_text(text, "utf-8")
        lake.landing.put(DatasetFile("towns"), lake.scratch / "towns.csv", "test")
        versions.append(str(load(lake.catalog, lake.landing, DatasetFile("towns")).snapshot_id))

    found = diff(lake.engine, lake.catalog, "raw.towns", *versions)

    assert (found.key, found.months) == (("file_row",), (PartDiff(None, added=1, removed=0, changed=1, same=1),))
    assert found.added_rows == ({"file_row": 2, "town": "Lima"},)


def test_columns_may_be_words_of_sql_and_lists(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (Column("order", "long"), Column("at", "string"), Column("group", "list(string)"))
    things = Dataset("things", "Things", "raw.things", "things.parquet", Whole(), columns, key=("order",))
    monkeypatch.setitem(DATASETS, "things", things)
    lake.scratch.mkdir(parents=True, exist_ok=True)
    file = lake.scratch / "things.parquet"
    for rows in ([(1, "a", ["x"]), (2, "b", [])], [(1, "a", ["x", None]), (3, "c", ["y", "z"])]):
        pq.write_table(pa.table(dict(zip(("order", "at", "group"), zip(*rows, strict=True), strict=True))), file)
        lake.landing.put(DatasetFile("things"), file, "test")
        load(lake.catalog, lake.landing, DatasetFile("things"))
    first, second = (str(row.snapshot_id) for row in lake.history("raw.things"))

    found = diff(lake.engine, lake.catalog, "raw.things", first, second)

    assert found.months == (PartDiff(None, added=1, removed=1, changed=1, same=0),)
    assert found.changed_rows == ({"order": 1, "group": [["x"], ["x", None]]},)
    assert found.added_rows == ({"order": 3, "at": "c", "group": ["y", "z"]},)
    assert "group: ['x'] → ['x', None]" in _shown(found.renderable())
    assert "order=3, at=c, group=['y', 'z']" in _shown(found.renderable())


def test_the_key_of_each_table_of_dbt_is_known_from_its_yml_file() -> None:
    keys = keys_of_models()

    assert keys["gold.fct_daily_trips"] == ("service_type", "pickup_date")
    assert keys["silver.stg_taxi_zones"] == ("location_id",)
    assert {f"gold.{mart}" for mart in MARTS} <= keys.keys()


def test_keys_are_found_in_each_form_that_dbt_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marts = tmp_path / "dbt" / "models" / "marts"
    marts.mkdir(parents=True)
    (marts / "fct_any.yml").write_text(
        """
models:
  - name: fct_old
    data_tests:
      - unique_together: {columns: [a, b]}
  - name: fct_some_rows
    columns:
      - name: a
        data_tests: [{unique: {config: {where: "a > 1"}}}]
  - name: fct_nothing
    columns:
    data_tests:
""",
        encoding="utf-8",
    )
    (marts / "fct_empty.yml").write_text("models:\n", encoding="utf-8")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path))

    assert keys_of_models() == {"gold.fct_old": ("a", "b")}

    (marts / "fct_empty.yml").write_text("models: [", encoding="utf-8")
    with pytest.raises(QueryError, match=r"fct_empty\.yml is no yml file: .*Correct it"):
        keys_of_models()
