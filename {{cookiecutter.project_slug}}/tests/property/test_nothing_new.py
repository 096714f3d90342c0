"""A build that says "nothing new" is right: whatever happened before, a full build would make the rows that are there.

dbt itself is stood in for by the same rule in a few lines: a mart counts the rows of its raw table, and its test says
whether it does. The notes are the real ones, over real tables.
"""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lake import Lake
from tests.property.profiles import settings_of

from lakehouse import tested
from lakehouse.iceberg.refs import rollback
from lakehouse.settings import Settings
from lakehouse.tested import begin, note, nothing_new

RAW, MART = "raw.orders", "gold.fct_orders"
MODEL, TEST, SOURCE = "model.lakehouse.fct_orders", "test.lakehouse.counted.1", "source.lakehouse.raw.orders"
NODE = {"schema": "gold", "alias": "fct_orders", "checksum": {"checksum": ""}}
MANIFEST: dict[str, Any] = {
    "sources": {SOURCE: {"schema": "raw", "identifier": "orders"}},
    "macros": {},
    "nodes": {
        MODEL: {
            **NODE,
            "resource_type": "model",
            "config": {"materialized": "table"},
            "depends_on": {"nodes": [SOURCE], "macros": []},
        },
        TEST: {**NODE, "resource_type": "test", "config": {}, "depends_on": {"nodes": [MODEL, SOURCE], "macros": []}},
    },
}
EVENTS = (
    *("load", "load during a build", "roll raw back", "write gold", "roll gold back", "drop gold"),
    *("change the model", "change it back", "fail the test", "fail the model", "kill the build"),
    *("build", "build", "build the mart", "test"),
)


class World:
    """A raw table, a mart that counts its rows times the version of its model, and the notes about them."""

    def __init__(self, folder: Path) -> None:
        settings = Settings.model_validate({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": folder})
        self.lake = Lake(settings, folder / "scratch")
        self.numbers = count(1)
        self.version = 1
        for namespace in ("raw", "gold"):
            self.lake.catalog.create_namespace(namespace)
        rows = pa.table({"id": [0]})
        self.lake.catalog.create_table(RAW, rows.schema).append(rows)

    def right(self) -> list[int]:
        """The rows that a build in full would make."""
        return [len(self.lake.table(RAW).scan().to_arrow()) * self.version]

    def has_mart(self) -> bool:
        return self.lake.catalog.table_exists(MART)

    def held(self) -> list[Any]:
        """The rows that the mart has."""
        found: list[Any] = self.lake.table(MART).scan().to_arrow()["n"].to_pylist() if self.has_mart() else []
        return found

    def nothing_new(self) -> bool:
        return nothing_new(self.lake.settings, self.lake.catalog, select=None, data_tests=True) is not None

    def load(self) -> None:
        self.lake.table(RAW).append(pa.table({"id": [next(self.numbers)]}))

    def make_mart(self) -> None:
        rows = pa.table({"n": self.right()})
        if not self.has_mart():
            self.lake.catalog.create_table(MART, rows.schema)
        self.lake.table(MART).overwrite(rows)

    def run(self, ended: dict[str, str], *, load: bool = False) -> None:
        """A run of dbt in which these nodes ended so; `load` says that a load came in between."""
        begun = begin(self.lake.settings, self.lake.catalog)
        if ended.get(MODEL) == "success":
            self.make_mart()
        if load:
            self.load()
        results = [{"unique_id": name, "status": status} for name, status in ended.items()]
        note(self.lake.settings, self.lake.catalog, MANIFEST, results, begun)

    def roll_back(self, name: str) -> None:
        snapshots = self.lake.table(name).metadata.snapshots
        rollback(self.lake.catalog, name, snapshots[len(snapshots) // 2].snapshot_id)

    def happen(self, event: str) -> None:
        if event in ("write gold", "roll gold back", "drop gold", "test") and not self.has_mart():
            return
        match event:
            case "load":
                self.load()
            case "roll raw back":
                self.roll_back(RAW)
            case "roll gold back":
                self.roll_back(MART)
            case "write gold":
                self.lake.table(MART).append(pa.table({"n": [next(self.numbers)]}))
            case "drop gold":
                self.lake.catalog.drop_table(MART)
            case "change the model" | "change it back":
                self.version = 3 if event == "change the model" else 1
            case "kill the build":
                self.make_mart()
            case "test":
                self.run({TEST: "pass" if self.held() == self.right() else "fail"})
            case _:
                self.run(RUNS[event], load=event == "load during a build")


RUNS = {
    "build": {MODEL: "success", TEST: "pass"},
    "load during a build": {MODEL: "success", TEST: "pass"},
    "build the mart": {MODEL: "success"},
    "fail the test": {MODEL: "success", TEST: "fail"},
    "fail the model": {MODEL: "error", TEST: "skipped"},
}


@pytest.mark.filterwarnings("ignore:Delete operation did not match any records")
@settings_of(examples=3, long=(400, 0))
@given(st.lists(st.sampled_from(EVENTS), min_size=2, max_size=12))
def test_a_build_is_left_out_only_where_it_would_change_nothing(events: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        world = World(Path(folder))
        patched.setattr(tested, "fingerprint", lambda _: str(world.version))
        for event in events:
            world.happen(event)
            if world.nothing_new():
                assert world.held() == world.right(), event
                assert not event.startswith("fail")

        world.happen("build")

        assert world.nothing_new()
        assert world.held() == world.right()
