"""Merges by key against a plain model, a dict: whatever files come, in whatever order, killed or raced for, the table
holds what the model says, each version still reads as it was, and data files without a change are not rewritten."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from tests.lake import Lake
from tests.property.profiles import settings_of
from tests.property.steps import ALL, OURS, at_step

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Whole
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.merge import Merged
from lakehouse.iceberg.refs import rollback
from lakehouse.landing import open_landing
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.settings import Settings

TABLE = "raw.stock"
STOCK = DatasetFile("stock")

Key = tuple[str, int]
Row = tuple[int | None, str | None, int | None]  # version, note, amount
State = dict[Key, Row]

keys = st.tuples(st.sampled_from(["a", "b", "ä"]), st.integers(1, 3))
values = st.tuples(
    st.one_of(st.none(), st.integers(1, 2)), st.sampled_from([None, "", "x"]), st.one_of(st.none(), st.integers(0, 1))
)
files = st.lists(st.tuples(keys, values), min_size=1, max_size=12)


def declare(*, complete: bool) -> None:
    """The dataset of these histories: two columns are its key, and of two rows of a file the greater version counts."""
    DATASETS["stock"] = Dataset(
        name="stock",
        title="Stock",
        table=TABLE,
        files="stock.parquet",
        parts=Whole(complete=complete),
        key=("shop", "item"),
        order="version",
        columns=(
            Column("note", "string"),
            Column("shop", "string", required_since=BEGINNING),
            Column("version", "long"),
            Column("item", "long", required_since=BEGINNING),
            Column("amount", "long"),
        ),
    )


def newest(rows: list[tuple[Key, Row]]) -> State | None:
    """The row of each key that counts; None if that is undecided."""
    by_key: dict[Key, list[Row]] = {}
    for key, row in rows:
        by_key.setdefault(key, []).append(row)
    found = {}
    for key, several in by_key.items():
        greatest = max((row[0] is not None, row[0] or 0) for row in several)
        best = [row for row in several if (row[0] is not None, row[0] or 0) == greatest]
        if len(best) > 1:
            return None
        found[key] = best[0]
    return found


class Merges(RuleBasedStateMachine):
    """`now` is what a plain query must read; `then` what each snapshot must. `last` is the file that `now` came by."""

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="merges-"))
        self.lake = self.empty_lake()
        self.now: State = {}
        self.then: dict[int, tuple[State, str]] = {}
        self.last = ""
        self.complete = True

    def empty_lake(self) -> Lake:
        """Where this history happens; the suites on real services say otherwise."""
        return Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=self.folder / "home"), self.folder / "files")

    def teardown(self) -> None:
        DATASETS.pop("stock", None)
        shutil.rmtree(self.folder)

    @initialize(complete=st.booleans())
    def begin(self, complete: bool) -> None:
        self.complete = complete
        declare(complete=complete)

    def _land(self, rows: list[tuple[Key, Row]]) -> str:
        self.folder.joinpath("files").mkdir(exist_ok=True)
        path = self.folder / "files" / "stock.parquet"
        columns = {
            "shop": pa.array([key[0] for key, _ in rows], pa.string()),
            "item": pa.array([key[1] for key, _ in rows], pa.int64()),
            "version": pa.array([row[0] for _, row in rows], pa.int64()),
            "note": pa.array([row[1] for _, row in rows], pa.string()),
            "amount": pa.array([row[2] for _, row in rows], pa.int64()),
        }
        pq.write_table(pa.table(columns), path)
        return self.lake.landing.put(STOCK, path, "test").sha256

    def _load(self, **options: Any) -> LoadResult:
        return load(self.lake.catalog, self.lake.landing, STOCK, allow_shrink=True, **options)

    def _wanted(self, state: State, before: State) -> State:
        return dict(state) if self.complete else {**before, **state}

    @rule(target=versions, rows=files)
    def load(self, rows: list[tuple[Key, Row]]) -> Any:
        """New rows, changed rows, the same rows, the same bytes: the model tells which."""
        sha256, state = self._land(rows), newest(rows)
        if state is None and sha256 != self.last:
            with pytest.raises(RefusedError, match="and the same greatest 'version'"):
                self._load()
            return multiple()
        before, kept = self.now, self._files_with_their_rows()
        result = self._load()
        if sha256 == self.last:
            assert (result.action, result.snapshot_id, result.merged) == ("unchanged", None, None)
            return multiple()
        assert state is not None
        assert result.snapshot_id is not None
        self._happened(result.snapshot_id, sha256, state)
        assert result.merged == self._merged(before, state, len(rows))
        lasting = {path for path, held in kept.items() if all(self.now.get(key) == row for key, row in held.items())}
        assert lasting <= set(self._files_with_their_rows())
        return result.snapshot_id

    def _merged(self, before: State, state: State, rows: int) -> Merged:
        both = before.keys() & state.keys()
        unchanged = sum(before[key] == state[key] for key in both)
        return Merged(
            inserted=len(state.keys() - before.keys()),
            updated=len(both) - unchanged,
            unchanged=unchanged,
            removed=len(before.keys() - state.keys()) if self.complete else 0,
            outdated=rows - len(state),
        )

    @rule(target=versions, rows=files)
    def load_again(self, rows: list[tuple[Key, Row]]) -> Any:
        state = newest(rows)
        if state is None:
            return multiple()
        sha256, before = self._land(rows), self.now
        result = self._load(again=True)
        assert result.snapshot_id is not None
        self._happened(result.snapshot_id, sha256, state)
        assert result.merged == self._merged(before, state, len(rows))
        return result.snapshot_id

    @rule(target=versions, rows=files, step=st.integers(1, 340))
    def kill_a_load(self, rows: list[tuple[Key, Row]], step: int) -> Any:
        """SIGKILL at any step: the old state or the new one, whole."""
        state = newest(rows)
        if state is None:
            return multiple()
        sha256 = self._land(rows)
        processes = get_context("forkserver")
        processes.set_forkserver_preload([__name__])
        process = processes.Process(target=_load_and_die, args=(self.lake.settings, self.complete, step))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        made = self._unknown_snapshots()
        assert len(made) <= (sha256 != self.last)
        assert made or process.exitcode or sha256 == self.last
        if not made:
            return multiple()
        self._happened(made[0], sha256, state)
        return made[0]

    @rule(target=versions, rows=files, rival=files, step=st.integers(1, 150))
    def two_writers(self, rows: list[tuple[Key, Row]], rival: list[tuple[Key, Row]], step: int) -> Any:
        """A load stands still at some step, while another file lands and is merged, whole."""
        state, rival_state = newest(rows), newest(rival)
        if state is None or rival_state is None:
            return multiple()
        wanted = {self._land(rows): state}
        rivals: list[LoadResult] = []

        def meanwhile() -> None:
            wanted[self._land(rival)] = rival_state
            rivals.append(self._load())

        with at_step(step, meanwhile, within=OURS):
            self._load()
        if not rivals:
            meanwhile()
        made = self._unknown_snapshots()
        by = {row.snapshot_id: str(row.source_sha256) for row in self.lake.history(TABLE)}
        for snapshot_id in made:
            self._happened(snapshot_id, by[snapshot_id], wanted[by[snapshot_id]])
        if self.complete:
            assert self.now == rival_state  # landed last, so no slower load takes its place
        return multiple(*made)

    @rule(version=versions)
    def roll_back(self, version: int) -> None:
        assert rollback(self.lake.catalog, TABLE, str(version)) == version
        self.now, self.last = self.then[version]

    @rule(version=versions)
    def read_an_old_version(self, version: int) -> None:
        assert self._read(f"{TABLE}@{version}") == self.then[version][0]

    @invariant()
    def a_plain_query_reads_the_model(self) -> None:
        if self.then:
            assert self._read(None) == self.now

    @invariant()
    def each_change_is_one_snapshot(self) -> None:
        if self.then:
            assert self._unknown_snapshots() == []

    def _happened(self, snapshot_id: int, sha256: str, state: State) -> None:
        assert snapshot_id not in self.then
        self.now, self.last = self._wanted(state, self.now), sha256
        self.then[snapshot_id] = (self.now, sha256)

    def _unknown_snapshots(self) -> list[int]:
        known = TABLE in self.lake.engine.tables()
        return (
            [row.snapshot_id for row in self.lake.history(TABLE) if row.snapshot_id not in self.then] if known else []
        )

    def _read(self, as_of: str | None) -> State:
        rows = self.lake.rows(f"select shop, item, version, note, amount from {TABLE}", as_of)
        state = {(r["shop"], r["item"]): (r["version"], r["note"], r["amount"]) for r in rows}
        assert len(state) == len(rows)
        return state

    def _files_with_their_rows(self) -> dict[str, State]:
        """The table's data files, each with its rows."""
        if not self.then:
            return {}
        table = self.lake.table(TABLE)
        found = {}
        for task in table.scan().plan_files():
            source: Any = table.io.new_input(task.file.file_path)
            with source.open() as stream:
                rows = pq.read_table(stream).to_pylist()
            found[task.file.file_path] = {(r["shop"], r["item"]): (r["version"], r["note"], r["amount"]) for r in rows}
        return found


def _load_and_die(settings: Settings, complete: bool, step: int) -> None:
    declare(complete=complete)
    with at_step(step, lambda: os.kill(os.getpid(), signal.SIGKILL), within=ALL, threads=True):
        load(open_catalog(settings), open_landing(settings), STOCK, allow_shrink=True)


def test_merges_hold_what_the_model_says() -> None:
    run_state_machine_as_test(Merges, settings=settings_of(examples=10, steps=10, long=(2000, 12)))
