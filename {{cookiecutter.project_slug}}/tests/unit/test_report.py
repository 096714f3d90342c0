"""The report: its figures are those of the tables, its page fetches nothing, generated months are marked."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from tests.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.iceberg.refs import rollback
from lakehouse.report import make_report
from lakehouse.report.charts import daily, growth, nice_steps, reasons_of, rejected, short
from lakehouse.report.collect import COUNTED, OPERATIONS, Day, Quality, TableHistory
from lakehouse.report.markdown import as_markdown
from lakehouse.report.page import last_load
from lakehouse.report.picture import growth_png

VOID = {"meta", "br", "link", "img", "input"}


class Page(HTMLParser):
    """Whether every element is closed, and the words of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - HTMLParser's
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def two_months(lake: Lake) -> Lake:
    """Two generated months and a restatement of the first."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 300))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 200))
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 310, seed=1))
    return lake


def test_figures_are_those_of_the_tables(two_months: Lake) -> None:
    report = make_report(two_months.settings).json

    green = next(t for t in report["tables"] if t["table"] == "raw.green_trips")
    assert [(m["month"], m["rows"]) for m in report["months"]] == [("2024-01", 310), ("2024-02", 200)]
    assert [s["total_rows"] for s in green["snapshots"]] == [300, 500, 510]
    assert report["travel"]["before"] == f"raw.green_trips@{green['snapshots'][1]['snapshot_id']}"
    assert report["travel"]["load"] == "green 2024-01"
    assert report["travel"]["trips_before"] <= 500
    assert {t["table"]: t["rows"] for t in report["trees"]} == {"raw.green_trips": 510}
    json.dumps(report)


def test_the_comparison_can_be_asked_again_as_the_report_says(two_months: Lake) -> None:
    travel = make_report(two_months.settings).json["travel"]

    before = two_months.rows(travel["sql"], as_of=travel["before"])

    assert sum(row["trips"] for row in before) == travel["trips_before"]


def test_the_page_is_whole_and_fetches_nothing(two_months: Lake, tmp_path: Path) -> None:
    path, dashboard = make_report(two_months.settings).write(tmp_path / "reports")

    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert "<script" not in html
    assert not re.findall(r"""(?:src|href)\s*=|url\(|@import|https?://""", html)
    assert "510" in " ".join(page.words)
    assert (
        {p.name for p in path.parent.iterdir()} == {"snapshots.html", "dashboard.html"} == {path.name, dashboard.name}
    )
    assert "snapshots.html" in dashboard.read_text(encoding="utf-8")


def test_what_looks_odd_in_the_figures_is_explained_beside_them(two_months: Lake) -> None:
    """Fewer trips than rows, and an overwrite that deletes nothing."""
    report = make_report(two_months.settings)

    rows = sum(month["rows"] for month in report.json["months"])
    assert report.json["travel"]["trips_after"] < rows
    for form in (report.html, report.markdown):
        assert COUNTED in form
        assert OPERATIONS in form


def test_generated_months_are_marked_in_every_form(two_months: Lake) -> None:
    report = make_report(two_months.settings)

    assert "synthetic" in report.markdown
    assert "Generated data" in report.html
    assert report.json["synthetic"]
    assert all(month["synthetic"] for month in report.json["months"])


def test_an_empty_lakehouse_has_a_report_that_says_how_to_begin(lake: Lake) -> None:
    report = make_report(lake.settings)

    assert "lakehouse load" in report.markdown
    assert "lakehouse load" in report.html
    assert report.json["months"] == []
    Page(report.html)


def test_names_from_files_are_text_in_the_page(lake: Lake) -> None:
    file = lake.generate("green", "2024-01", 20)
    lake.land("green", "2024-01", file, origin="/data/<script>alert(1)</script>.parquet")
    lake.load("green", "2024-01")

    assert "<script" not in make_report(lake.settings).html


def test_the_plot_for_dagster_is_a_png(two_months: Lake) -> None:
    assert growth_png(make_report(two_months.settings).facts).startswith(b"\x89PNG")


def test_lines_are_cut_where_months_are_missing() -> None:
    days = [Day("green", date(2024, month, day), 0, 10) for month in (1, 3) for day in (1, 2, 3)]

    assert len([line for line in daily(days, "green").lines if line.version == "after"]) == 2


def test_reasons_keep_one_order_in_all_plots() -> None:
    rows = [
        Quality("green", "2024-01", "accepted", 90, 0.9),
        Quality("green", "2024-01", "too_long", 3, 0.03),
        Quality("yellow", "2024-01", "negative_amount", 70, 0.07),
    ]

    assert reasons_of(rows) == ["negative_amount", "too_long"]
    assert {bar.kind for bar in rejected(rows, "green").bars} == {"reason-1", "total"}


@pytest.mark.parametrize(("top", "last"), [(0, 1), (68_211, 80_000), (3_000_000, 3_000_000), (0.0064, 0.008)])
def test_axes_end_at_a_round_number_at_or_above_the_largest(top: float, last: float) -> None:
    assert nice_steps(top)[-1] == pytest.approx(last)


@pytest.mark.parametrize(("count", "text"), [(265, "265"), (68_211, "68.2 k"), (2_500_000, "2.5 M"), (0, "0")])
def test_counts_on_axes_are_short(count: float, text: str) -> None:
    assert short(count) == text


def mart(lake: Lake, trips: int) -> int:
    """A build of the mart with so many trips on one day."""
    lake.catalog.create_namespace_if_not_exists("gold")
    row = {"service_type": ["green"], "pickup_date": [date(2024, 1, 3)], "trips": [trips]}
    table = lake.catalog.create_table_if_not_exists("gold.fct_daily_trips", pa.table(row).schema)
    (table.overwrite if table.current_snapshot() else table.append)(pa.table(row))
    return lake.history("gold.fct_daily_trips")[-1].snapshot_id


def load(lake: Lake, month: str, rows: int, seed: int = 0) -> int:
    lake.load("green", month, lake.generate("green", month, rows, seed=seed))
    return int(lake.engine.timeline("raw.green_trips").current or 0)


def test_the_mart_tells_of_a_load_that_alone_lies_between_two_builds(lake: Lake) -> None:
    load(lake, "2024-01", 30)
    before = mart(lake, 30)
    load(lake, "2024-02", 20)
    after = mart(lake, 50)

    travel = make_report(lake.settings).json["travel"]

    assert travel["load"] == "green 2024-02"
    assert (travel["before"], travel["after"]) == tuple(f"gold.fct_daily_trips@{s}" for s in (before, after))


def test_one_load_is_not_credited_with_what_several_did(lake: Lake) -> None:
    load(lake, "2024-01", 30)
    mart(lake, 30)
    before, after = load(lake, "2024-02", 20), load(lake, "2024-03", 10)
    mart(lake, 60)

    travel = make_report(lake.settings).json["travel"]

    assert travel["load"] == "green 2024-03"
    assert (travel["before"], travel["after"]) == tuple(f"raw.green_trips@{s}" for s in (before, after))
    assert travel["trips_after"] - travel["trips_before"] <= 10


def test_one_load_is_not_credited_with_what_a_rollback_did(lake: Lake) -> None:
    first = load(lake, "2024-01", 30)
    load(lake, "2024-02", 20)
    mart(lake, 50)
    rollback(lake.catalog, "raw.green_trips", first)
    third = load(lake, "2024-03", 10)
    mart(lake, 40)

    travel = make_report(lake.settings).json["travel"]

    assert (travel["before"], travel["after"]) == tuple(f"raw.green_trips@{s}" for s in (first, third))


def _as_if_never_rolled_back(table: TableHistory) -> TableHistory:
    return replace(table, snapshots=tuple(replace(s, rolled_back=False) for s in table.snapshots))


def test_what_was_rolled_back_is_not_shown_as_the_present(lake: Lake) -> None:
    load(lake, "2024-01", 30)
    second = load(lake, "2024-02", 20)
    third = load(lake, "2024-03", 10)
    rollback(lake.catalog, "raw.green_trips", second)

    report = make_report(lake.settings)
    (green,) = report.facts.tables

    assert report.json["travel"]["load"] == "green 2024-02"
    assert last_load(report.facts) == green.snapshots[1].committed_at
    assert [bar.kind for bar in growth(green.snapshots, "").bars] == ["added", "kept", "added", "gone"]
    assert [str(third) in line for line in report.markdown.splitlines() if "rolled back" in line] == [True]
    assert report.html.count('<span class="badge gone">rolled back</span>') == 1
    assert re.search(rf'{third} <span class="badge gone">rolled back', report.html)
    assert growth_png(report.facts) != growth_png(replace(report.facts, tables=(_as_if_never_rolled_back(green),)))


def test_markdown_cuts_long_lists_by_dataset_and_says_so(two_months: Lake) -> None:
    facts = make_report(two_months.settings).facts
    green = facts.loaded[0]
    names = [f"{year}-{month:02}" for year in (2021, 2022, 2023) for month in range(1, 13)]
    months = [
        replace(green, file=DatasetFile(name, Month.parse(month))) for name in ("yellow", "green") for month in names
    ]
    quality = [Quality(name, month, "too_long", 1, 0.1) for name in ("green", "yellow") for month in names]

    text = as_markdown(replace(facts, loaded=tuple(months), quality=tuple(quality)))

    for name in ("yellow", "green"):
        lines = [line.split(" | ") for line in text.splitlines() if line.startswith(f"| {name} | ")]
        assert [cells[1].removesuffix(" (synthetic)") for cells in lines] == ["… and 12 older", *names[12:]] * 2
