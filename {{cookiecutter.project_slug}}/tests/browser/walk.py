"""The walk through Dagster's page that a newcomer takes: schemas, January, February, dbt, report; with pictures.

    python -m tests.browser.walk docs/images

takes it with two generated months in a folder of its own and keeps the pictures.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from tests.browser.driver import Browser, browser, free_port, wait_for
from tests.unit.dagster_project import Project

from lakehouse.datasets.months import Month
from lakehouse.engines import open_engine
from lakehouse.history.history import history
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month, write_zones

PATIENCE = 300
ENTER = "\ue007"
MONTHS = {"2024-01": 60_000, "2024-02": 55_000}
# schemas, January, February, dbt, the report, and the range
RUNS = 6
# Chosen together afterwards: a backfill of a range.
RANGE = {"2024-03": 3_000, "2024-04": 2_000}


@contextmanager
def dagster(project: Project) -> Iterator[str]:
    """`dg dev` of the project, and its address."""
    port = free_port()
    with (project.folder / "dg.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            # A shell starts jobs in the background with these signals ignored, and Dagster's children keep that.
            [
                "env",
                "--default-signal=INT,QUIT,TERM",
                str(Path(sys.executable).parent / "dg"),
                "dev",
                "--port",
                str(port),
            ],
            cwd=project.root,
            env=project.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for("Dagster's page", lambda: _answers(f"{url}/server_info"), PATIENCE)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@dataclass
class Walk:
    """One walk: the page it is in, and where its pictures go."""

    page: Browser
    url: str
    settings: Settings
    pictures: Path

    def take(self) -> None:
        """All of it, each step waited for in the tables themselves."""
        self.page.open(f"{self.url}/asset-groups")
        self.page.see("//*[text()='landing']", PATIENCE)

        self.materialize("iceberg_schemas")
        self.until("the raw tables", lambda: "raw.green_trips" in self.tables())

        for done, month in enumerate(MONTHS, start=1):
            self.run_job("bronze_only", month)
            self.until(f"the snapshot of {month}", lambda n=done: len(self.snapshots("raw.green_trips")) == n)  # type: ignore[misc]
        self.look("raw/green_trips", "dagster/partition_row_count", "raw")

        self.run_job("dbt_only")
        self.until("gold", lambda: "gold.fct_trip_distance_stats" in self.tables())
        self.until("the end of dbt", lambda: set(self.runs()) == {"SUCCESS"})
        self.look("gold/fct_daily_trips", "snapshot_id", "gold")

        self.materialize("iceberg_snapshot_report")
        self.look("iceberg_snapshot_report", "snapshots", "report_asset")
        self.page.open(f"{self.url}/assets/gold/fct_daily_trips?view=lineage&lineageScope=upstream&lineageDepth=5")
        self.page.see("//*[contains(text(), 'stg_green_trips')]", PATIENCE)
        self.settle()
        self.picture("lineage")
        self.page.open(f"{self.url}/runs")
        self.page.see_text("dbt_only", PATIENCE)
        self.picture("runs")

    def materialize(self, asset: str) -> None:
        """Open an asset and press Materialize; wait for the end, since an open page does not show all of it."""
        before = len(self.runs())
        self.page.open(f"{self.url}/assets/{asset}")
        self.page.see_text("Never materialized", PATIENCE)
        self.page.click("//button[starts-with(normalize-space(.), 'Materialize')]", PATIENCE)
        self.until(f"the run of {asset}", lambda: self.runs() == ["SUCCESS"] * (before + 1))

    def backfill(self) -> None:
        """Two months at once, as a range."""
        first, last = RANGE
        before = len(self.snapshots("raw.green_trips"))
        self.run_job("bronze_only", first, last)
        self.until("the range", lambda: len(self.snapshots("raw.green_trips")) == before + len(RANGE))
        self.until("the end of all runs", lambda: self.runs() == ["SUCCESS"] * RUNS)

    def run_job(self, job: str, month: str | None = None, last: str | None = None) -> None:
        """Open a job and run it, for one month or a range where it has months."""
        self.page.open(f"{self.url}/locations/lakehouse/jobs/{job}")
        self.page.click("//button[starts-with(normalize-space(.), 'Materialize all')]", PATIENCE)
        if month is not None:
            self.page.click("//*[contains(text(), 'Show all partitions')]", PATIENCE)
            chosen = f"[{month}-01...{last}-01]" if last else f"{month}-01"
            self.page.fill("//input[contains(@placeholder, 'ex: ')]", chosen + ENTER)
            self.page.see(
                f"//*[normalize-space(.)='{f'{len(RANGE)} partitions' if last else '1 partition'}']", PATIENCE
            )
            self.picture("launch_range" if last else "launch")
            self.page.click("//button[starts-with(normalize-space(.), 'Launch')]", PATIENCE)

    def look(self, asset: str, metadata: str, name: str) -> None:
        """Open an asset that is materialized, and take its picture."""
        self.page.open(f"{self.url}/assets/{asset}")
        self.page.see(f"//*[normalize-space(text())='{metadata}']", PATIENCE)
        self.settle()
        self.picture(name)

    def picture(self, name: str) -> None:
        """Keep what the page shows."""
        self.page.picture(self.pictures / f"dagster_{name}.png")

    def settle(self) -> None:
        """Wait until the page has stopped changing."""
        seen: list[str] = []

        def the_same_three_times() -> bool:
            seen.append(self.page.text)
            return len(seen) > 2 and len(set(seen[-3:])) == 1

        wait_for("a page at rest", the_same_three_times, PATIENCE, pause=1)

    def until(self, what: str, ask: Callable[[], bool]) -> None:
        """Wait for a result; a question whether one is sure (yellow was never published) is answered with yes."""
        sure = "//button[normalize-space(.)='Confirm']"

        def ask_or_confirm() -> bool:
            if self.page.all(sure):
                self.page.click(sure)
            return ask()

        wait_for(what, ask_or_confirm, PATIENCE, pause=2)

    def runs(self) -> list[str]:
        """How all runs stand, as Dagster's own interface says."""
        query = "{ runsOrError { ... on Runs { results { status } } } }"
        answer = httpx.post(f"{self.url}/graphql", json={"query": query}, timeout=60).raise_for_status().json()
        return [run["status"] for run in answer["data"]["runsOrError"]["results"]]

    def tables(self) -> list[str]:
        """Tables that have a snapshot or are raw."""
        engine = open_engine(self.settings)
        try:
            return engine.tables()
        finally:
            engine.close()

    def snapshots(self, table: str) -> list[str | None]:
        """The months of a table's snapshots."""
        engine = open_engine(self.settings)
        try:
            return [snapshot.file_month for snapshot in history(engine, table)]
        finally:
            engine.close()


def walk(folder: Path, variables: dict[str, str], settings: Settings, pictures: Path) -> Walk:
    """Publish two generated months in `folder`, start Dagster there, and take the walk."""
    published = folder / "published"
    published.mkdir(parents=True)
    write_zones(published / "taxi_zone_lookup.csv")
    for month, rows in (MONTHS | RANGE).items():
        write_month(published / f"green_tripdata_{month}.parquet", "green", Month.parse(month), rows)
    project = Project(folder, {"LAKEHOUSE_FIRST_MONTH": "2024-01", "TLC_SOURCE": str(published)} | variables)
    with dagster(project) as url, browser() as page:
        taken = Walk(page, url, settings, pictures)
        try:
            taken.take()
            taken.backfill()
        except (TimeoutError, RuntimeError):
            taken.picture("where_it_stopped")
            raise
        page.size(1100, 2400)
        for name, picture in (("snapshots.html", "report.png"), ("dashboard.html", "dashboard.png")):
            page.open((project.root / "reports" / name).as_uri())
            page.picture(pictures / picture)
    return taken


def main() -> None:
    """Take the walk on `embedded` and keep the pictures in the folder named."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=folder / "home")
        walk(folder, {}, settings, Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    main()
