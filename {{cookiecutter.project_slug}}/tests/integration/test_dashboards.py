"""`make bi-up`: Superset over schema `published`. Each chart shows what Trino answers, and its page shows no error."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.browser.driver import CHROMIUM, DRIVER, ELEMENT, browser, wait_for
from tests.integration.stack import docker_client
from tests.integration.test_compose import compose_name, left, project
from tests.integration.test_deployment import compose, make, setting
from tests.marks import takes_minutes
from tests.pages import published, run
from tests.unit.dagster_project import Project

from lakehouse.datasets.months import Month
from lakehouse.synthetic.generate import write_month

__all__ = ["project"]  # the fixture
YELLOW, GREEN = {"2024-01": 20_000, "2024-02": 18_000}, {"2024-01": 6_000, "2024-02": 5_000}
# Where the dashboard's picture is to be kept; read now, because tests see no setting of this machine.
PICTURES = os.environ.get("LAKEHOUSE_TEST_PICTURES")
PATIENCE = 600
DAY = "to_unixtime(cast({} as timestamp)) * 1000 as {}"
# What each chart must show, by its name: a query whose columns are called as those of the chart's data.
ANSWERS = {
    "Trips": "select sum(trips) as total_trips from published.fct_daily_trips",
    "Revenue": "select cast(sum(total_amount) as double) as total_revenue from published.fct_daily_trips",
    "Trips by day": f"""select {DAY.format("pickup_date", "pickup_date")}, service_type, trips as total_trips
        from published.fct_daily_trips""",
    "Paid by card, by day": f"""select {DAY.format("pickup_date", "pickup_date")}, service_type,
        cast(card_share as double) as card_share_of_trips from published.fct_daily_trips""",
    "Revenue by hour of pickup": """select pickup_hour, service_type,
        cast(sum(total_amount) as double) as total_revenue from published.fct_hourly_revenue group by 1, 2""",
    "Tips per fare, by hour of pickup": """select pickup_hour, service_type,
        cast(sum(tip_amount) as double) / cast(sum(fare_amount) as double) as tips_of_fares
        from published.fct_hourly_revenue group by 1, 2""",
    "Busiest routes": """select pickup_zone, dropoff_zone, sum(trips) as total_trips,
        cast(sum(avg_distance_miles * trips) as double) / sum(trips) as miles_per_trip
        from published.fct_trip_distance_stats group by 1, 2""",
    "Rejected trips by month of their file": f"""select {DAY.format("file_month", "file_month")}, rejection_reason,
        sum(trips) as total_trips from published.fct_monthly_quality
        where rejection_reason <> 'accepted' group by file_month, rejection_reason""",
}
# A chart that failed, or the page's own word of an error.
ALERT = "//*[@role='alert']"
# These charts show the first rows alone, by their number of trips.
SHOWN = {"Busiest routes": 20}


@pytest.fixture
def with_marts(project: Project) -> Iterator[Project]:
    """The project with published marts of both services on Trino. pip finds packages as it does here."""
    variables = ("PIP_INDEX_URL", "PIP_CERT", "SUPERSET_IMAGE")
    project.variables |= {name: os.environ[name] for name in variables if name in os.environ}
    project.variables["LAKEHOUSE_TARGET"] = "trino"
    shutil.rmtree(project.folder / "published")  # the months of the other tests
    folder = published(project, "yellow", YELLOW)
    for month, rows in GREEN.items():
        write_month(folder / f"green_tripdata_{month}.parquet", "green", Month.parse(month), rows)
    make(project, "stack-up")
    for words in (("load", "zones"), ("load", "yellow", *YELLOW), ("load", "green", *GREEN), ("publish",)):
        project.python("-m", "lakehouse", *words)
    yield project
    compose(project, "--profile", "bi", "down", "--timeout", "5")
    if "SUPERSET_IMAGE" not in os.environ:
        docker_client().images.remove(f"{compose_name(project)}-superset")  # the layers stay, for the next build


@contextmanager
def api(address: str, password: str) -> Iterator[httpx.Client]:
    """Superset's API, logged in."""
    with httpx.Client(base_url=f"{address}/api/v1", timeout=PATIENCE) as client:
        login = {"username": "admin", "password": password, "provider": "db"}
        token = client.post("/security/login", json=login).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def shown(superset: httpx.Client) -> dict[str, list[dict[str, Any]]]:
    """The rows that each chart shows, by its name."""
    charts = superset.get("/chart/", params={"q": "(page_size:100)"}).raise_for_status().json()["result"]
    data = {}
    for chart in charts:
        answer = superset.get(f"/chart/{chart['id']}/data/")
        assert answer.is_success, f"{chart['slice_name']}: {answer.text}"
        data[chart["slice_name"]] = answer.json()["result"][0]["data"]
    return data


def rows_of(found: list[dict[str, Any]]) -> dict[tuple[str, ...], list[float]]:
    """Rows by their text and times, with their measures."""
    keys = (
        "pickup_date",
        "file_month",
        "pickup_hour",
        "service_type",
        "rejection_reason",
        "pickup_zone",
        "dropoff_zone",
    )
    return {
        tuple(str(int(value) if isinstance(value, float) else value) for name, value in row.items() if name in keys): [
            float(value) for name, value in row.items() if name not in keys
        ]
        for row in found
    }


def agrees(name: str, found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """A chart shows what Trino answers; of equally busy routes any may be among the first."""
    rows, answer = rows_of(found), rows_of(expected)
    if name in SHOWN:
        busiest = sorted((values[0] for values in answer.values()), reverse=True)[: SHOWN[name]]
        assert [values[0] for values in rows.values()] == busiest
        answer = {key: answer[key] for key in rows}
    assert rows.keys() == answer.keys()
    for key, values in rows.items():
        assert values == pytest.approx(answer[key], abs=1e-4), (name, key)


@pytest.mark.slow
@takes_minutes
def test_the_dashboard_shows_what_trino_answers(with_marts: Project) -> None:
    said = run(with_marts, "docs/dashboards.md", "Start and stop", without=("Stop",))["Start and stop"]
    address = f"http://127.0.0.1:{setting(with_marts, 'SUPERSET_PORT')}"
    password = setting(with_marts, "SUPERSET_ADMIN_PASSWORD")
    assert f"Superset: {address}" in said

    with api(address, password) as superset:
        data = shown(superset)

    assert data.keys() == ANSWERS.keys()
    for name, query in ANSWERS.items():
        expected = json.loads(with_marts.python("-m", "lakehouse", "sql", query, "--json"))
        assert expected
        agrees(name, data[name], expected)
    _runs_as_a_user(with_marts)
    if CHROMIUM and DRIVER:
        picture = see(address, password, with_marts.folder / "superset.png")
        if PICTURES:
            shutil.copy(picture, PICTURES)
    run(with_marts, "docs/dashboards.md", "Stop")
    assert [name for name in left(with_marts) if "trino" in name]
    assert not [name for name in left(with_marts) if "superset" in name]
    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium with ChromeDriver on this machine: all but the page was tested")


def see(address: str, password: str, picture: Path) -> Path:
    """Open the dashboard as a person does; every chart is drawn, and none shows an error."""
    with browser(1400, 1500) as page:
        page.open(f"{address}/login/")
        page.fill("//input[@id='username']", "admin")
        page.fill("//input[@id='password']", password)
        page.click("//button[@type='submit']")
        wait_for("the login", lambda: "/login" not in page.address, PATIENCE)
        page.open(f"{address}/superset/dashboard/taxi-trips/")
        drawn = "return document.querySelectorAll('.slice_container').length"
        wait_for("eight charts", lambda: page.run(drawn) + len(page.all(ALERT)) >= len(ANSWERS), PATIENCE)
        wait_for("their data", lambda: not page.all("//*[contains(@class, 'loading')]"), PATIENCE)
        assert [page.run("return arguments[0].innerText", {ELEMENT: one}) for one in page.all(ALERT)] == []
        return page.picture(picture)


def _runs_as_a_user(project: Project) -> None:
    has = compose(project, "exec", "-T", "superset", "sh", "-c", "id -u; touch /opt/superset/x", check=False)
    assert has.startswith("10001\n"), has
    assert "Read-only file system" in has
