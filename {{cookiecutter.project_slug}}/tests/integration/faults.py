"""What a fault test starts from, how it bounds what follows, and the table that the suite prints at its end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import pytest
from tests.integration.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import LakehouseError
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing.bucket import BucketLanding
from lakehouse.loading.load import load
from lakehouse.loading.result import LoadResult
from lakehouse.settings import Settings

LIMIT = 60.0
# One in the suite; a longer run of its own sets more.
TRIES = int(os.environ.get("LAKEHOUSE_FAULT_TRIES", "1"))
PROPERTY = "fault"
State = dict[str, tuple[int, str]]
# pytest's `record_property`.
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Outcome:
    """One try of one fault; `kept` says whether its test passed, which looks at every row."""

    fault: str
    outcome: str
    seconds: float
    kept: bool = True


class Restatement:
    """A table of two months, and a newer version of the first landed: what a load under fault is about to replace."""

    def __init__(self, lake: Lake, record: Record, rows: int = 1000) -> None:
        self.lake = lake
        self._record = record
        lake.load("green", "2023-02", 500)
        lake.load("green", "2023-01", rows)
        self.old = self.state()
        self.rows = rows + 100
        lake.land("green", "2023-01", self.rows, seed=1)

    def state(self) -> State:
        """Rows and provenance of each month, as Trino reads them."""
        found = self.lake.sql(
            "select cast(file_month as varchar), count(*), array_join(array_agg(distinct source_sha256), ',') "
            "from raw.green_trips group by 1"
        )
        return {month: (rows, sources) for month, rows, sources in found}

    def load(self, **changes: object) -> LoadResult:
        """Load the newer version, through services as `changes` name them."""
        settings: Settings = self.lake.stack.settings(self.lake.folder / "home", **changes)
        return load(open_catalog(settings), BucketLanding(settings), DatasetFile("green", Month(2023, 1)))

    def refused(self, fault: str, attempt: Callable[[], object]) -> LakehouseError:
        """`attempt` ends in one clear error, soon; returns that."""
        return refused(self._record, fault, attempt)

    def survived(self, fault: str, attempt: Callable[[], object]) -> None:
        """`attempt` does what it was to do, soon enough."""
        with tried(self._record, fault):
            attempt()

    def told(self, fault: str, outcome: str, seconds: float) -> None:
        """Note one try for the table, and hold it to the limit."""
        told(self._record, fault, outcome, seconds)

    def is_as_it_was(self) -> None:
        """Nothing of the newer version is to be seen."""
        assert self.state() == self.old

    def is_whole(self) -> None:
        """Each month is there once, and the first one is either version."""
        state = self.state()
        assert state["2023-02-01"] == self.old["2023-02-01"]
        assert state["2023-01-01"][0] in (self.old["2023-01-01"][0], self.rows)
        assert "," not in state["2023-01-01"][1]

    def ends_well(self) -> None:
        """The same load again, with nothing in its way, leaves the newer version, once."""
        self.load()
        state = self.state()
        assert set(state) == set(self.old)
        assert state["2023-01-01"][0] == self.rows
        assert "," not in state["2023-01-01"][1]
        assert state["2023-02-01"] == self.old["2023-02-01"]
        assert self.load().action == "unchanged"


def refused(record: Record, fault: str, attempt: Callable[[], object]) -> LakehouseError:
    """`attempt` ends in one clear error, soon; returns that."""
    with pytest.raises(LakehouseError) as caught, tried(record, fault):
        attempt()
    return caught.value


@contextmanager
def tried(record: Record, fault: str) -> Iterator[None]:
    """One try: whatever becomes of it is noted for the table, and held to the limit."""
    start, outcome = time.monotonic(), "done"
    try:
        yield
    except Exception as error:
        outcome = f"refused: {type(error).__name__}"
        raise
    finally:
        told(record, fault, outcome, time.monotonic() - start)


def told(record: Record, fault: str, outcome: str, seconds: float) -> None:
    """Note one try for the table, and hold it to the limit."""
    record(PROPERTY, json.dumps(asdict(Outcome(fault, outcome, seconds))))
    assert seconds < LIMIT, f"{fault}: {seconds:.1f} s"


def table(outcomes: list[Outcome]) -> list[str]:
    """Lines: fault, tries, outcomes, what was lost, longest wait."""
    lines = [f"{'fault':<52} {'tries':>5}  {'lost':<12} {'longest':>9}  outcome"]
    for fault in dict.fromkeys(o.fault for o in outcomes):
        tries = [o for o in outcomes if o.fault == fault]
        ends = ", ".join(sorted({o.outcome for o in tries}))
        failed = sum(not o.kept for o in tries)
        lost = f"{failed} failed" if failed else "nothing"
        lines.append(f"{fault:<52} {len(tries):>5}  {lost:<12} {max(o.seconds for o in tries):>7.1f} s  {ends}")
    return lines
