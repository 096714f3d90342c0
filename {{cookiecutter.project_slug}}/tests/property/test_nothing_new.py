"""A build that says "nothing new" is right, and one that leaves out what is not stale makes what a full one makes.

dbt itself is stood in for by the same rules in a few lines: two marts count the rows of their raw tables, a third adds
up both, and the test of each says whether it does. The notes are the real ones, over real tables.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.lake import Lake
from tests.property.profiles import settings_of

from lakehouse import tested
from lakehouse.iceberg.refs import rollback
from lakehouse.settings import Settings
from lakehouse.tested import begin, note, nothing_new

# Each mart, and the tables that it reads.
READS = {"orders": ("raw.orders",), "items": ("raw.items",), "both": ("gold.orders", "gold.items")}
MODELS = {name: f"model.lakehouse.{name}" for name in READS}
TESTS = {name: f"test.lakehouse.{name}_counted.1" for name in READS}
ALL = frozenset((*MODELS.values(), *TESTS.values()))


def _node(mart: str, kind: str, parents: list[str]) -> dict[str, Any]:
    return {
        "schema": "gold",
        "alias": mart,
        "checksum": {"checksum": ""},
        "resource_type": kind,
        "config": {"materialized": "table"} if kind == "model" else {},
        "depends_on": {"nodes": parents, "macros": []},
    }


def _manifest() -> dict[str, Any]:
    nodes = {}
    for mart, tables in READS.items():
        parents = [
            MODELS[name] if schema == "gold" else f"source.lakehouse.raw.{name}"
            for schema, name in (table.split(".") for table in tables)
        ]
        nodes[MODELS[mart]] = _node(mart, "model", parents)
        nodes[TESTS[mart]] = _node(mart, "test", [MODELS[mart], *parents])
    sources = {f"source.lakehouse.raw.{name}": {"schema": "raw", "identifier": name} for name in ("orders", "items")}
    return {"sources": sources, "macros": {}, "nodes": nodes}


MANIFEST = _manifest()
EVENTS = (
    *("load", "load during a build", "roll raw back", "write gold", "roll gold back", "drop gold"),
    *("change the models", "change them back", "fail a test", "fail a model", "kill the build"),
    *("build", "build", "build a mart", "test"),
)


class World:
    """Two raw tables, three marts of them, and the notes about all. A count is times the version of the models."""

    def __init__(self, folder: Path) -> None:
        settings = Settings.model_validate({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": folder})
        self.lake = Lake(settings, folder / "scratch")
        self.numbers = count(1)
        self.version = 1
        for namespace in ("raw", "gold"):
            self.lake.catalog.create_namespace(namespace)
        rows = pa.table({"n": [0]})
        for table in (*READS["orders"], *READS["items"]):
            self.lake.catalog.create_table(table, rows.schema).append(rows)

    def made_of(self, mart: str) -> list[int] | None:
        """What a mart would be made of what it reads now; None if a table is missing."""
        found = [self.rows(table) for table in READS[mart]]
        if None in found:
            return None
        if mart == "both":
            return [sum(sum(rows) for rows in found if rows)]
        return [len(found[0] or ()) * self.version]

    def is_right(self) -> bool:
        """Whether each mart has the rows that a build in full would make."""
        orders, items = ([len(self.rows(f"raw.{name}") or ()) * self.version] for name in ("orders", "items"))
        return [self.rows(f"gold.{mart}") for mart in READS] == [orders, items, [orders[0] + items[0]]]

    def rows(self, table: str) -> list[Any] | None:
        """The rows of a table; None where there is none."""
        if not self.lake.catalog.table_exists(table):
            return None
        return self.lake.table(table).scan().to_arrow()["n"].to_pylist()

    def nothing_new(self) -> bool:
        return nothing_new(self.lake.settings, self.lake.catalog, select=None, data_tests=True) is not None

    def write(self, table: str) -> None:
        self.lake.table(table).append(pa.table({"n": [next(self.numbers)]}))

    def make(self, mart: str) -> bool:
        """Replace the rows of a mart, as a run of its model does."""
        made = self.made_of(mart)
        if made is None:
            return False
        rows = pa.table({"n": made})
        if self.rows(f"gold.{mart}") is None:
            self.lake.catalog.create_table(f"gold.{mart}", rows.schema)
        self.lake.table(f"gold.{mart}").overwrite(rows)
        return True

    def run(self, asked: Collection[str] | None, *, fail: str = "", load: str = "") -> None:
        """A run of dbt: of what is asked for, or of what a build asks for. The table `load` gets rows meanwhile."""
        begun = begin(self.lake.settings, self.lake.catalog)
        if asked is None:
            asked = begun.stale if begun.stale is not None else ALL
        ended: dict[str, str] = {}
        for mart, tables in READS.items():
            parents = {MODELS[table.split(".")[1]] for table in tables if table.startswith("gold.")}
            if any(ended.get(parent, "success") != "success" for parent in parents):
                ended |= dict.fromkeys({MODELS[mart], TESTS[mart]} & set(asked), "skipped")
                continue
            if MODELS[mart] in asked:
                ended[MODELS[mart]] = "success" if MODELS[mart] != fail and self.make(mart) else "error"
            if load:
                self.write(load)
            if TESTS[mart] in asked:
                passes = TESTS[mart] != fail and self.rows(f"gold.{mart}") == self.made_of(mart) is not None
                broken = ended.get(MODELS[mart]) == "error"
                ended[TESTS[mart]] = "skipped" if broken else "pass" if passes else "fail"
        results = [{"unique_id": name, "status": status} for name, status in ended.items()]
        note(self.lake.settings, self.lake.catalog, MANIFEST, results, begun)

    def roll_back(self, name: str) -> None:
        snapshots = self.lake.table(name).metadata.snapshots
        rollback(self.lake.catalog, name, snapshots[len(snapshots) // 2].snapshot_id)

    def happen(self, event: str, mart: str) -> None:
        gold, raw = f"gold.{mart}", "raw.orders" if mart == "orders" else "raw.items"
        if event in ("write gold", "roll gold back", "drop gold") and self.rows(gold) is None:
            return
        events: dict[str, Callable[[], object]] = {
            "load": lambda: self.write(raw),
            "roll raw back": lambda: self.roll_back(raw),
            "roll gold back": lambda: self.roll_back(gold),
            "write gold": lambda: self.write(gold),
            "drop gold": lambda: self.lake.catalog.drop_table(gold),
            "change the models": lambda: setattr(self, "version", 3),
            "change them back": lambda: setattr(self, "version", 1),
            "kill the build": lambda: self.make(mart),
            "test": lambda: self.run({TESTS[mart]}),
            "build a mart": lambda: self.run({MODELS[mart]}),
            "fail a test": lambda: self.run(ALL, fail=TESTS[mart]),
            "fail a model": lambda: self.run(ALL, fail=MODELS[mart]),
            "load during a build": lambda: self.run(None, load=raw),
            "build": lambda: self.run(None),
        }
        events[event]()


@pytest.mark.filterwarnings("ignore:Delete operation did not match any records")
@settings_of(examples=3, long=(400, 0))
@example([("build", "both"), ("load", "orders"), ("build", "both")])
@example([("build", "both"), ("write gold", "items"), ("build", "both")])
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(tuple(READS))), min_size=2, max_size=12))
def test_a_build_leaves_out_only_what_it_would_not_change(events: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        world = World(Path(folder))
        patched.setattr(tested, "fingerprint", lambda _: str(world.version))
        for event, mart in events:
            world.happen(event, mart)
            if world.nothing_new():
                assert world.is_right(), event
                assert not event.startswith("fail")
            if event == "build":
                assert world.nothing_new()

        world.happen("build", "both")

        assert world.nothing_new()
        assert world.is_right()
