"""What is said of a catalog or store that fails names it, and none of its secrets."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import DatabaseError, OperationalError
from tests.lake import Lake
from tests.unit.failing_catalog import failing_catalog

from lakehouse.cli.doctor import examine
from lakehouse.engines import open_engine
from lakehouse.errors import BoundaryError, LakehouseError, ServiceError
from lakehouse.frames.reading import Selection
from lakehouse.iceberg.catalog import damaged, open_catalog, service_errors
from lakehouse.iceberg.tables import ensure_raw_tables
from lakehouse.settings import Settings

SECRET = "secret-of-the-loader"


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Settings]:
    """Settings whose catalog fails."""
    with failing_catalog() as url:
        yield Settings(
            LAKEHOUSE_TARGET="trino",
            LAKEHOUSE_HOME=tmp_path,
            REST_URL=url,
            S3_URL="http://127.0.0.1:9",
            S3_SECRET_KEY=SecretStr(SECRET),
        )


def test_a_catalog_or_store_that_fails_is_named_and_its_secret_is_not(failing: Settings) -> None:
    catalog = open_catalog(failing)

    with pytest.raises(ServiceError) as of_catalog, service_errors(catalog):
        catalog.load_table("raw.green_trips")
    with pytest.raises(ServiceError) as of_store, service_errors(catalog):
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation")

    assert failing.rest_url in str(of_catalog.value)
    assert failing.s3_url in str(of_store.value)
    assert SECRET not in f"{of_catalog.value} {of_store.value} {catalog!r} {failing!r}"


def test_what_answers_and_is_no_catalog_is_told(failing: Settings) -> None:
    settings = failing.model_copy(update={"rest_url": f"{failing.rest_url}/console"})

    with pytest.raises(ServiceError, match=rf"{settings.rest_url} is no Iceberg REST catalog.*REST_URL"):
        open_catalog(settings)


def test_a_catalog_that_answers_with_an_error_is_not_called_away(failing: Settings) -> None:
    settings = failing.model_copy(update={"rest_url": f"{failing.rest_url}/elsewhere"})

    with pytest.raises(ServiceError, match=r"answered with an error \(ServerError: .*no disk.* look at the catalog's"):
        open_catalog(settings)


def test_a_catalog_that_answers_with_a_page_is_told(failing: Settings) -> None:
    catalog = open_catalog(failing)

    with pytest.raises(ServiceError, match=r"is no Iceberg REST catalog.*Correct REST_URL"), service_errors(catalog):
        catalog.load_namespace_properties("console")


def test_doctor_tells_of_a_catalog_that_answers_and_fails(failing: Settings) -> None:
    settings = failing.model_copy(update={"tlc_source": str(failing.home)})

    (finding,) = [finding for finding in examine(settings) if finding.what == "Iceberg REST catalog"]

    assert finding.state == "missing"
    assert "no disk" in finding.found
    assert "REST_URL" in finding.way_out


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Settings of an `embedded` lakehouse."""
    return Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "home")


def test_a_home_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / "file" / "home")

    with pytest.raises(ServiceError, match=rf"in {settings.home} can't be used \(NotADirectoryError: .*LAKEHOUSE_HOME"):
        open_catalog(settings)


def test_a_catalog_file_that_is_none_is_named(home: Settings) -> None:
    home.home.mkdir()
    home.catalog_file.write_bytes(b"no database" * 1000)

    with pytest.raises(ServiceError, match=rf"catalog.db`\) of the lakehouse in {home.home} .*file is not a database"):
        open_catalog(home)


def test_a_catalog_that_another_process_holds_is_told(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.iceberg.catalog.SQLITE_SECONDS", 0.1)
    ensure_raw_tables(open_catalog(home))

    with closing(sqlite3.connect(home.catalog_file)) as other:
        other.execute("begin exclusive")
        with pytest.raises(ServiceError, match=r"database is locked.*Another process has locked the catalog"):
            open_catalog(home)

    assert ensure_raw_tables(open_catalog(home)) == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "Too many files are open.*ulimit -n"),
        (OSError(errno.ESTALE, "Stale file handle"), "Nothing proves that a file is damaged. Run"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "Nothing proves that a file is damaged. Run"),
        (OSError("Couldn't deserialize thrift"), "The file is damaged"),
        (EOFError("EOF: read 0 bytes"), "The file is damaged"),
        (DatabaseError("select", {}, sqlite3.DatabaseError("disk image is malformed")), "The file is damaged"),
        (OperationalError("select", {}, sqlite3.OperationalError("interrupted")), "Nothing proves that"),
    ],
)
def test_an_error_of_the_system_proves_no_damage(home: Settings, error: Exception, says: str) -> None:
    with pytest.raises(ServiceError, match=says), service_errors(open_catalog(home)):
        raise error


def test_a_file_that_only_could_not_be_opened_is_not_called_damaged(home: Settings) -> None:
    error = damaged(home, "A file of raw.green_trips", OSError("IO Error: Cannot open file: Too many open files"))

    assert "ulimit -n" in str(error)
    assert "damaged" not in str(error)


@pytest.mark.parametrize("content", [None, b"", b"{}"], ids=["gone", "empty", "nonsense"])
def test_each_reader_tells_of_a_lost_or_damaged_metadata_file(home: Settings, content: bytes | None) -> None:
    ensure_raw_tables(open_catalog(home))
    (metadata,) = (home.warehouse_dir / "raw" / "green_trips" / "metadata").glob("*.json")
    metadata.unlink() if content is None else metadata.write_bytes(content)
    engine = open_engine(home)

    for ask in (
        lambda: open_catalog(home).load_table("raw.green_trips"),
        lambda: ensure_raw_tables(open_catalog(home)),
        lambda: engine.query("select count(*) from raw.green_trips"),
        lambda: engine.part_files("raw.green_trips"),
    ):
        with pytest.raises(LakehouseError, match=rf"lakehouse in {home.home} (is incomplete|can't be used)"):
            ask()


@pytest.mark.parametrize(
    ("files", "share"),
    [("metadata/*-m0.avro", 0.5), ("metadata/snap-*.avro", 0), ("data/**/*.parquet", 0.5), ("data/**/*.parquet", None)],
)
def test_a_damaged_file_of_a_table_is_told(lake: Lake, files: str, share: float | None) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    (path,) = (lake.settings.warehouse_dir / "raw" / "green_trips").glob(files)
    content = path.read_bytes()
    path.unlink()
    if share is not None:
        path.write_bytes(content[: int(len(content) * share)])

    for ask in (
        lambda: lake.engine.query("select count(*) from raw.green_trips"),
        lambda: Selection(lake.catalog, "raw.green_trips").table(),
        lambda: list(Selection(lake.catalog, "raw.green_trips").batches()),
    ):
        with pytest.raises(BoundaryError, match=r"(missing or damaged|a file of a table is missing) .*put it back"):
            ask()


def test_a_manifest_that_is_gone_is_told(lake: Lake) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    for manifest in (lake.settings.warehouse_dir / "raw" / "green_trips" / "metadata").glob("*.avro"):
        manifest.unlink()

    for ask in (
        lambda: lake.engine.query("select count(*) from raw.green_trips"),
        lambda: lake.engine.part_files("raw.green_trips"),
        lambda: lake.load("green", "2024-01"),
    ):
        with pytest.raises(BoundaryError, match=rf"lakehouse in {lake.settings.home} is incomplete.*put it back"):
            ask()


def _first(settings: Settings, together: Barrier, said: SimpleQueue[str]) -> None:
    """Open a catalog and make its tables at the same moment as others do."""
    together.wait(60)
    try:
        ensure_raw_tables(open_catalog(settings))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to name it
        said.put(f"{type(error).__name__}: {error}")
    else:
        said.put("done")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("attempt", range(5))
def test_processes_that_begin_a_lakehouse_together_all_find_it_made(tmp_path: Path, attempt: int) -> None:
    settings = Settings(LAKEHOUSE_TARGET="embedded", LAKEHOUSE_HOME=tmp_path / str(attempt))
    forked = multiprocessing.get_context("fork")
    together, said = forked.Barrier(4), forked.SimpleQueue()

    processes = [forked.Process(target=_first, args=(settings, together, said)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    assert [said.get() for process in processes if process.exitcode == 0] == ["done"] * 4
    assert ensure_raw_tables(open_catalog(settings)) == []
