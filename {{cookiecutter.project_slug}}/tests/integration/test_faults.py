"""Services misbehave: each fault ends in a right table or one clear error within a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.compat import get_current_datetime
from pyiceberg.catalog import Catalog
from tests.integration.faults import TRIES, Record, Restatement, refused, tried
from tests.integration.lake import GREEN, Lake
from tests.integration.proxy import Proxy
from tests.integration.stack import Stack, started, within

from lakehouse.engines.trino import TrinoEngine
from lakehouse.errors import CommitError, LakehouseError, LandingError, ServiceError
from lakehouse.history.publish import publish
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.commit import commit
from lakehouse.iceberg.refs import rollback, tag
from lakehouse.settings import Settings
from lakehouse.transform import BuildResult, build

MERGE = (
    "merge into raw.green_trips t using (select file_month, file_row, total_amount from raw.green_trips) s "
    "on t.file_month = s.file_month and t.file_row = s.file_row "
    "when matched then update set total_amount = s.total_amount + 1"
)
# Writes for as long as the disk takes it.
BALLAST = "block=$(printf '%65536s'); while printf '%s' \"$block\"; do :; done"
LONG = "select count(*) from tpch.sf100.lineitem l where l.orderkey % 7 = 1 and regexp_like(l.comment, 'a+b+c+')"


@pytest.fixture(autouse=True, params=range(TRIES), ids=lambda n: f"try{n + 1}")
def attempt(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def months(lake: Lake, record_property: Record) -> Restatement:
    return Restatement(lake, record_property)


@contextmanager
def before_commit(monkeypatch: pytest.MonkeyPatch, fault: Callable[[], object]) -> Iterator[None]:
    """`fault` happens when a load has written its file and is about to commit it."""

    def then(*args: object, **options: object) -> object:
        fault()
        return commit(*args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("lakehouse.loading.load.commit", then)
        yield


def test_object_store_gone_while_a_file_is_written(lake: Lake, record_property: Record) -> None:
    months = Restatement(lake, record_property, rows=60_000)
    with Proxy(lake.settings.s3_url) as store:
        store.cut_after = 400_000
        error = months.refused("object store gone in mid-load", lambda: months.load(S3_URL=store.url))

    assert "could not be written" in str(error)
    months.is_as_it_was()
    months.ends_well()


def test_object_store_that_hangs(lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(lake.settings.s3_url) as store, before_commit(monkeypatch, lambda: setattr(store, "hang", True)):
        months.refused("object store hangs before the commit", lambda: months.load(S3_URL=store.url))
        store.cut()

    months.is_as_it_was()
    months.ends_well()


def test_object_store_away_from_the_start(lake: Lake, months: Restatement) -> None:
    with Proxy(lake.settings.s3_url) as store:
        store.hang = True
        error = months.refused("object store hangs from the start", lambda: months.load(S3_URL=store.url))
        store.cut()

    assert isinstance(error, ServiceError)
    assert store.url in str(error)
    months.ends_well()


def test_catalog_away_from_the_start(lake: Lake, months: Restatement) -> None:
    with Proxy(lake.settings.rest_url) as catalog:
        catalog.hang = True
        error = months.refused("catalog hangs from the start", lambda: months.load(REST_URL=catalog.url))
        catalog.cut()

    assert isinstance(error, ServiceError)
    assert catalog.url in str(error)
    months.ends_well()


def test_catalog_killed_between_writing_and_committing(
    lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = lake.stack.container("iceberg-rest")
    try:
        with before_commit(monkeypatch, container.kill):
            months.refused("catalog killed between writing and committing", months.load)
    finally:
        container.start()
        lake.stack.wait_until_ready()

    months.is_as_it_was()
    months.ends_well()


def test_commit_whose_answer_is_lost(lake: Lake, months: Restatement) -> None:
    before = len(lake.engine.timeline(GREEN).snapshots)
    with Proxy(lake.settings.rest_url) as catalog:
        catalog.lose_answer = lambda said: (
            catalog.lost_answers == 0
            and said.startswith(b"POST /v1/namespaces/raw/tables/green_trips ")
            and b"add-snapshot" in said
        )
        months.survived("answer of a commit lost", lambda: months.load(REST_URL=catalog.url))

    assert catalog.lost_answers == 1
    assert len(lake.engine.timeline(GREEN).snapshots) == before + 1
    months.ends_well()


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("answer of a tag lost", lambda catalog, first: tag(catalog, GREEN, "audited", first)),
        ("answer of a rollback lost", lambda catalog, first: rollback(catalog, GREEN, first)),
    ],
    ids=["tag", "rollback"],
)
def test_name_whose_answer_is_lost(
    lake: Lake, months: Restatement, fault: str, change: Callable[[Catalog, int], int]
) -> None:
    first, *_ = lake.engine.timeline(GREEN).snapshots
    with Proxy(lake.settings.rest_url) as proxy:
        proxy.lose_answer = lambda said: proxy.lost_answers == 0 and b"set-snapshot-ref" in said
        catalog = open_catalog(lake.stack.settings(lake.folder / "home", REST_URL=proxy.url))
        months.survived(fault, lambda: change(catalog, first.snapshot_id))

    assert proxy.lost_answers == 1
    moved = [ref.name for ref in lake.engine.timeline(GREEN).refs if ref.snapshot_id == first.snapshot_id]
    assert moved == (["audited"] if "tag" in fault else ["main"])


def test_publication_whose_answer_is_lost(lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.load("zones", None)
    built = build(lake.settings)
    monkeypatch.setattr("lakehouse.history.publish.build", lambda _, **__: built)  # not through the proxy
    with Proxy(lake.settings.rest_url) as catalog:
        catalog.lose_answer = lambda said: catalog.lost_answers == 0 and b"/transactions/commit" in said
        settings = lake.stack.settings(lake.folder / "home", REST_URL=catalog.url)
        months.survived("answer of a publication lost", lambda: publish(settings))

    assert catalog.lost_answers == 1
    assert lake.value(f"select count(*) from {GREEN}", as_of="published") == months.rows - 100 + 500


def test_catalog_away_while_publishing(lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {GREEN: lake.engine.timeline(GREEN).snapshots[-1].snapshot_id}
    with Proxy(lake.settings.rest_url) as catalog:
        settings = lake.stack.settings(lake.folder / "home", REST_URL=catalog.url)

        def build(_: Settings, **__: object) -> BuildResult:
            catalog.hang = True
            return BuildResult((), (), (), 0.0, dict(raw), ())

        monkeypatch.setattr("lakehouse.history.publish.build", build)
        months.refused("catalog hangs while publishing", lambda: publish(settings))
        catalog.cut()

    assert [ref.name for ref in lake.engine.timeline(GREEN).refs] == ["main"]
    months.ends_well()


def test_commit_that_never_reaches_the_catalog(
    lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(lake.settings.rest_url) as catalog, before_commit(monkeypatch, lambda: setattr(catalog, "cut_after", 0)):
        error = months.refused("catalog unreachable at the commit", lambda: months.load(REST_URL=catalog.url))

    assert isinstance(error, CommitError | ServiceError)
    months.is_as_it_was()
    months.ends_well()


def test_postgres_restarted_at_the_commit(
    lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    container = lake.stack.container("postgres")
    with (
        before_commit(monkeypatch, lambda: container.restart(timeout=5)),
        suppress(LakehouseError),
        tried(record_property, "Postgres restarted at the commit"),
    ):
        months.load()
    lake.stack.wait_until_ready()

    months.is_whole()
    months.ends_well()


def test_trino_killed_in_mid_query(lake: Lake, months: Restatement) -> None:
    with trino_killed(lake, LONG):
        months.refused("Trino killed in mid-query", lambda: lake.engine.query(LONG))

    months.ends_well()


def test_trino_killed_in_mid_merge(lake: Lake, record_property: Record) -> None:
    months = Restatement(lake, record_property, rows=300_000)
    total = "select sum(cast(total_amount as decimal(18,2))), count(*) from raw.green_trips"
    ((before, rows),) = lake.sql(total)

    with trino_killed(lake, "merge into"):
        months.refused("Trino killed in mid-MERGE", lambda: lake.engine.query(MERGE))

    ((after, still),) = lake.sql(total)
    assert still == rows
    assert after in (before, before + rows)
    months.ends_well()


@pytest.mark.slow
def test_trino_killed_in_mid_build(lake: Lake, months: Restatement) -> None:
    lake.load("zones", None)
    container = lake.stack.container("trino")
    killed: list[float] = []

    def kill(line: str) -> None:
        if "silver." in line and not killed:
            container.kill()
            killed.append(time.monotonic())

    try:
        with pytest.raises(LakehouseError) as caught:
            build(lake.settings, progress=kill)
        seconds = time.monotonic() - killed[0]
    finally:
        container.start()
        lake.stack.wait_until_ready()
    months.told("Trino killed in mid-build", f"refused: {type(caught.value).__name__}", seconds)

    months.ends_well()
    build(lake.settings)
    assert lake.value("select sum(trips) from gold.fct_monthly_quality") == months.rows + 500


def test_object_store_without_room(tmp_path: Path, record_property: Record) -> None:
    with started(trino=False, store_mb=96) as small:
        lake = Lake(small, tmp_path)
        lake.empty()
        lake.load("green", "2023-01", 1000)
        lake.land("green", "2023-02", 60_000)
        on_its_disk(small, f"{BALLAST} > /small/ballast")

        landing = refused(
            record_property,
            "object store without room, at landing",
            lambda: lake.land("green", "2023-01", 60_000, seed=1),
        )
        loading = refused(
            record_property, "object store without room, at loading", lambda: lake.reload("green", "2023-02")
        )

        assert isinstance(landing, LandingError)
        assert "no room" in str(landing)
        assert "could not be written" in str(loading)
        assert lake.scan(GREEN).num_rows == 1000

        on_its_disk(small, ": > /small/ballast")
        again = within(60, lambda: lake.reload("green", "2023-02"), every=1)

        assert (again.rows, lake.scan(GREEN).num_rows) == (60_000, 61_000)


def on_its_disk(stack: Stack, script: str) -> None:
    """By the shell of the object store's container.

    Not by objects: the store gives the room of a deleted one back when it likes, some minutes later.
    """
    stack.container("object-store").exec_run(["sh", "-c", script])


def test_wrong_credentials(lake: Lake, months: Restatement) -> None:
    error = months.refused("wrong credentials of the loader", lambda: months.load(S3_SECRET_KEY="wrong"))

    assert "S3_SECRET_KEY" in str(error)
    assert lake.stack.environment["S3_SECRET_KEY"] not in str(error)
    months.is_as_it_was()
    months.ends_well()


def test_slow_network(lake: Lake, record_property: Record) -> None:
    months = Restatement(lake, record_property, rows=20_000)
    with Proxy(lake.settings.rest_url) as catalog, Proxy(lake.settings.s3_url) as store:
        catalog.delay = store.delay = 0.05
        store.bytes_per_second = 1_000_000
        months.survived("slow network", lambda: months.load(REST_URL=catalog.url, S3_URL=store.url))

    months.ends_well()


def test_loader_whose_clock_is_an_hour_ahead(lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + 3600)
        error = months.refused("loader's clock an hour ahead", months.load)

    assert "clock" in str(error)
    months.is_as_it_was()
    months.ends_well()


def test_loader_whose_clock_is_an_hour_behind(lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - 3600)
        months.survived("loader's clock an hour behind", months.load)

    times = [snapshot.committed_at for snapshot in lake.engine.timeline(GREEN).snapshots]
    assert times == sorted(set(times))  # a commit is never stamped earlier than the one it follows
    months.ends_well()


def test_loader_whose_clock_the_object_store_refuses(
    lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = get_current_datetime() - timedelta(hours=1)
    with monkeypatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: then)
        error = months.refused("loader's requests signed an hour ago", months.load)

    assert isinstance(error, LandingError)
    assert "clock" in str(error)
    months.is_as_it_was()
    months.ends_well()


@contextmanager
def trino_killed(lake: Lake, statement: str) -> Iterator[None]:
    """Trino is killed once `statement` is running for a second, and is up again afterwards."""
    container = lake.stack.container("trino")
    watcher = TrinoEngine(lake.settings)

    def is_running() -> bool:
        running = watcher.query(
            "select count(*) n from system.runtime.queries where state = 'RUNNING' and starts_with(query, ?) "
            "and date_diff('millisecond', created, now()) > 1000",
            [statement[:40]],
        )
        return bool(running["n"][0].as_py())

    def kill() -> None:
        within(60, is_running, every=0.1)
        container.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        killer.join()
        watcher.close()
        container.start()
        lake.stack.wait_until_ready()
