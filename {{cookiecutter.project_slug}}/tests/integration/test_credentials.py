"""Each user of the object store refused: one error that names its settings, soon, and nothing half done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.integration.faults import TRIES, Restatement
from tests.integration.lake import GREEN, Lake
from tests.integration.stack import SECRETS, Stack
from tests.integration.test_faults import before_commit

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import CommitError, LakehouseError, ServiceError
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.landing.bucket import BucketLanding
from lakehouse.loading.load import load

READ = f"select sum(total_amount) from {GREEN}"
UPDATE = f"update {GREEN} set total_amount = total_amount + 1"


@pytest.fixture(autouse=True, params=range(TRIES), ids=lambda n: f"try{n + 1}")
def attempt(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def months(lake: Lake, record_property: Callable[[str, object], None]) -> Restatement:
    return Restatement(lake, record_property)


def switch(stack: Stack, action: str, user: str) -> None:
    """`disable` or `enable` a user of the object store, by the client that the setup uses."""
    root = "http://$MINIO_ROOT_USER:$MINIO_ROOT_PASSWORD@127.0.0.1:9000"
    script = f'MC_CONFIG_DIR=/tmp/.mc MC_HOST_store="{root}" exec mc -q admin user {action} store "$0"'
    done = stack.container("object-store").exec_run(["sh", "-c", script, user])
    assert done.exit_code == 0, done.output


@contextmanager
def without(lake: Lake, user: str) -> Iterator[None]:
    """A user of the object store is refused meanwhile, and welcome again afterwards."""
    switch(lake.stack, "disable", user)
    try:
        yield
    finally:
        switch(lake.stack, "enable", user)


def names(error: LakehouseError, prefix: str, stack: Stack) -> bool:
    """Whether it says which settings are wrong, and no secret."""
    assert not [name for name in SECRETS if stack.environment[name] in str(error)]
    return {f"{prefix}_ACCESS_KEY", f"{prefix}_SECRET_KEY"} <= set(re.findall(r"\w+", str(error)))


def test_keys_of_the_loader_that_open_the_landing_zone_alone(lake: Lake, months: Restatement) -> None:
    right = lake.settings
    wrong = lake.stack.settings(right.home, S3_SECRET_KEY="wrong")

    error = months.refused(
        "wrong credentials of the loader, for tables",
        lambda: load(open_catalog(wrong), BucketLanding(right), DatasetFile("green", Month(2023, 1))),
    )

    assert isinstance(error, ServiceError)
    assert names(error, "S3", lake.stack)
    months.is_as_it_was()
    months.ends_well()


def test_loader_that_is_refused_from_the_commit_on(
    lake: Lake, months: Restatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        with before_commit(monkeypatch, lambda: switch(lake.stack, "disable", "loader")):
            error = months.refused("loader's user refused at the commit", months.load)
    finally:
        switch(lake.stack, "enable", "loader")

    assert isinstance(error, CommitError)
    assert names(error, "S3", lake.stack)
    months.is_as_it_was()
    months.ends_well()


def test_catalog_that_the_object_store_refuses(lake: Lake, months: Restatement) -> None:
    with without(lake, "catalog"):
        loading = months.refused("catalog's user refused: a load", months.load)
        asking = months.refused("catalog's user refused: a query", lambda: lake.engine.query(READ))
        making = months.refused(
            "catalog's user refused: a new table", lambda: lake.engine.query("create table gold.made as select 1 as n")
        )

    for error in (loading, asking, making):
        assert isinstance(error, ServiceError)
        assert names(error, "CATALOG_S3", lake.stack), str(error)
    assert ("gold", "made") not in lake.catalog.list_tables("gold")
    months.is_as_it_was()
    months.ends_well()


def test_trino_that_the_object_store_refuses(lake: Lake, months: Restatement) -> None:
    with without(lake, "trino"):
        months.load()  # Trino keeps small files that it has read in its memory: it has not read these
        asking = months.refused("Trino's user refused: a query", lambda: lake.engine.query(READ))
        writing = months.refused("Trino's user refused: an update", lambda: lake.engine.query(UPDATE))

    for error in (asking, writing):
        assert isinstance(error, ServiceError)
        assert names(error, "TRINO_S3", lake.stack), str(error)
    assert len(lake.engine.timeline(GREEN).snapshots) == 3  # the update is none of them
    months.ends_well()
