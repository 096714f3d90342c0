"""The dashboard's SQL through Trino: the numbers of silver, now and as they were published."""

from __future__ import annotations

from tests.dashboard import PUBLICATION, ZONES, check, publish, put_gold, silver
from tests.integration.lake import Lake

from lakehouse.report import make_report


def test_the_dashboard_has_the_numbers_of_silver_now_and_as_published(lake: Lake) -> None:
    first = silver(("green", "2024-01"), ("yellow", "2024-01"))
    put_gold(lake.catalog, first)
    check(make_report(lake.settings, engine=lake.engine).dashboard_html, first, ZONES)

    publish(lake.catalog)
    second = silver(("green", "2023-01"), ("green", "2024-02"), seed=1)
    put_gold(lake.catalog, second)

    shown = make_report(lake.settings, engine=lake.engine)
    assert shown.dashboard.publication == PUBLICATION
    check(shown.dashboard_html, first, ZONES)
