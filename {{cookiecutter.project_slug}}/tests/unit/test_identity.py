"""The boundaries of a lakehouse: a home that was copied, moved or restored in part is refused, and can be adopted."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from pyiceberg.schema import Schema
from pyiceberg.table.update import SetLocationUpdate
from pyiceberg.types import NestedField, StringType
from tests.lake import Lake

from lakehouse.cli.doctor import examine
from lakehouse.errors import BoundaryError, LakehouseError, QueryError
from lakehouse.history import adopt as adopting
from lakehouse.history.adopt import adopt
from lakehouse.history.history import history, loaded
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.catalog import SqliteCatalog, open_catalog
from lakehouse.iceberg.files import referenced
from lakehouse.iceberg.identity import FILE, ID, NAMESPACE, PLACE, beside_files, in_catalog
from lakehouse.iceberg.publication import write_manifest
from lakehouse.iceberg.refs import rollback, tag
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.settings import Settings
from lakehouse.transform import build

TABLE = "raw.green_trips"
NOW = timedelta(0)


def filled(lake: Lake) -> Lake:
    """Two months, one of them restated, and a tag on the first state."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 100))
    tag(lake.catalog, TABLE, "first")
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 200, seed=1))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 50))
    return lake


def at(lake: Lake, home: Path) -> Lake:
    """The same lakehouse's folder, as it lies elsewhere."""
    return Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=home), lake.scratch)


def copied(lake: Lake, name: str = "copy") -> Lake:
    home = lake.settings.home.with_name(name)
    shutil.copytree(lake.settings.home, home)
    return at(lake, home)


def moved(lake: Lake) -> Lake:
    return at(lake, lake.settings.home.rename(lake.settings.home.with_name("moved")))


def files(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


def answers(lake: Lake) -> list[object]:
    """What the lakehouse says: rows now and before, history, months."""
    count = f"select count(*) as n from {TABLE}"
    return [
        lake.rows(count),
        lake.rows(count, as_of="first"),
        [row.as_dict() for row in history(lake.engine, TABLE)],
        [row.as_dict() for row in loaded(lake.engine)],
    ]


EVERY_WAY_IN: dict[str, Callable[[Lake], object]] = {
    "load": lambda lake: lake.load("green", "2024-01", again=True),
    "sql": lambda lake: lake.rows(f"select count(*) from {TABLE}"),
    "history": lambda lake: history(lake.engine, TABLE),
    "tag": lambda lake: tag(lake.catalog, TABLE, "mine"),
    "rollback": lambda lake: rollback(lake.catalog, TABLE, "first"),
    "maintain": lambda lake: maintain(lake.settings, keep=NOW, unreferenced=NOW),
    "build": lambda lake: build(lake.settings),
}


@pytest.mark.parametrize("way", EVERY_WAY_IN)
def test_a_copied_home_is_refused_and_its_original_is_untouched(lake: Lake, way: str) -> None:
    copy = copied(filled(lake))
    lake.load("green", "2024-03", lake.generate("green", "2024-03", 70))
    before = files(lake.settings.home)

    with pytest.raises(BoundaryError, match=rf"is a copy of the lakehouse in {lake.settings.home}:.*lakehouse adopt"):
        EVERY_WAY_IN[way](copy)

    assert files(lake.settings.home) == before


@pytest.mark.parametrize("way", EVERY_WAY_IN)
def test_a_moved_home_is_refused_by_every_command(lake: Lake, way: str) -> None:
    home = moved(filled(lake))

    with pytest.raises(BoundaryError, match=rf"was moved there from {lake.settings.home}: .*adopt"):
        EVERY_WAY_IN[way](home)


@pytest.mark.parametrize("elsewhere", [copied, moved])
def test_an_adopted_home_answers_as_the_one_it_came_from(lake: Lake, elsewhere: Callable[[Lake], Lake]) -> None:
    before = answers(filled(lake))

    home = elsewhere(lake)
    done = adopt(home.settings)

    assert done.rewritten_files > 0
    assert answers(home) == before
    own = f"file://{home.settings.warehouse_dir}/"
    assert all(address.startswith(own) for address in referenced(home.table(TABLE)))
    home.load("green", "2024-03", home.generate("green", "2024-03", 30))
    maintain(home.settings, keep=NOW, unreferenced=NOW)
    assert home.rows(f"select count(*) as n from {TABLE}") == [{"n": 280}]
    assert home.rows(f"select count(*) as n from {TABLE}", as_of="first") == [{"n": 100}]


def test_a_copy_and_its_original_live_apart_after_adoption(lake: Lake) -> None:
    copy = copied(filled(lake))
    adopt(copy.settings)
    before = files(lake.settings.home)

    copy.load("green", "2024-01", copy.generate("green", "2024-01", 10, seed=9), allow_shrink=True)
    maintain(copy.settings, keep=NOW, unreferenced=NOW)

    assert files(lake.settings.home) == before
    assert json.loads((copy.settings.home / FILE).read_text())["id"] != json.loads(before[FILE])["id"]


def test_a_copy_by_hard_links_leaves_the_original_as_it_was(lake: Lake) -> None:
    filled(lake)
    home = lake.settings.home.with_name("linked")
    shutil.copytree(lake.settings.home, home, copy_function=os.link)
    (home / "catalog.db").unlink()
    shutil.copy2(lake.settings.catalog_file, home / "catalog.db")
    before = files(lake.settings.home)

    adopt(at(lake, home).settings)

    assert files(lake.settings.home) == before


def test_adopting_twice_changes_nothing_more(lake: Lake) -> None:
    copy = copied(filled(lake))
    first = adopt(copy.settings)
    before = files(copy.settings.home)

    second = adopt(copy.settings)

    assert (second.id, second.rewritten_files) == (first.id, 0)
    assert files(copy.settings.home) == before


@pytest.mark.parametrize("writes", range(8))
def test_an_adoption_that_is_cut_short_is_finished_by_the_next(
    lake: Lake, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(filled(lake))
    copy = copied(lake)
    replace, left = adopting._Rewriting._replace, [writes]

    def cut(self: object, *given: object) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(adopting._Rewriting, "_replace", cut)
    with pytest.raises(KeyboardInterrupt):
        adopt(copy.settings)
    monkeypatch.undo()
    with pytest.raises(BoundaryError, match="is a copy"):
        answers(copy)
    adopt(copy.settings)

    assert answers(copy) == before


def test_a_home_with_a_missing_file_is_not_adopted(lake: Lake) -> None:
    copy = copied(filled(lake))
    gone = next((copy.settings.warehouse_dir / "raw" / "green_trips" / "data").rglob("*.parquet"))
    gone.unlink()
    catalog = copy.settings.catalog_file.read_bytes()

    with pytest.raises(BoundaryError, match=rf"is incomplete: {gone} is missing.*Copy or restore the whole folder"):
        adopt(copy.settings)

    assert copy.settings.catalog_file.read_bytes() == catalog


@pytest.mark.parametrize("kind", ["*.metadata.json", "snap-*.avro", "*-m0.avro"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_a_home_that_was_copied_in_half_is_not_adopted(lake: Lake, kind: str, share: float) -> None:
    copy = copied(filled(lake))
    newest = max(copy.settings.warehouse_dir.glob(f"raw/green_trips/metadata/{kind}"))
    newest.write_bytes(newest.read_bytes()[: int(newest.stat().st_size * share)])

    with pytest.raises(BoundaryError, match=rf"{newest} is damaged or only half copied .*Copy or restore the whole"):
        adopt(copy.settings)


def test_a_catalog_that_is_gone_is_no_new_lakehouse(lake: Lake) -> None:
    filled(lake)
    lake.settings.catalog_file.unlink()

    for way in EVERY_WAY_IN.values():
        with pytest.raises(
            BoundaryError, match=r"is incomplete: .*names no table.*the newer `catalog.db`, put it back"
        ):
            way(lake)


def test_the_first_load_of_another_process_is_no_lost_catalog(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends after the catalog was asked for its tables, and before their folders are looked for."""
    asked: list[dict[str, str]] = []
    ask = SqliteCatalog.table_files

    def table_files(catalog: SqliteCatalog) -> dict[str, str]:
        asked.append(ask(catalog))
        if len(asked) == 1:
            filled(lake)
        return asked[0] if len(asked) == 1 else ask(catalog)

    monkeypatch.setattr(SqliteCatalog, "table_files", table_files)

    catalog = open_catalog(lake.settings)

    assert asked[0] == {}
    assert catalog.table_exists(TABLE)


def test_a_lakehouse_begins_again_from_what_is_landed(lake: Lake) -> None:
    filled(lake)
    shutil.rmtree(lake.settings.warehouse_dir)
    lake.settings.catalog_file.unlink()

    for month in ("2024-01", "2024-02"):
        lake.load("green", month)

    assert lake.rows(f"select count(*) as n from {TABLE}") == [{"n": 250}]


def test_a_publication_whose_tables_are_gone_keeps_no_other_query_out(lake: Lake) -> None:
    """As after a new beginning that left `published.json`: a build asks the engine before it makes the tables."""
    filled(lake)
    lake.catalog.create_table("gold.dim_zones", Schema(NestedField(1, "zone", StringType())))
    write_manifest(lake.settings, json.dumps({"snapshots": {"gold.dim_zones": 1, "gold.fct_gone": 2}}))

    assert lake.rows("select 1 as n") == [{"n": 1}]
    assert {"table_name": "dim_zones"} in lake.rows("select table_name from information_schema.tables")
    with pytest.raises(QueryError, match=r"gold\.dim_zones has no snapshot 1"):
        lake.rows("select * from published.dim_zones")
    with pytest.raises(QueryError, match=r"There is no table gold\.fct_gone"):
        lake.rows("select * from published.fct_gone")


def test_a_catalog_older_than_its_files_is_refused(lake: Lake) -> None:
    filled(lake)
    old = lake.settings.catalog_file.read_bytes()
    for seed in (5, 6):
        lake.load("green", "2024-02", lake.generate("green", "2024-02", 50, seed=seed))
    lake.settings.catalog_file.write_bytes(old)
    before = files(lake.settings.home)

    for way in (EVERY_WAY_IN["load"], EVERY_WAY_IN["maintain"], EVERY_WAY_IN["tag"]):
        with pytest.raises(
            BoundaryError, match=r"is older than the files of the table raw.green_trips.* `lakehouse restore FOLDER`: "
        ):
            way(lake)

    left = files(lake.settings.home)
    assert {path: left.get(path) for path in before} == before


def test_maintain_changes_no_table_if_one_is_refused(lake: Lake) -> None:
    """The refused table comes after one that has a snapshot to expire."""
    filled(lake)
    old = lake.settings.catalog_file.read_bytes()
    for seed in (5, 6):
        lake.load("yellow", "2024-01", lake.generate("yellow", "2024-01", 50, seed=seed))
    lake.settings.catalog_file.write_bytes(old)
    before = files(lake.settings.home)

    with pytest.raises(BoundaryError, match=r"table raw\.yellow_trips.*This table was not changed\."):
        maintain(lake.settings, keep=timedelta(0), unreferenced=timedelta(0))

    left = files(lake.settings.home)
    assert {path: left.get(path) for path in before} == before


def test_what_one_killed_commit_left_is_no_older_catalog(lake: Lake) -> None:
    filled(lake)
    table = lake.table(TABLE)
    folder = lake.settings.warehouse_dir / "raw" / "green_trips" / "metadata"
    number = int(Path(table.metadata_location).name[:5])
    left = folder / f"{number + 1:05}-{'0' * 8}-0000-0000-0000-{'0' * 12}.metadata.json"
    shutil.copy2(Path(table.metadata_location.removeprefix("file://")), left)

    assert lake.load("green", "2024-01", again=True).action == "loaded"


def test_another_lakehouse_s_catalog_in_this_home_is_refused(lake: Lake) -> None:
    filled(lake)
    with closing(sqlite3.connect(lake.settings.catalog_file)) as catalog, catalog:
        catalog.execute(
            "update iceberg_namespace_properties set property_value = 'another' where property_key = 'lakehouse.id'"
        )

    with pytest.raises(BoundaryError, match=r"are not of one lakehouse \(catalog: another, files: .*lakehouse adopt"):
        lake.load("green", "2024-01", again=True)
    adopt(lake.settings)

    assert lake.load("green", "2024-01", again=True).action == "loaded"


def test_a_table_outside_the_home_is_never_written_or_cleaned(lake: Lake, tmp_path: Path) -> None:
    filled(lake)
    outside = tmp_path / "elsewhere"
    with lake.table(TABLE).transaction() as transaction:
        transaction._apply((SetLocationUpdate(location=f"file://{outside}"),), ())
    outside.mkdir(exist_ok=True)
    (outside / "a-neighbour").write_bytes(b"")

    for way in (EVERY_WAY_IN["load"], EVERY_WAY_IN["maintain"], EVERY_WAY_IN["rollback"]):
        with pytest.raises(BoundaryError, match=rf"keeps its files in file://{outside}, which is outside"):
            way(lake)

    assert (outside / "a-neighbour").exists()


def test_a_table_that_lies_elsewhere_stops_only_what_reads_it(lake: Lake, tmp_path: Path) -> None:
    filled(lake)
    lake.catalog.create_namespace("features")
    schema = Schema(NestedField(1, "name", StringType(), required=False))
    with pytest.raises(BoundaryError, match="outside"):
        lake.catalog.create_table("features.other", schema, location=f"file://{tmp_path}/elsewhere")

    assert lake.engine.query("select 1 as one").num_rows == 1
    with pytest.raises(BoundaryError, match=r"features\.other keeps its files in .* Drop this table with the tool"):
        lake.engine.query("select * from features.other")


def test_a_lakehouse_of_an_older_version_gets_its_identity(lake: Lake) -> None:
    filled(lake)
    (lake.settings.home / FILE).unlink()
    with closing(sqlite3.connect(lake.settings.catalog_file)) as catalog, catalog:
        catalog.execute("delete from iceberg_namespace_properties where property_key like 'lakehouse.%'")

    lake.load("green", "2024-01", again=True)

    assert json.loads((lake.settings.home / FILE).read_text())["place"] == str(lake.settings.home)


@pytest.mark.parametrize(
    ("harm", "said", "fix"),
    [
        (lambda lake: lake, "tables, all here", ""),
        (copied, "is a copy of", "lakehouse adopt"),
        (moved, "was moved there from", "lakehouse adopt"),
        (lambda lake: lake.settings.catalog_file.unlink() or lake, "is incomplete", "lakehouse restore"),
    ],
    ids=["whole", "copied", "moved", "half restored"],
)
def test_doctor_tells_a_whole_home_from_others(
    lake: Lake, harm: Callable[[Lake], Lake], said: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = harm(filled(lake))

    (finding,) = [finding for finding in examine(home.settings) if finding.what == "lakehouse"]

    assert finding.state == ("missing" if fix else "ok")
    assert said in finding.found
    assert fix in finding.way_out


def test_adopting_an_empty_folder_says_that_nothing_is_there(lake: Lake) -> None:
    with pytest.raises(
        LakehouseError, match=r"There is no lakehouse in .*it has no catalog.db.* set LAKEHOUSE_TARGET to trino"
    ):
        adopt(lake.settings)


@pytest.mark.slow
def test_first_loads_at_once_agree_on_one_identity(lake: Lake) -> None:
    for i in range(10):
        one = at(lake, lake.settings.home.with_name(f"home{i}"))
        ensure_raw_tables(one.catalog)
        one.catalog.update_namespace_properties(NAMESPACE, removals={ID, PLACE})  # as before the first load
        (one.settings.home / FILE).unlink()
        catalogs = [at(lake, one.settings.home).catalog for _ in range(8)]
        with ThreadPoolExecutor(len(catalogs)) as pool:
            list(pool.map(ensure_raw_tables, catalogs * 3))
        assert in_catalog(one.catalog) == beside_files(one.settings, one.catalog) is not None
