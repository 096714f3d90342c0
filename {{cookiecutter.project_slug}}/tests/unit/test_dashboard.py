"""The dashboard: its numbers are those of silver, it shows what is published, and it is a page for every gold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any, cast

import pyarrow as pa
import pytest
from pyiceberg.types import DoubleType
from tests.dashboard import PUBLICATION, ZONES, Page, check, publish, put_gold, put_mart, silver
from tests.dbt.raw import Row, gold
from tests.lake import Lake

from lakehouse.engines import Engine
from lakehouse.errors import OvertakenError
from lakehouse.iceberg.publication import BRANCH
from lakehouse.iceberg.refs import tag
from lakehouse.report import make_report
from lakehouse.report.charts import Piece, columns, heat
from lakehouse.report.dashboard import HOURLY, MARTS, QUESTIONS, ROUTES, ask
from lakehouse.report.panels import OTHERS, boroughs, by_day, colours

DAILY, QUALITY = "gold.fct_daily_trips", "gold.fct_monthly_quality"


def page(lake: Lake) -> str:
    return make_report(lake.settings).dashboard_html


TWO_MONTHS = (("green", "2024-01"), ("green", "2024-02"), ("yellow", "2024-01"), ("yellow", "2024-02"))


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(TWO_MONTHS, id="days"),
        pytest.param((("green", "2024-01"),), id="one"),
        pytest.param((("yellow", "2023-01"), ("yellow", "2024-06"), ("green", "2024-01")), id="months"),
    ],
)
def test_every_number_is_that_of_silver(lake: Lake, parts: tuple[tuple[str, str], ...]) -> None:
    trips = silver(*parts)
    put_gold(lake.catalog, trips)

    check(page(lake), trips, ZONES)


def test_every_question_has_its_chart_or_its_table(lake: Lake) -> None:
    put_gold(lake.catalog, silver(*TWO_MONTHS))

    html = page(lake)

    sections = re.findall(r'<section class="card[^"]*" id="([\w-]+)">(.*?)</section>', html, re.DOTALL)
    assert [name for name, _ in sections] == list(QUESTIONS)
    for name, section in sections:
        assert QUESTIONS[name].text in section
        assert 'role="img" aria-label="' in section or name in {"boroughs", "routes"}
        assert "<table" in section
        assert Page(html).says[name]


def test_the_page_prints_the_command_that_asks_again(lake: Lake) -> None:
    put_gold(lake.catalog, silver(*TWO_MONTHS))
    report = make_report(lake.settings)

    for name, question in QUESTIONS.items():
        assert lake.rows(question.sql) == report.dashboard.rows[name]
        assert '"' not in question.sql
        assert "`" not in question.sql


class Whole(HTMLParser):
    """Whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - HTMLParser's
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(lake: Lake) -> None:
    put_gold(lake.catalog, silver(*TWO_MONTHS))

    html = page(lake)

    assert Whole(html).open == []
    assert "<script" not in html
    assert not re.findall(r"""(?:src|href)\s*=|url\(|@import|https?://""", html)


def test_names_of_zones_are_text_in_the_page(lake: Lake) -> None:
    evil = '<script>alert("1")</script>'
    put_gold(lake.catalog, silver(*TWO_MONTHS), dict.fromkeys(ZONES, (evil, evil)))

    html = page(lake)

    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 20


def test_without_gold_the_page_says_how_to_begin(lake: Lake) -> None:
    html = page(lake)

    assert "There is no gold yet." in html
    assert "lakehouse build" in html
    assert Page(html).numbers == {}


def test_marts_without_rows_are_no_trips(lake: Lake) -> None:
    put_gold(lake.catalog, silver(("green", "2024-01")))
    for mart in MARTS:
        lake.table(mart).delete("true")

    html = page(lake)

    assert "Gold has no trips yet." in html
    assert Page(html).numbers == {}


def test_a_mart_that_lacks_leaves_a_gap_that_says_so(lake: Lake) -> None:
    put_gold(lake.catalog, silver(*TWO_MONTHS))
    lake.catalog.drop_table(ROUTES)
    with lake.table(DAILY).update_schema() as change:
        change.delete_column("card_share")

    found = Page(page(lake))

    assert found.says["routes"] == f"There is no {ROUTES}."
    assert found.says["cards-by-month"] == f"{DAILY} lacks card_share."
    assert set(QUESTIONS) - found.numbers.keys() == {"routes", "boroughs", "cards-by-month"}


def test_what_is_published_is_shown_not_what_was_built_since(lake: Lake) -> None:
    first, second = silver(("green", "2024-01")), silver(*TWO_MONTHS, seed=1)
    put_gold(lake.catalog, first)
    assert "Nothing is published yet." in page(lake)
    publish(lake.catalog)
    put_gold(lake.catalog, second)

    html = page(lake)

    assert f"Shows what is published: <code>{PUBLICATION}</code>" in html
    assert html.count(f"--as-of {PUBLICATION}</pre>") == len(QUESTIONS)
    check(html, first, ZONES)


def test_the_newest_publication_that_all_marts_have_is_named(lake: Lake) -> None:
    put_gold(lake.catalog, silver(("green", "2024-01")))
    publish(lake.catalog)
    tag(lake.catalog, HOURLY, "audited")
    for mart in MARTS[:-1]:  # a publication that stopped half way
        table = lake.table(mart)
        snapshot = table.metadata.current_snapshot_id
        assert snapshot is not None
        table.manage_snapshots().create_tag(snapshot, "publication-20240401T120000Z").commit()

    assert make_report(lake.settings).dashboard.publication == PUBLICATION


def test_columns_that_changed_since_the_publication_are_asked_as_they_were(lake: Lake) -> None:
    put_gold(lake.catalog, silver(*TWO_MONTHS))
    with lake.table(DAILY).update_schema() as change:
        change.delete_column("card_share")
    lake.table(DAILY).append(lake.table(DAILY).scan().to_arrow().slice(0, 0))
    publish(lake.catalog)
    with lake.table(DAILY).update_schema() as change:
        change.add_column("card_share", DoubleType())
    with lake.table(HOURLY).update_schema() as change:
        change.delete_column("tip_amount")

    found = Page(page(lake))

    assert found.says["cards-by-month"] == f"{DAILY} lacks card_share."
    assert "charges-by-month" in found.numbers


class Replacing:
    """An engine beside which a mart is replaced so many times while it is asked."""

    def __init__(self, lake: Lake, times: int) -> None:
        self.engine, self.lake, self.times = lake.engine, lake, times

    def query(self, sql: str, parameters: Sequence[Any] = (), as_of: str | None = None) -> pa.Table:
        answer = self.engine.query(sql, parameters, as_of)
        if HOURLY in sql and self.times:
            self.times -= 1
            put_gold(self.lake.catalog, silver(("green", "2024-01")))
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def test_marts_that_are_replaced_meanwhile_are_asked_again(lake: Lake) -> None:
    put_gold(lake.catalog, silver(*TWO_MONTHS))

    found = ask(cast("Engine", Replacing(lake, 1)), lake.catalog, (), "embedded")

    assert {row["service_type"] for rows in (found.rows["trips-by-day"], found.rows["quality"]) for row in rows} == {
        "green"
    }
    with pytest.raises(OvertakenError, match="A build replaced marts each time"):
        ask(cast("Engine", Replacing(lake, 100)), lake.catalog, (), "embedded")


def test_a_mart_made_since_the_publication_is_not_shown(lake: Lake) -> None:
    put_gold(lake.catalog, silver(*TWO_MONTHS))
    lake.catalog.rename_table(ROUTES, "gold.others")
    publish(lake.catalog)
    lake.catalog.rename_table("gold.others", ROUTES)
    lake.table(ROUTES).manage_snapshots().remove_branch(BRANCH).remove_tag(PUBLICATION).commit()

    found = Page(page(lake))

    assert found.says["routes"] == f"{ROUTES} has no version to show."
    assert "trips-by-day" in found.numbers


def generated(lake: Lake) -> tuple[str, ...]:
    return make_report(lake.settings).dashboard.generated


def test_generated_months_are_named(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 30))
    lake.load("green", "2024-03", lake.generate("green", "2024-03", 30))
    put_gold(lake.catalog, silver(("green", "2024-01"), ("green", "2024-02")))

    assert generated(lake) == ("green 2024-01",)
    assert re.search(r"<b>Generated months</b>.* green 2024-01 were made by this project", page(lake))


def test_months_stay_generated_until_gold_is_built_of_real_ones(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 30))
    put_gold(lake.catalog, silver(("green", "2024-01")))
    load_real(lake, "2024-01")

    assert generated(lake) == ("green 2024-01",)

    put_gold(lake.catalog, silver(("green", "2024-01")))
    assert generated(lake) == ()


def test_what_is_published_stays_generated(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 30))
    put_gold(lake.catalog, silver(("green", "2024-01")))
    publish(lake.catalog)
    load_real(lake, "2024-01")
    put_gold(lake.catalog, silver(("green", "2024-01")))

    assert generated(lake) == ("green 2024-01",)


def load_real(lake: Lake, month: str) -> None:
    """Load a month that the publisher could have made."""
    from tests.unit.misbehaving_publisher import as_published

    file = lake.generate("green", month, 40, seed=5)
    file.write_bytes(as_published(file))
    lake.load("green", month, file)
    assert not lake.history("raw.green_trips")[-1].synthetic


def years(count: int) -> list[Row]:
    """A day's trips of two services, for so many years."""
    first = date(2009, 1, 1)
    return [
        {"service_type": service, "pickup_date": first + timedelta(i), "trips": 100_000 + i}
        for service in ("green", "yellow")
        for i in range(365 * count)
    ]


def test_years_of_months_stay_a_small_page(lake: Lake) -> None:
    trips = silver(*TWO_MONTHS)
    put_gold(lake.catalog, trips)
    months = [date(2009 + i // 12, i % 12 + 1, 1) for i in range(25 * 12)]
    for mart, column in ((DAILY, "pickup_date"), (HOURLY, "pickup_date"), (QUALITY, "file_month")):
        rows = gold(trips)[mart.removeprefix("gold.")]
        own = [row for row in rows if row[column] >= date(2024, 1, 1)]
        put_mart(lake.catalog, mart, [row | {column: day} for row in own[:20] for day in months])

    html = page(lake)

    assert len(html.encode()) < 1_000_000
    assert len(Page(html).numbers["trips-by-day"]) == len(months)
    assert by_day(years(25)).numbers.head == ("month", "green", "yellow", "all")


def test_small_boroughs_are_counted_together() -> None:
    rows: list[dict[str, Any]] = [
        {"pickup_borough": f"B{i:02}", "dropoff_borough": "B00", "trips": 100 - i} for i in range(30)
    ]

    panel = boroughs(rows)

    assert panel.numbers.head[-1] == OTHERS
    assert len(panel.numbers.rows) == 10
    cells = [int(cell.replace(",", "")) for row in panel.numbers.rows for cell in row[1:]]
    assert sum(cells) == sum(row["trips"] for row in rows)


def test_columns_are_as_high_as_their_values() -> None:
    plot = columns("", ["a", "b"], [[Piece("x", 30, ""), Piece("y", 10, "")], [Piece("x", 20, ""), Piece("y", 0, "")]])

    first, second, third = plot.bars
    assert first.height == pytest.approx(3 * second.height)
    assert first.height == pytest.approx(1.5 * third.height)
    assert second.y + second.height == pytest.approx(first.y)
    assert first.y + first.height == pytest.approx(plot.bottom)


def test_names_below_columns_do_not_overlap() -> None:
    names = [f"{year}-{month:02}" for year in range(2009, 2026) for month in range(1, 13)]

    ticks = columns("", names, [[] for _ in names]).x_ticks

    assert min(after.at - before.at for before, after in pairwise(ticks)) >= 70


def test_the_largest_value_has_the_deepest_colour() -> None:
    plot = heat("", ["a", "b"], ["x"], [[1.0], [4.0]], [["", ""], ["", ""]])

    assert [bar.strength for bar in plot.bars] == [0.25, 1.0]


def test_each_service_has_a_colour_of_its_own() -> None:
    assert colours(["fhv", "yellow", "green", "hvfhv"]) == {
        "fhv": "reason-1",
        "green": "green",
        "hvfhv": "reason-2",
        "yellow": "yellow",
    }
