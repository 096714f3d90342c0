"""Files that are wrong as a whole, made from a good month: exact, refused, or warned of, as docs/data.md says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import compute
from tests.brought import read, values
from tests.dbt.conftest import Build
from tests.dbt.raw import put_zones
from tests.lake import Lake

from lakehouse.errors import RefusedError
from lakehouse.settings import project_dir

pc: Any = compute

ROWS = 400
MONTH, NEXT, LAST = "2024-01", "2024-02", "2024-03"
HOUR, YEAR = 3600, 365 * 24 * 3600
TIMES = ("lpep_pickup_datetime", "lpep_dropoff_datetime")
# What refusals say, and the words of the page for it.
REFUSALS = {
    "refused: of another month": "is more than a day outside 2024-01 in",
    "refused: same bytes": "has the same bytes as the file",
    "refused: fewer than half of the rows": "fewer than 50% of the",
}


@dataclass(frozen=True)
class Whole:
    """How the file is made from good ones (of the month and the two after it), and what was loaded before."""

    make: Callable[[pa.Table, pa.Table, pa.Table], pa.Table]
    before: str | None = None


def later(table: pa.Table, seconds: int) -> pa.Table:
    """All times moved."""
    for name in TIMES:
        moved = pc.add(table[name], pa.scalar(seconds, pa.duration("s")).cast(pa.duration("us")))
        table = table.set_column(table.column_names.index(name), name, moved)
    return table


def shuffled(table: pa.Table) -> pa.Table:
    """The rows in another order."""
    return table.take(np.random.default_rng(1).permutation(len(table)))


FILES = {
    "its rows in another order": Whole(lambda own, *_: shuffled(own)),
    "only its first half, where nothing was loaded before": Whole(lambda own, *_: own.slice(0, ROWS // 2)),
    "only its first third, where the whole month was loaded before": Whole(
        lambda own, *_: own.slice(0, ROWS // 3), before=MONTH
    ),
    "all times some hours later": Whole(lambda own, *_: later(own, 5 * HOUR)),
    "all times a year later": Whole(lambda own, *_: later(own, YEAR)),
    "the rows of another month": Whole(lambda _own, after, _last: after),
    "the bytes of a month that is loaded": Whole(lambda _own, after, _last: after, before=NEXT),
    "its own rows and as many of the next month": Whole(lambda own, after, _last: pa.concat_tables([own, after])),
    "its own rows and more of the next two months": Whole(lambda *all_: pa.concat_tables(all_)),
    "every row twice": Whole(lambda own, *_: pa.concat_tables([own, own])),
    "its first half twice": Whole(lambda own, *_: pa.concat_tables([own.slice(0, ROWS // 2)] * 2)),
}


def told() -> dict[str, str]:
    """The table of the page: what the file has, and what it is."""
    page = (project_dir() / "docs" / "data.md").read_text(encoding="utf-8")
    section = page.partition("## Files that are wrong as a whole")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)[1:])


def good(lake: Lake, month: str) -> Path:
    return lake.generate("green", month, ROWS, dirt=False, strays=False)


def test_the_page_names_every_file_that_is_tried() -> None:
    assert set(told()) - {"---"} == set(FILES)


@pytest.mark.slow
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_wrong_as_a_whole_is_what_the_page_says(lake: Lake, run_build: Build, what: str) -> None:
    case, said = FILES[what], told()[what]
    own, after, last = (pq.read_table(good(lake, month)) for month in (MONTH, NEXT, LAST))
    if case.before:
        lake.load("green", case.before, good(lake, case.before))
    made = case.make(own, after, last)
    same = "same bytes" in said
    file = good(lake, NEXT) if same else lake.write("green", MONTH, made.replace_schema_metadata(None))
    lake.land("green", MONTH, file)

    if said.startswith("refused"):
        with pytest.raises(RefusedError) as refused:
            # the bytes of another month are its times too
            lake.load("green", MONTH)
        assert REFUSALS[said] in str(refused.value)
        held = {
            row["file_month"].strftime("%Y-%m") for row in lake.rows("select distinct file_month from raw.green_trips")
        }
        assert held == ({case.before} if case.before else set())
        return

    put_zones(lake.catalog)
    assert said.startswith("loaded exactly")
    assert lake.load("green", MONTH).action == "loaded"
    assert read(lake, "green", MONTH) == values("green", MONTH, made)
    warnings = run_build(lake, data_tests=True).warnings
    wanted = re.findall(r"`(few_\w+)`", said)
    named = [
        name for name in ("few_rows_of_other_months", "few_repeated_rows") if any(w.startswith(name) for w in warnings)
    ]
    assert named == wanted, warnings
    assert all("More than 1 % of a month's rows" in w for w in warnings if w.startswith("few_"))
