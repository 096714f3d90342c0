"""What killed loads leave is removed by age and named; what a process uses stays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from moto import mock_aws
from tests.buckets import bucket_settings
from tests.lake import Lake
from tests.loads import landing_process

from lakehouse.cli import app
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.landing.bucket import BucketLanding
from lakehouse.landing.land import land
from lakehouse.landing.store import LOCK
from lakehouse.leftovers import Leftover, remove_leftovers
from lakehouse.locks import held
from lakehouse.settings import Settings, load_settings
from lakehouse.synthetic.generate import write_month

AGE, NOW = timedelta(days=3), timedelta(0)
LEFT = (
    "landing/.staging/green_tripdata_2024-01.parquet",
    "landing/.staging/green_tripdata_2024-01.parquet.part",
    "landing/.staging/green_tripdata_2024-01.parquet.part.json",
    "landing/.staging/demo-ab12/green_trips/green_tripdata_2024-01.parquet",
    "landing/green_trips/.landing-0a1b",
    "landing/green_trips/versions/ff00/.landing-2c3d",
    "staging/landed-xy/green_tripdata_2024-01.parquet",
    "tmp/duckdb_temp_storage_DEFAULT-0.tmp",
    "dbt/runs/0a1b2c3d-0/dbt.log",
    "dbt/tmpabcdefgh/manifest.json",
)
KEPT = (
    "landing/.staging/green_tripdata_2024-01.parquet.lock",
    "landing/green_trips/.lock",
    "landing/green_trips/green_tripdata_2024-01.parquet",
    "landing/green_trips/green_tripdata_2024-01.parquet.json",
    "landing/green_trips/versions/ff00/green_tripdata_2024-01.parquet",
    "dbt/embedded/run_results.json",
    "dbt/manifest-embedded-0123456789abcdef.json",
    "catalog.db",
    "warehouse/raw/green_trips/data/x.parquet",
)


def make(home: Path, *names: str) -> None:
    for name in names:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")


def grow_old(home: Path, days: float = 4) -> None:
    then = datetime.now(UTC).timestamp() - days * 86_400
    for path in sorted(home.rglob("*"), reverse=True):
        os.utime(path, (then, then), follow_symlinks=False)


@pytest.fixture
def home(lake: Lake) -> Path:
    home = lake.settings.home
    make(home, *LEFT, *KEPT)
    return home


def gone(home: Path) -> set[str]:
    return {name for name in (*LEFT, *KEPT) if not (home / name).exists()}


def test_what_killed_loads_leave_goes_and_is_named(lake: Lake, home: Path) -> None:
    grow_old(home)

    removed = remove_leftovers(lake.settings, AGE)

    assert gone(home) == set(LEFT)
    assert len(removed) == len(LEFT)
    assert Leftover(str(home / "landing/.staging/demo-ab12"), 5) in removed
    assert Leftover(str(home / "landing/green_trips/.landing-0a1b"), 5) in removed


def test_young_leftovers_stay(lake: Lake, home: Path) -> None:
    assert remove_leftovers(lake.settings, AGE) == []
    assert gone(home) == set()


def test_a_folder_with_one_young_file_stays(lake: Lake, home: Path) -> None:
    grow_old(home)
    make(home, "dbt/runs/0a1b2c3d-0/dbt.log")

    remove_leftovers(lake.settings, AGE)

    assert (home / "dbt/runs/0a1b2c3d-0/dbt.log").exists()


def test_what_a_lock_protects_stays_however_old(lake: Lake, home: Path) -> None:
    make(home, f"landing/.staging/demo-ab12/{LOCK}")
    grow_old(home)

    with (
        held(home / "landing/.staging/green_tripdata_2024-01.parquet.lock", "It"),
        held(home / "landing/green_trips/.lock", "It"),
        held(home / f"landing/.staging/demo-ab12/{LOCK}", "It"),
    ):
        grow_old(home)
        remove_leftovers(lake.settings, NOW)

    assert gone(home).isdisjoint(LEFT[:6])
    assert gone(home) == set(LEFT[6:])


def test_a_link_is_removed_and_not_what_it_leads_to(lake: Lake, tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/precious")
    (lake.settings.home / "tmp").mkdir(parents=True)
    (lake.settings.home / "tmp" / "link").symlink_to(tmp_path / "elsewhere")

    (removed,) = remove_leftovers(lake.settings, NOW)

    assert removed.path.endswith("tmp/link")
    assert (tmp_path / "elsewhere" / "precious").exists()


def test_an_empty_lakehouse_has_none(lake: Lake) -> None:
    assert remove_leftovers(lake.settings, NOW) == []


def test_a_load_killed_while_it_lands_leaves_nothing_for_long(lake: Lake, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_month(source / "green_tripdata_2024-01.parquet", "green", Month(2024, 1), 1_000)
    settings = {"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": str(lake.settings.home), "TLC_SOURCE": str(source)}
    with landing_process(settings, "green", "2024-01") as process:
        assert remove_leftovers(lake.settings, NOW) == []  # the process holds the lock of its file
        process.kill()
        process.wait()

    removed = remove_leftovers(lake.settings, NOW)

    assert "green_tripdata_2024-01.parquet" in {Path(one.path).name for one in removed}
    assert [path.name for path in lake.landing.staging.iterdir()] == ["green_tripdata_2024-01.parquet.lock"]
    assert land(lake.landing, str(source), DatasetFile("green", Month(2024, 1))) == lake.landing.find(
        DatasetFile("green", Month(2024, 1))
    )


class TestBucket:
    """What a killed load leaves of a landing zone in a bucket."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Iterator[Settings]:
        with mock_aws():
            yield bucket_settings(tmp_path)

    def test_uploads_that_never_ended_are_given_up(self, settings: Settings) -> None:
        landing = BucketLanding(settings)
        landing.store.ensure_bucket()
        ours = ("raw_data/green_trips/green_tripdata_2024-01.parquet", "iceberg/raw/green_trips/data/x.parquet")
        for key in (*ours, "somebody/else.bin"):
            landing.store.s3.create_multipart_upload(Bucket="warehouse", Key=key)

        assert landing.store.abort_uploads(datetime(2000, 1, 1, tzinfo=UTC)) == []
        removed = remove_leftovers(settings, NOW)

        assert [one.path for one in removed] == [f"s3://warehouse/{key}" for key in sorted(ours)]
        (left,) = landing.store.s3.list_multipart_uploads(Bucket="warehouse")["Uploads"]
        assert left["Key"] == "somebody/else.bin"

    def test_a_bucket_that_does_not_exist_yet_has_none(self, settings: Settings) -> None:
        assert remove_leftovers(settings, NOW) == []

    def test_a_copy_that_a_load_reads_stays(self, settings: Settings, tmp_path: Path) -> None:
        landing = BucketLanding(settings)
        make(tmp_path, "incoming")
        landed = landing.put(DatasetFile("green", Month(2024, 1)), tmp_path / "incoming", "o")

        with landing.local(landed) as path:
            grow_old(settings.home)
            assert remove_leftovers(settings, NOW) == []
            assert path.exists()


def test_maintain_names_leftovers_in_both_outputs(
    lake: Lake, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "catalog.db").unlink()  # no catalog, only a file of that name
    monkeypatch.setenv("LAKEHOUSE_HOME", str(home))
    monkeypatch.setenv("LAKEHOUSE_TARGET", "embedded")
    load_settings.cache_clear()
    grow_old(home)
    app(["maintain", "--json"], standalone_mode=False)
    (entry,) = json.loads(capsys.readouterr().out)
    make(home, LEFT[0])
    grow_old(home)
    app(["maintain"], standalone_mode=False)

    assert entry["table"] is None
    assert entry["removed_files"] == len(LEFT)
    assert {"path": str(home / LEFT[0]), "bytes": 5} in entry["leftovers"]
    assert f"removed leftover {home / LEFT[0]} (5 bytes)" in capsys.readouterr().out
    assert lake.landing.staging.exists()
