"""The report: its figures are those of the tables, its page fetches nothing, generated months are marked."""

from __future__ import annotations

import json
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.lake import Lake

from lakehouse.report import make_report
from lakehouse.report.charts import daily, nice_steps, reasons_of, rejected, short
from lakehouse.report.collect import Day, Quality
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
    path = make_report(two_months.settings).write(tmp_path / "reports" / "snapshots.html")

    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert "<script" not in html
    assert not re.findall(r"""(?:src|href)\s*=|url\(|@import|https?://""", html)
    assert "510" in " ".join(page.words)
    assert [p.name for p in path.parent.iterdir()] == ["snapshots.html"]


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
