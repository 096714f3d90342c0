"""Bad rows against a plain model: whatever files come, killed or raced for, each row of the loaded file is in the raw
table with its value, or in the rejected table with its text."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from datetime import date
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.lake import Lake
from tests.property.profiles import settings_of
from tests.property.steps import ALL, OURS, at_step

from lakehouse.datasets.days import Day
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import BEGINNING, Column, Dataset
from lakehouse.datasets.parts import Daily
from lakehouse.datasets.registry import DATASETS
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing import open_landing
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.settings import Settings

TABLE, REJECTED = "raw.orders", "raw.orders_rejected"
DAYS = (Day(2024, 1, 5), Day(2024, 1, 6))
FORM = "%d.%m.%Y"

Row = tuple[str, str]  # number and day, as the file has them

rows_of_a_file = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "2", "-3", "x", "9223372036854775808", "1.5", "1,1"]),
        st.sampled_from(["", "2024-01-31", "31.01.2024", "2024-02-31", "31.02.2024"]),
    ),
    min_size=1,
    max_size=60,
)
days = st.sampled_from(DAYS)


def declare(*, by_points: bool) -> None:
    """The dataset of these histories. Its declaration says one of two forms of days."""
    DATASETS["orders"] = Dataset(
        name="orders",
        title="Orders",
        table=TABLE,
        files="orders_{day}.csv",
        parts=Daily(since=DAYS[0]),
        format=Csv(dates=FORM if by_points else ""),
        columns=(Column("number", "long", required_since=BEGINNING), Column("placed", "date")),
        on_bad_rows="set aside",
        bad_share=1,
    )


def read(row: Row, *, by_points: bool) -> tuple[int, date | None] | None:
    """The row as the raw table must have it; None if it is bad."""
    number, day = row
    if number not in ("1", "2", "-3") or day not in ("", "31.01.2024" if by_points else "2024-01-31"):
        return None
    return int(number), date(2024, 1, 31) if day else None


def as_text(row: Row) -> str:
    """A bad row as the rejected table must have it: its values by column, or the line where there are too many."""
    return ",".join(row) if "," in row[0] else json.dumps({"number": row[0], "placed": row[1]})


class Histories(RuleBasedStateMachine):
    """`files` are the rows of each file by its hash, `forms` what the declaration said in each run."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bad-rows-"))
        self.lake = Lake(
            Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=self.folder / "home"), self.folder / "files"
        )
        self.files: dict[str, list[Row]] = {}
        self.forms: dict[str, bool] = {}
        self.runs = count()
        self.by_points = False
        declare(by_points=False)

    def teardown(self) -> None:
        DATASETS.pop("orders", None)
        shutil.rmtree(self.folder)

    def _land(self, day: Day, rows: list[Row]) -> None:
        self.folder.joinpath("files").mkdir(exist_ok=True)
        file = DatasetFile("orders", day)
        path = self.folder / "files" / file.name
        path.write_text("\n".join(["number,placed", *map(",".join, rows)]) + "\n", "utf-8")
        self.files[self.lake.landing.put(file, path, "test").sha256] = rows

    def _run(self) -> str:
        run = f"run {next(self.runs)}"
        self.forms[run] = self.by_points
        return run

    def _load(self, day: Day, *, again: bool = False) -> LoadResult:
        return load_orders(self.lake.settings, day, self._run(), again=again)

    @rule(day=days, rows=rows_of_a_file)
    def load(self, day: Day, rows: list[Row]) -> None:
        self._land(day, rows)
        result = self._load(day)
        assert result.rows + result.set_aside == len(rows)
        self._is_settled(day)

    @rule(day=days)
    def load_what_is_landed(self, day: Day) -> None:
        if self.lake.landing.find(DatasetFile("orders", day)):
            self._load(day)
            self._is_settled(day)

    @rule(day=days)
    def mend_the_declaration(self, day: Day) -> None:
        """The declaration says the other form of days, and the landed file is loaded again."""
        self.by_points = not self.by_points
        declare(by_points=self.by_points)
        if self.lake.landing.find(DatasetFile("orders", day)):
            assert self._load(day, again=True).action == "loaded"
            self._is_settled(day)

    @rule(day=days, rows=rows_of_a_file, step=st.integers(1, 420), again=st.booleans())
    def kill_a_load(self, day: Day, rows: list[Row], step: int, again: bool) -> None:
        """SIGKILL at any step."""
        if not again:
            self._land(day, rows)
        elif not self.lake.landing.find(DatasetFile("orders", day)):
            return
        processes = get_context("forkserver")
        processes.set_forkserver_preload([__name__])
        process = processes.Process(
            target=_load_and_die,
            args=(self.lake.settings, day, self._run(), step),
            kwargs={"by_points": self.by_points, "again": again},
        )
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)

    @rule(day=days, rows=rows_of_a_file, rival=rows_of_a_file, step=st.integers(1, 180))
    def two_writers(self, day: Day, rows: list[Row], rival: list[Row], step: int) -> None:
        """A load stands still at some step, while another file of the same day lands and is loaded, whole."""
        self._land(day, rows)

        def meanwhile() -> None:
            self._land(day, rival)
            self._load(day)

        with at_step(step, meanwhile, within=OURS):
            self._load(day)
        self._load(day)
        self._is_settled(day)

    @invariant()
    def no_row_is_lost(self) -> None:
        if TABLE not in self.lake.engine.tables():
            return
        loads = {row.file_date: row for row in self.lake.history(TABLE)}
        for day in DAYS:
            held = self._rows(f"select file_row, number, placed from {TABLE}", day)
            if (newest := loads.get(str(day))) is None:
                assert held == []
                continue
            rows, by_points = self.files[newest.source_sha256 or ""], self.forms[newest.run_id or ""]
            found = dict(enumerate(read(row, by_points=by_points) for row in rows))
            good = {n: row for n, row in found.items() if row is not None}
            assert {row["file_row"]: (row["number"], row["placed"]) for row in held} == good
            assert len(held) == len(good)
            bad = {n: as_text(rows[n]) for n, row in found.items() if row is None}
            aside = [row for row in self._rejected(day) if row["run_id"] == newest.run_id]
            assert {row["file_row"]: row["row_values"] for row in aside} == bad
            assert len(aside) == len(bad) == newest.set_aside

    def _is_settled(self, day: Day) -> None:
        """The rejected table has no rows of another load."""
        newest = [row for row in self.lake.history(TABLE) if row.file_date == str(day)][-1]
        assert {row["run_id"] for row in self._rejected(day)} <= {newest.run_id}

    def _rejected(self, day: Day) -> list[dict[str, Any]]:
        return self._rows(f"select file_row, run_id, row_values from {REJECTED}", day)

    def _rows(self, sql: str, day: Day) -> list[dict[str, Any]]:
        return self.lake.rows(f"{sql} where file_date = date '{day}'")


def load_orders(settings: Settings, day: Day, run: str, *, again: bool) -> LoadResult:
    """Load what is landed of a day, whatever it is."""
    return load(
        open_catalog(settings),
        open_landing(settings),
        DatasetFile("orders", day),
        again=again,
        allow_shrink=True,
        allow_strays=True,
        run_id=run,
    )


def _load_and_die(settings: Settings, day: Day, run: str, step: int, *, by_points: bool, again: bool) -> None:
    declare(by_points=by_points)
    with at_step(step, lambda: os.kill(os.getpid(), signal.SIGKILL), within=ALL, threads=True):
        load_orders(settings, day, run, again=again)


def test_no_row_is_lost_whatever_happens() -> None:
    run_state_machine_as_test(Histories, settings=settings_of(examples=6, steps=8, long=(2000, 12)))
