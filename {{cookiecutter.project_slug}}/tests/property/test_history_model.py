"""Histories against a plain model: whatever is loaded, restated, refused, killed, raced for, tagged, rolled back or
expired, every version that still exists reads exactly as the model remembers it."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.lake import Lake
from tests.property.profiles import settings_of
from tests.property.steps import OURS, at_step, killed_load

from lakehouse.errors import LakehouseError, QueryError, RefusedError
from lakehouse.history.history import loaded
from lakehouse.iceberg.refs import rollback, tag
from lakehouse.loading.result import LoadResult
from lakehouse.settings import Settings

TABLE = "raw.green_trips"
MONTHS = ("2024-01", "2024-02", "2024-03")

Rows = tuple[tuple[int, datetime, float], ...]
State = dict[str, Rows]

month = st.sampled_from(MONTHS)
seeds = st.integers(0, 3)
sizes = st.integers(1, 9)


@cache
def base_rows(folder: Path, name: str) -> pa.Table:
    """Nine plausible trips of a month."""
    lake = Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=folder), folder)
    return pq.read_table(lake.generate("green", name, 9, dirt=False, strays=False))


def months_file(lake: Lake, name: str, seed: int, size: int) -> tuple[Path, Rows]:
    """A tiny month, different for each seed and size, and its rows as the model keeps them."""
    chance = random.Random(f"{name} {seed} {size}")  # noqa: S311 - data
    table = base_rows(lake.scratch.parent, name).slice(0, size)
    amounts = [round(chance.uniform(3, 90), 2) for _ in range(size)]
    at = table.column_names.index("total_amount")
    table = table.set_column(at, "total_amount", pa.array(amounts))
    pickups: list[Any] = table["lpep_pickup_datetime"].to_pylist()
    return lake.write("green", name, table), tuple(zip(range(size), pickups, amounts, strict=True))


class Histories(RuleBasedStateMachine):
    """`now` is what a plain query must read; `then` what each snapshot must.

    `log` is when each snapshot became current, expired ones too; `ahead` is how wrong this machine's clock is.
    """

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        self.lake = self.empty_lake()
        self.now: State = {}
        self.landed: State = {}
        self.then: dict[int, State] = {}
        self.tags: dict[str, int] = {}
        self.log: list[tuple[int, int]] = []
        self.expired = False
        self.ahead = 0
        self.clock = time.time

    def empty_lake(self) -> Lake:
        """Where this history happens; the suites on real services say otherwise."""
        return Lake(Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=self.folder / "home"), self.folder / "files")

    def teardown(self) -> None:
        time.time = self.clock
        shutil.rmtree(self.folder)

    @initialize(target=versions, name=month, seed=seeds, size=sizes)
    def begin(self, name: str, seed: int, size: int) -> Any:
        return self.load(name, seed, size)

    @rule(target=versions, name=month, seed=seeds, size=sizes)
    def load(self, name: str, seed: int, size: int) -> Any:
        """A first load, a restatement, or the same bytes again: the model tells which."""
        file, rows = months_file(self.lake, name, seed, size)
        self.lake.land("green", name, file)
        self.landed[name] = rows
        shrinks = 2 * len(rows) < len(self.now.get(name, ()))
        if shrinks:
            try:
                self.lake.load("green", name)
            except RefusedError as error:
                assert "--allow-shrink" in str(error)  # noqa: PT017 - in a rule, not a test
            else:
                raise AssertionError("a month that shrank by more than half was taken")
        return self._loaded(name, rows, allow_shrink=shrinks)

    def _loaded(self, name: str, rows: Rows, **options: Any) -> Any:
        result = self.lake.load("green", name, **options)
        if self.now.get(name) == rows and not options.get("again"):
            assert (result.action, result.snapshot_id) == ("unchanged", None)
            return multiple()
        assert (result.action, result.rows) == ("loaded", len(rows))
        assert result.snapshot_id is not None
        assert result.snapshot_id not in self.then
        self._happened(result.snapshot_id, name, rows)
        return result.snapshot_id

    @rule(target=versions, name=month)
    def load_again(self, name: str) -> Any:
        if name not in self.landed:
            return multiple()
        return self._loaded(name, self.landed[name], again=True, allow_shrink=True)

    @rule(target=versions, name=month, seed=seeds, size=sizes, step=st.integers(1, 340))
    def kill_a_load(self, name: str, seed: int, size: int, step: int) -> Any:
        """SIGKILL at any step: the old state or the new one, whole; whatever comes next puts it right."""
        file, rows = months_file(self.lake, name, seed, size)
        self.lake.land("green", name, file)
        self.landed[name] = rows
        held = self.now.get(name) == rows
        killed = killed_load(self.lake.settings, "green", name, step)
        made = self._unknown_snapshots()
        assert len(made) <= (not held)
        assert made or killed or held
        if not made:
            return multiple()
        self._happened(made[0], name, rows)
        return made[0]

    @rule(
        target=versions,
        name=month,
        seed=seeds,
        size=sizes,
        rival=st.one_of(st.none(), month),
        rival_seed=seeds,
        rival_size=sizes,
        step=st.integers(1, 125),
    )
    def two_writers(
        self, *, name: str, seed: int, size: int, rival: str | None, rival_seed: int, rival_size: int, step: int
    ) -> Any:
        """A load stands still at some step, while another lands and loads the same month or another one, whole."""
        rival = rival or name
        file, rows = months_file(self.lake, name, seed, size)
        wanted = {self.lake.land("green", name, file).sha256: (name, rows)}
        rival_file, rival_rows = months_file(self.lake, rival, rival_seed, rival_size)
        seen = [self.now.get(name)]
        rivals: list[LoadResult] = []

        def meanwhile() -> None:
            wanted[self.lake.land("green", rival, rival_file).sha256] = (rival, rival_rows)
            rivals.append(self.lake.load("green", rival, allow_shrink=True))

        with at_step(step, meanwhile, within=OURS):
            first = self.lake.load("green", name, allow_shrink=True)
        if not rivals:
            meanwhile()
        self.landed |= {name: rows, rival: rival_rows}
        made = [row for row in self.lake.history(TABLE) if row.snapshot_id not in self.then]
        # A load that finds another version landed once it has committed goes on to that one, and tells of that alone.
        assert {r.snapshot_id for r in (first, *rivals) if r.snapshot_id} <= {row.snapshot_id for row in made}
        for row in made:
            self._happened(row.snapshot_id, *wanted[str(row.source_sha256)])
            seen.append(self.now.get(name))
        if first.action == "unchanged":
            assert wanted[first.source_sha256][1] in seen
        assert self.now[rival] == rival_rows  # landed last, so no slower load takes its place
        return multiple(*(row.snapshot_id for row in made))

    def _unknown_snapshots(self) -> list[int]:
        """What the history has and the model does not, oldest first."""
        return [row.snapshot_id for row in self.lake.history(TABLE) if row.snapshot_id not in self.then]

    def _happened(self, snapshot_id: int, name: str, rows: Rows) -> None:
        self.now = {**self.now, name: rows}
        self.then[snapshot_id] = self.now

    @rule(name=month, seed=seeds)
    def refuse(self, name: str, seed: int) -> None:
        """A file without a required column changes nothing, whatever was there."""
        file, _ = months_file(self.lake, name, seed, 9)
        kept = self.landed.get(name)
        self.lake.land("green", name, self.lake.write("green", name, pq.read_table(file).drop_columns(["fare_amount"])))
        try:
            self.lake.load("green", name)
        except RefusedError as error:
            assert "fare_amount" in str(error)  # noqa: PT017 - in a rule, not a test
        else:
            raise AssertionError("a file without fares was taken")
        finally:
            if kept is None:
                self.landed.pop(name, None)
            else:
                self._land_rows(name, kept)

    def _land_rows(self, name: str, rows: Rows) -> None:
        for seed in range(4):
            file, made = months_file(self.lake, name, seed, len(rows))
            if made == rows:
                self.lake.land("green", name, file)
                return
        raise AssertionError("unknown rows")

    @rule(version=versions)
    def read_an_old_version(self, version: int) -> None:
        if version in self.then:
            assert self._read(f"{TABLE}@{version}") == self.then[version]

    @rule(version=versions)
    def roll_back(self, version: int) -> None:
        if version in self.then:
            assert rollback(self.lake.catalog, TABLE, str(version)) == version
            self.now = self.then[version]

    @rule(version=versions, name=st.sampled_from(["first", "second"]))
    def name_a_version(self, version: int, name: str) -> None:
        if version not in self.then:
            return
        try:
            tag(self.lake.catalog, TABLE, name, version)
        except LakehouseError as error:
            assert self.tags[name] != version, error  # noqa: PT017 - a tag never moves
        else:
            assert self.tags.setdefault(name, version) == version

    @rule(version=consumes(versions))
    def expire(self, version: int) -> None:
        """Expiry takes a snapshot unless it is current or named; nothing else changes."""
        table = self.lake.table(TABLE)
        current = table.metadata.current_snapshot_id
        if version not in self.then or version == current or version in self.tags.values():
            return
        table.maintenance.expire_snapshots().by_id(version).commit()
        del self.then[version]
        self.expired = True

    @rule(seconds=st.sampled_from([0, 0, 7200, -7200]))
    def the_clock_jumps(self, seconds: int) -> None:
        """Commits are stamped by a wrong clock, until it is set again. The services have clocks of their own."""
        self.ahead = min(seconds, 0) if self.lake.settings.target == "trino" else seconds
        time.time = lambda: self.clock() + self.ahead

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def read_at_a_time(self, data: st.DataObject) -> None:
        """At, just before, just after and between commits: what was current then, or an error that is true."""
        times = sorted({at for at, _ in self.log})
        between = [(a + b) // 2 for a, b in pairwise(times)]
        near = [at + off for at in times for off in (-1, 0, 1)]
        at = data.draw(st.sampled_from(sorted({*near, *between, times[-1] + 10**9})))
        past = sum(1 for stamp, _ in self.log if stamp <= at)
        ordered = all(stamp <= at for stamp, _ in self.log[:past])
        try:
            found = self._read(datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds"))
        except QueryError as error:
            said = str(error)
            assert (
                ("has expired" in said and self.expired)
                or ("clocks of the machines that wrote it disagree" in said and not ordered)
                or ("Its history begins at" in said and not past)
            ), said
            return
        if ordered:
            assert past
            assert found == self.then[self.log[past - 1][1]]

    @precondition(lambda self: self.tags)
    @rule(data=st.data())
    def read_a_tag(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.tags)))
        assert self._read(name) == self.then[self.tags[name]]

    @invariant()
    def a_plain_query_reads_the_model(self) -> None:
        if self.then:
            assert self._read(None) == {name: rows for name, rows in self.now.items() if rows}

    @invariant()
    def the_log_only_grows(self) -> None:
        """Expiry takes entries out of it; none is ever put in before another."""
        if self.then:
            known = set(self.log)
            log = [(entry.timestamp_ms, entry.snapshot_id) for entry in self.lake.table(TABLE).history()]
            self.log += [entry for entry in log if entry not in known]
            left = [entry for entry in self.log if entry in set(log)]
            assert log == left

    @invariant()
    def history_lists_what_exists(self) -> None:
        if self.then:
            assert {row.snapshot_id for row in self.lake.history(TABLE)} == set(self.then)
            held = {row.part: row.rows for row in loaded(self.lake.engine)}
            assert held == {name: len(rows) for name, rows in self.now.items() if rows}

    def _read(self, as_of: str | None) -> State:
        rows = self.lake.rows(
            "select cast(file_month as varchar) as m, file_row, pickup_datetime, total_amount "
            f"from {TABLE} order by file_month, file_row",
            as_of,
        )
        state: dict[str, list[tuple[int, datetime, float]]] = {}
        for row in rows:
            state.setdefault(row["m"][:7], []).append((row["file_row"], row["pickup_datetime"], row["total_amount"]))
        return {name: tuple(found) for name, found in state.items()}


def test_every_version_reads_as_it_was() -> None:
    run_state_machine_as_test(Histories, settings=settings_of(examples=8, steps=12, long=(150, 40)))


def test_a_rival_at_any_step_of_a_load_keeps_its_month() -> None:
    history = Histories()
    try:
        history.begin(name="2024-01", seed=0, size=5)
        for n, step in enumerate(range(3, 126, 8)):
            # in turn a version that is new, and the one that the table holds
            history.two_writers(
                name="2024-01", seed=0, size=6, rival=None, rival_seed=1 + n // 2 % 2, rival_size=7, step=step
            )
            history.a_plain_query_reads_the_model()
    finally:
        history.teardown()
