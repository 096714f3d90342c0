"""`lakehouse doctor`: what this machine lacks for the target, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import httpx

from lakehouse.dagster_home import NAME, fault, is_tracked, tracked_file, way_out
from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Query
from lakehouse.errors import BoundaryError, LakehouseError, SettingsError, SourceError, UnreachableError
from lakehouse.network import proxy_for
from lakehouse.settings import BUCKET_SCHEME, Settings, project_dir, variable
from lakehouse.sources.download import OVERLOADED, is_busy, open_client
from lakehouse.sources.patience import Patience
from lakehouse.sources.search import contents
from lakehouse.sources.site import source_folder

if TYPE_CHECKING:
    from lakehouse.sources.search import AnyPath

GIB = 1 << 30
DISK_GIB, MEMORY_GIB = 2, 6
SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `missing` stops the target from working, `warn` may do so later."""

    what: str
    state: Literal["ok", "warn", "missing"]
    found: str
    way_out: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at all that the target needs. Asks the services and the publisher, changes nothing."""
    findings = [_python(), _disk(settings), _dagster_home(), _source(settings), *_databases(), _engine_packages()]
    if settings.target == "trino":
        findings += [_docker(), _memory(), *_services(settings)]
    return [*findings, *_lakehouse(settings)]


def _lakehouse(settings: Settings) -> list[Finding]:
    """Whether home, bucket and catalog are of one lakehouse and whole; nothing before the first load."""
    from lakehouse.iceberg.catalog import open_catalog, service_errors  # noqa: PLC0415 - slow to import
    from lakehouse.iceberg.identity import LAYERS, check_pair, in_catalog, is_new  # noqa: PLC0415
    from lakehouse.iceberg.timeline import skew  # noqa: PLC0415

    if is_new(settings):
        return []
    try:
        catalog = open_catalog(settings)
        with service_errors(catalog):
            check_pair(settings, catalog)
            present = {".".join(namespace) for namespace in catalog.list_namespaces()}
            names = [name for space in LAYERS if space in present for name in catalog.list_tables(space)]
            clocks = [warning for name in names if (warning := skew(catalog.load_table(name)))]
            identity = in_catalog(catalog)
    except BoundaryError as error:
        return [Finding("lakehouse", "missing", error.found, error.fix)]
    except LakehouseError as error:
        return [Finding("lakehouse", "missing", str(error), "")]
    if identity is None:
        return []
    fix = "Correct the clocks of the machines that write to this lakehouse."
    return [
        Finding("lakehouse", "ok", f"{identity.place}, {len(names)} tables, all here"),
        *(Finding("clock", "warn", warning, fix) for warning in clocks),
    ]


def _python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Finding("Python", "ok", version)
    return Finding("Python", "missing", version, "Use Python 3.11, 3.12 or 3.13: dagster-dbt supports no other yet.")


def _disk(settings: Settings) -> Finding:
    place = settings.home
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return Finding("LAKEHOUSE_HOME", "missing", f"{place} is a file", "Set LAKEHOUSE_HOME to a folder.")
    free = shutil.disk_usage(place).free / GIB
    found = f"{free:.1f} GiB free for {settings.home}"
    if not os.access(place, os.W_OK):
        return Finding(
            "LAKEHOUSE_HOME",
            "missing",
            f"you may not write to {place}",
            "Set LAKEHOUSE_HOME to a folder that you may write to.",
        )
    if free < DISK_GIB:
        return Finding(
            "disk",
            "warn",
            found,
            f"A year of yellow trips needs {DISK_GIB} GiB: free space, or set LAKEHOUSE_HOME to a larger disk.",
        )
    return Finding("disk", "ok", found)


def _dagster_home() -> Finding:
    home = variable("DAGSTER_HOME")
    expected = project_dir() / ".dagster"
    if not home:
        return Finding("DAGSTER_HOME", "warn", "not set, so Dagster would forget its runs", way_out())
    path = Path(home)
    if found := fault(path):
        return Finding("DAGSTER_HOME", "missing", found, way_out())
    if path.resolve() != expected.resolve() and path.name == ".dagster":
        return Finding("DAGSTER_HOME", "warn", f"{home} is not in this project; was the project moved?", way_out())
    if not is_tracked(path):
        own = tracked_file().relative_to(project_dir())
        found, fix = f"{path / NAME} is missing", f"Run `make dev`, which links it to {own}."
        if (path / NAME).exists():
            found = f"{path / NAME} is not {own} of the project"
            fix = "Move your lines into that file, remove the other one, and run `make dev`."
        return Finding("DAGSTER_HOME", "warn", found, fix)
    return Finding("DAGSTER_HOME", "ok", home)


def _source_folder(folder: AnyPath) -> Finding:
    """What a source folder holds, on a disk or in a bucket."""
    try:
        found = contents(folder)
    except SourceError as error:
        state: Literal["warn", "missing"] = "warn" if isinstance(error, UnreachableError) else "missing"
        return Finding("TLC_SOURCE", state, f"{folder} can't be searched", str(error))
    parts = {dataset: parts for dataset, parts in found.items() if parts}
    lookup = "the zone lookup" if "zones" in found else "no zone lookup"
    held = [f"{dataset}: {len(m)} ({m[0]} to {m[-1]})" for dataset, m in sorted(parts.items())]
    if found:
        return Finding("TLC_SOURCE", "ok", f"{folder} holds files of {', '.join(held) or 'nothing'}; {lookup}")
    return Finding(
        "TLC_SOURCE",
        "warn",
        f"{folder} holds no file with a published name",
        "Put files there, such as yellow_tripdata_2024-01.parquet and taxi_zone_lookup.csv, or set TLC_SOURCE to "
        "another folder.",
    )


def _source(settings: Settings) -> Finding:
    source = settings.tlc_source
    if source.startswith(BUCKET_SCHEME):
        from lakehouse.sources.objects import open_bucket  # noqa: PLC0415 - boto3 is slow to import

        return _source_folder(open_bucket(source, settings))
    if not source.startswith(("http://", "https://")):
        folder = source_folder(source)
        if folder.is_dir():
            return _source_folder(folder)
        return Finding(
            "TLC_SOURCE",
            "missing",
            f"{source} is not a folder",
            "Set TLC_SOURCE to a folder or bucket that holds published files, or to a base URL.",
        )
    return _site(source)


def _site(source: str) -> Finding:
    try:
        with open_client(Patience(connect=SECONDS, silence=SECONDS)) as client:
            answer = client.head(f"{source.rstrip('/')}/misc/taxi_zone_lookup.csv")
    except SettingsError as error:  # a proxy or certificates of no use
        return Finding("TLC_SOURCE", "warn", str(error), "Files that are landed can still be loaded.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(
            "TLC_SOURCE",
            "warn",
            f"{source} can't be reached ({type(error).__name__}: {error})",
            "Files that are landed can still be loaded. For new files, check the network, or set TLC_SOURCE to a "
            "folder.",
        )
    status = answer.status_code
    if answer.is_success:
        return Finding("TLC_SOURCE", "ok", f"{source} answers")
    if is_busy(status):
        return Finding("TLC_SOURCE", "warn", f"{source} answers {status}", OVERLOADED)
    has, fix = "has no", "Set TLC_SOURCE to the publisher's base URL."
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        has, fix = "does not give the", f"{fix} If it is that, see that the server gives its files without a login."
    return Finding("TLC_SOURCE", "warn", f"{source} {has} zone lookup, it answers {status}", fix)


def _databases() -> list[Finding]:
    """Whether the database of each dataset that declares one answers, and has its table and columns."""
    return [_database(dataset, dataset.source) for dataset in DATASETS.values() if dataset.source]


def _database(dataset: Dataset, query: Query) -> Finding:
    from lakehouse.sources.query import QuerySource  # noqa: PLC0415 - slow to import

    try:
        return Finding(query.database, "ok", f"{dataset.name}: {QuerySource(dataset, query).check()}")
    except LakehouseError as error:
        return Finding(query.database, "warn", str(error), "Files that are landed can still be loaded.")


def _engine_packages() -> Finding:
    import duckdb  # noqa: PLC0415 - slow to import
    import pyarrow as pa  # noqa: PLC0415
    import pyiceberg  # noqa: PLC0415

    return Finding(
        "packages", "ok", f"pyiceberg {pyiceberg.__version__}, pyarrow {pa.__version__}, duckdb {duckdb.__version__}"
    )


def _docker() -> Finding:
    way_out = (
        "Install Docker Engine with the compose plugin, or point TRINO_URL, REST_URL and S3_URL at running services."
    )
    if not shutil.which("docker"):
        return Finding("Docker", "warn", "not installed", way_out)
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            command, capture_output=True, text=True, timeout=2 * SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("Docker", "warn", "the engine does not answer", "Restart the Docker engine.")
    if done.returncode:
        return Finding("Docker", "warn", "the engine does not answer", "Start the Docker engine. " + way_out)
    return Finding("Docker", "ok", f"engine {done.stdout.strip()}")


def memory_gib() -> float | None:
    """The memory of this machine, in GiB; None where the system does not tell it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):
        return None


def _memory() -> Finding:
    size = memory_gib()
    if size is None:
        return Finding("memory", "warn", "unknown on this system", f"The services in Docker need {MEMORY_GIB} GiB.")
    if size < MEMORY_GIB:
        return Finding(
            "memory",
            "warn",
            f"{size:.1f} GiB",
            f"The services in Docker need {MEMORY_GIB} GiB. With less, use LAKEHOUSE_TARGET=embedded.",
        )
    return Finding("memory", "ok", f"{size:.1f} GiB")


def _services(settings: Settings) -> list[Finding]:
    asked: tuple[tuple[str, str, str, Callable[[Settings], str]], ...] = (
        ("Iceberg REST catalog", "REST_URL", settings.rest_url, _ask_catalog),
        ("object store", "S3_URL", settings.s3_url, _ask_store),
        ("Trino", "TRINO_URL", settings.trino_url, _ask_trino),
    )
    return [_service(settings, *one) for one in asked]


def _service(settings: Settings, what: str, variable: str, url: str, ask: Callable[[Settings], str]) -> Finding:
    # As the clients go: through a proxy, the address itself may not be reached from here.
    if proxy_for(url) is None and not _listens(url):
        return Finding(
            what, "missing", f"no service answers at {url}", f"Start it (`make stack-up`), or correct {variable}."
        )
    try:
        return Finding(what, "ok", f"{url}: {ask(settings)}")
    except LakehouseError as error:
        return Finding(what, "missing", f"{url}: {error}", f"See `docker compose logs`, or correct {variable}.")


def _listens(url: str) -> bool:
    """Whether anything takes connections there."""
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=SECONDS):
            return True
    except OSError:
        return False


def _ask_catalog(settings: Settings) -> str:
    from lakehouse.iceberg.catalog import open_catalog, service_errors  # noqa: PLC0415 - slow to import

    catalog = open_catalog(settings)
    with service_errors(catalog):
        return f"{len(catalog.list_namespaces())} namespaces"


def _ask_store(settings: Settings) -> str:
    from lakehouse.landing import open_landing  # noqa: PLC0415 - slow to import

    return f"{len(open_landing(settings).listing())} landed files"


def _ask_trino(settings: Settings) -> str:
    from lakehouse.engines import open_engine  # noqa: PLC0415 - slow to import

    engine = open_engine(settings)
    try:
        return f"version {engine.query('select node_version from system.runtime.nodes')['node_version'][0].as_py()}"
    finally:
        engine.close()
