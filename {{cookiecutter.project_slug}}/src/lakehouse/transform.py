"""Raw to gold: one run of dbt, in a process of its own, with what it needs checked first and its results read after."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyiceberg.catalog import Catalog

from lakehouse import dbt_process
from lakehouse.datasets.registry import DATASETS, dataset_named, monthly
from lakehouse.dbt_environment import build_environment, build_lock, dbt_environment, target_path
from lakehouse.dbt_start import Dbt
from lakehouse.engines import engine_lost, open_engine
from lakehouse.errors import LockedError, OvertakenError, ServiceError, TransformError
from lakehouse.iceberg.catalog import open_catalog, service_errors
from lakehouse.iceberg.tables import ensure_raw_tables, is_empty
from lakehouse.iceberg.timeline import skew
from lakehouse.locks import held
from lakehouse.settings import Settings
from lakehouse.tested import begin, enabled, model_versions_of, note, nothing_new, warning_of
from lakehouse.tested_parts import tables_read

Tell = Callable[[str], None]
Done = TypeVar("Done")

_ENDING = 10.0  # seconds that a dbt whose parent was killed has to end
_FAILED = frozenset({"error", "fail", "runtime error", "partial success"})
_BUILT = frozenset({"model", "seed"})
_LINES_SHOWN = 25
BUILDS = 3  # attempts in all, where another process is quicker
# The longest that a build waits for another one, where waiting is wanted.
BUILD_WAIT_SECONDS = 2 * 60 * 60.0
# In DuckDB's words, and in Trino's.
_NO_SUCH_TABLE = re.compile(r"Table with name \S+ does not exist|name=TABLE_NOT_FOUND")
# Names that mean one node and nothing else in a selection of dbt's.
_SELECTABLE = re.compile(r"(model|seed)\.\w+\.\w+|test\.\w+\.\w+(\.[0-9a-f]{10})?")
_MERGED = re.compile(r"[\d,]+ inserted, [\d,]+ updated, [\d,]+ unchanged")
_LOST_RACE = re.compile("name=ICEBERG_COMMIT_ERROR|another process wrote the table")


@dataclass(frozen=True)
class BuildResult:
    """What one build did. Names are `schema.table` for models and seeds, dbt's own for tests.

    `merged` says of each model that is merged by key how many rows came, changed and stayed. `nothing_new_since` is the
    time (UTC, ISO 8601) of the build that made silver and gold as they would be again: then dbt did not run.
    `unit_tests_not_run` counts those of the models that were built, if unit tests were not asked for.
    `models_unchanged` and `tests_unchanged` count those that dbt was not asked for: what they read and make is as it
    was when they last passed. `warnings` has theirs too.
    """

    models: tuple[str, ...]
    tests: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    raw_snapshots: dict[str, int | None]
    raw_moved: tuple[str, ...]
    merged: tuple[str, ...] = ()
    nothing_new_since: str | None = None
    unit_tests_not_run: int = 0
    models_unchanged: int = 0
    tests_unchanged: int = 0


def build(
    settings: Settings,
    select: str | None = None,
    *,
    full_refresh: bool = False,
    again: bool = False,
    data_tests: bool = True,
    unit_tests: bool = False,
    wait: bool = False,
    progress: Tell | None = None,
    dbt: Dbt | None = None,
) -> BuildResult:
    """Make silver and gold and test them. Raw tables that don't exist are made, empty, first.

    If nothing is new since a build whose tests passed, dbt does not run: see `nothing_new` in tested.py. Else dbt is
    asked for what is new, and for all that reads it: see `begin` there. A selection is asked for as it is.

    Which months are built again is decided where dbt writes: `replace_changed_files` in dbt_duckdb/commit_model.py, and
    dbt/macros/engines.sql on Trino.

    Args:
        settings: of the target.
        select: dbt's selection; everything without it.
        full_refresh: rebuild every month of silver, not only those whose bytes changed. A table whose SQL, vars or
            seeds changed is rebuilt without it.
        again: ask dbt for everything even if nothing is new, and let each test look at all months and days.
        data_tests: run dbt's tests of the data.
        unit_tests: run dbt's unit tests too, each before its model: if one fails, the model is not built. They say
            something about the SQL, not about the data.
        wait: wait for another build of this lakehouse, up to two hours, instead of failing.
        progress: called with a line for each model and test that is done.
        dbt: one that may have been started already.

    Raises:
        OvertakenError: a model or test failed, and tables changed meanwhile, so another build may pass.
        TransformError: a model or test failed or did not run; the message names each. Or nothing was selected, the
            zone lookup is missing, or another build of this lakehouse is running; the message names its process.
        ServiceError: the catalog or Trino does not answer, or Trino went away.
    """
    started = time.monotonic()
    catalog = _checked(settings)
    with only_build(settings, BUILD_WAIT_SECONDS if wait else 0.0), ExitStack() as own:
        dbt = dbt or own.enter_context(Dbt(settings))
        before = raw_snapshots(catalog)
        clocks = _clock_warnings(catalog)
        if not (again or full_refresh or unit_tests) and (
            found := nothing_new(settings, catalog, select=select, data_tests=data_tests)
        ):
            return BuildResult(
                models=(),
                tests=(),
                warnings=(*clocks, *found.warnings),
                seconds=time.monotonic() - started,
                raw_snapshots=before,
                raw_moved=(),
                nothing_new_since=found.at,
            )
        dbt.start()
        _ask_engine(settings)
        begun = begin(settings, catalog, all_parts=again or full_refresh)
        folder = target_path(settings)
        kinds = _BUILT | {"test"} if data_tests else _BUILT
        stale = frozenset[str]()
        if not (select or unit_tests):
            stale = _by_name(name for name in begun.stale or () if name.split(".")[0] in kinds)
        arguments = _arguments(folder, select, stale, full_refresh=full_refresh)
        for kind, wanted in (("test", data_tests), ("unit_test", unit_tests)):
            arguments += [] if wanted else ["--exclude-resource-type", kind]
        results, manifest = _run(
            settings,
            dbt,
            arguments,
            environment=build_environment(settings) | begun.environment,
            folder=folder,
            progress=progress,
        )
        all_nodes = {name for name in enabled(manifest) if name.split(".")[0] in kinds}
        unchanged = all_nodes - stale if stale else set[str]()
        if select is None:
            _refuse_incomplete(all_nodes - unchanged, results)
        raise_failures(results, folder, note(settings, catalog, manifest, results, begun))
        after = raw_snapshots(catalog)
    if not results:
        raise TransformError(
            f"{select!r} selects no model, seed or test with a table of its own, so nothing was built. Give a model's "
            "name, such as fct_daily_trips, or +fct_daily_trips to build its parents too."
            + ("" if unit_tests else " Unit tests run with --unit-tests only.")
        )
    return BuildResult(
        models=tuple(_name(r) for r in results if _kind(r) in _BUILT),
        tests=tuple(_name(r) for r in results if _kind(r) in {"test", "unit_test"} and r["status"] == "pass"),
        warnings=(
            *clocks,
            *(begun.warnings if unchanged and data_tests else ()),
            *(warning_of(r["node"], r) for r in results if r["status"] == "warn"),
        ),
        seconds=time.monotonic() - started,
        raw_snapshots=before,
        raw_moved=tuple(table for table in before if before[table] != after[table]),
        merged=tuple(f"{_name(r)}: {counts[0]}" for r in results if (counts := _MERGED.search(str(r["message"])))),
        unit_tests_not_run=0 if unit_tests else _unit_tests(manifest, results),
        models_unchanged=sum(not name.startswith("test.") for name in unchanged),
        tests_unchanged=sum(name.startswith("test.") for name in unchanged),
    )


def repeated(do: Callable[[], Done]) -> Done:
    """Build, and again where another process changed tables meanwhile: three times at most.

    Raises:
        OvertakenError: they changed each time.
    """
    for _ in range(BUILDS - 1):
        try:
            return do()
        except OvertakenError as error:
            logging.getLogger(__name__).warning("%s Building again.", error.found)
    return do()


@contextmanager
def prepared(settings: Settings, *, wait: float = 0.0) -> Iterator[Catalog]:
    """What every run of dbt needs: raw tables, the zone lookup, and no other build at the same time.

    Waits up to `wait` seconds for another build.

    Raises:
        TransformError: trips are loaded and the zone lookup is not, or another build is running.
        ServiceError: the catalog or Trino does not answer.
    """
    catalog = _checked(settings)
    with only_build(settings, wait):
        _ask_engine(settings)
        yield catalog


def _checked(settings: Settings) -> Catalog:
    """The catalog, with all raw tables made and the zone lookup loaded.

    Raises:
        TransformError: trips are loaded and the zone lookup is not.
        ServiceError: the catalog does not answer.
    """
    catalog = open_catalog(settings)
    with service_errors(catalog):
        ensure_raw_tables(catalog)
        _refuse_without_zones(catalog)
    return catalog


def _ask_engine(settings: Settings) -> None:
    """Where no engine answers, dbt would say it with each model, and at length."""
    with closing(open_engine(settings)) as engine:
        engine.query("select 1")


def build_beside(
    settings: Settings, prefix: str, raw: Mapping[str, int | None], select: str, progress: Tell | None = None
) -> dict[str, str]:
    """Build models from raw tables as they were, into schemas beside silver and gold. Tests don't run.

    Args:
        settings: of the target.
        prefix: what the names of these schemas begin with.
        raw: the snapshot of each raw table; None stands for a table without rows.
        select: dbt's selection.
        progress: called with a line for each model that is done.

    Returns:
        For each table, `schema.table` without the prefix, the version of the model that made it.

    Raises:
        TransformError: a model failed; the message names each.
        ServiceError: Trino went away.
    """
    folder = settings.home / "dbt" / "runs" / prefix.strip("_")
    environment = dbt_environment(settings) | {
        "LAKEHOUSE_DBT_PREFIX": prefix,
        "LAKEHOUSE_DBT_RAW_AT": json.dumps(dict(raw)),
    }
    arguments = _arguments(folder, select, full_refresh=False)
    arguments += ["--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]
    with Dbt(settings) as dbt:
        results, manifest = _run(settings, dbt, arguments, environment=environment, folder=folder, progress=progress)
    raise_failures(results, folder)
    shutil.rmtree(folder, ignore_errors=True)
    return {name.removeprefix(prefix): version for name, version in model_versions_of(manifest).items()}


def _by_name(stale: Iterable[str]) -> frozenset[str]:
    """Nodes that dbt can be asked for by their names. None, which asks for all, if one has a name of other signs."""
    names = frozenset(stale)
    return names if all(_SELECTABLE.fullmatch(name) for name in names) else frozenset()


def _arguments(
    folder: Path, select: str | None, stale: AbstractSet[str] = frozenset(), *, full_refresh: bool
) -> list[str]:
    """Dbt's arguments for a selection or for nodes by dbt's names; without either, for all."""
    arguments = ["--no-use-colors", "--log-format", "json", "build", "--target-path", str(folder)]
    if select:
        arguments += ["--select", *select.split()]
    elif stale:  # and no test but those that are named
        arguments += ["--select", *sorted({name.split(".")[2] for name in stale}), "--indirect-selection", "empty"]
    if full_refresh:
        arguments.append("--full-refresh")
    return arguments


@contextmanager
def only_build(settings: Settings, wait: float) -> Iterator[None]:
    """Within it, no other process builds: two would write the same tables and the same target folder.

    Waits up to `wait` seconds for another build.

    This process holds one lock from the first check to the last, and dbt another for as long as it lives: a dbt whose
    parent was killed keeps the next build out until it has ended.
    """
    target_path(settings).mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with ExitStack() as locks:
        try:
            locks.enter_context(held(target_path(settings) / "build.lock", "The build of this lakehouse", wait=wait))
            with held(build_lock(settings), dbt_process.WHAT, wait=max(wait - (time.monotonic() - started), _ENDING)):
                pass  # no dbt is left of a killed build
        except LockedError as error:
            hint = "" if wait else " Without `--no-wait`, `lakehouse build` waits for it."
            raise TransformError(f"Another build of this lakehouse is running. {error}{hint}") from None
        yield


def _refuse_incomplete(asked: AbstractSet[str], results: list[dict[str, Any]]) -> None:
    """Refuse a build in which something that was asked for did not run: nothing may pass because it was left out.

    Raises:
        TransformError: names what did not run.
    """
    if any(result["status"] in _FAILED for result in results):
        return
    ran = {result["unique_id"] for result in results if result["status"] != "skipped"}
    if missing := sorted(asked - ran):
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise TransformError(
            f"dbt reported success, but did not run {len(missing)} of {len(asked)} models, seeds and tests: {names}. "
            "The others were run. Remove what leaves these out from dbt_project.yml or dbt/selectors.yml. Then build "
            "again."
        )


def raw_snapshots(catalog: Catalog) -> dict[str, int | None]:
    """The current snapshot of each raw table; None for one without.

    Raises:
        ServiceError: the catalog does not answer.
    """
    tables = [dataset.table for dataset in DATASETS.values()]
    with service_errors(catalog):
        return {name: catalog.load_table(name).metadata.current_snapshot_id for name in tables}


def _clock_warnings(catalog: Catalog) -> list[str]:
    """Of the raw tables, where clocks disagree."""
    with service_errors(catalog):
        found = [skew(catalog.load_table(dataset.table)) for dataset in DATASETS.values()]
    return [warning for warning in found if warning]


def _refuse_without_zones(catalog: Catalog) -> None:
    if is_empty(catalog, dataset_named("zones").table) and any(
        not is_empty(catalog, dataset.table) for dataset in monthly() if dataset.is_trips
    ):
        raise TransformError(
            "The zone lookup is empty, and gold joins trips with it. Nothing was built. Load it first: lakehouse "
            "load zones"
        )


def _run(
    settings: Settings,
    dbt: Dbt,
    arguments: list[str],
    *,
    environment: dict[str, str],
    folder: Path,
    progress: Tell | None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run dbt and give each node's result and the manifest, or raise with what it said where there are no results.

    Raises:
        ServiceError: Trino went away.
        TransformError: dbt did not come to run anything.
    """
    run_results = folder / "run_results.json"
    run_results.unlink(missing_ok=True)
    said: list[str] = []
    errors: list[str] = []
    with dbt.tell(arguments, environment) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        for line in process.stdout:
            event = _event(line)
            said.append(str(event["info"]["msg"]).strip())
            if event["info"].get("level") == "error":
                errors.append(said[-1])
            if progress and _outcome(event):
                progress(said[-1])
            if lost := lost_engine(settings, event):
                process.kill()
                raise lost
    if not run_results.exists():
        raise ended_early(process.returncode, errors or said, " and left no results")
    found, manifest = results_of(folder)
    if process.returncode and not any(r["status"] in _FAILED for r in found):
        # A model that can't be compiled is in the output and not among the results.
        raise ended_early(process.returncode, errors or said)
    return found, manifest


def results_of(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The results that a run of dbt left, each with its node and the tables that this reads, and the manifest."""
    found: list[dict[str, Any]] = json.loads((folder / "run_results.json").read_text(encoding="utf-8"))["results"]
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for result in found:
        result["node"] = manifest["nodes"].get(result["unique_id"], {})
        result["reads"] = tables_read(manifest["nodes"], result["unique_id"])
    return found, manifest


def ended_early(code: int, said: Sequence[str], left: str = "") -> TransformError:
    """The error of a dbt that ended without a failed node. `code` is negative if a signal ended it."""
    if code < 0:
        found = f"dbt was ended from outside (signal {-code}), perhaps because memory was short."
        fix = "Build again. If it happens again, lower DUCKDB_MEMORY_LIMIT. dbt's last lines"
    else:
        found, fix = f"dbt ended with code {code}{left}.", "Correct what dbt reports, and build again"
    lines = "\n".join(said[-_LINES_SHOWN:])
    return TransformError(f"{found} Each table holds all that its model made, or is as it was. {fix}:\n{lines}")


def _event(line: str) -> dict[str, Any]:
    """A line of dbt's log; what is no event, as one that only says it."""
    try:
        event: dict[str, Any] = json.loads(line)
        event["info"]["msg"]
    except (ValueError, KeyError, TypeError):
        return {"info": {"msg": line}}
    return event


def _outcome(event: Mapping[str, Any]) -> str:
    """If an event of dbt says that a model or test is done, its level: info, warn or error."""
    done = {"LogModelResult", "LogTestResult", "LogSeedResult", "LogNodeResult"}
    return str(event["info"].get("level", "")) if event["info"].get("name") in done else ""


def lost_engine(settings: Settings, event: Mapping[str, Any]) -> ServiceError | None:
    """What to end dbt with when this event of it says that a model or test failed, and the engine is away.

    Every model and test that is left would wait for it, and fail.
    """
    return engine_lost(settings) if _outcome(event) == "error" else None


def raise_failures(results: list[dict[str, Any]], folder: Path, moved: Sequence[str] = ()) -> None:
    """Raise if a model, seed or test failed. `moved` are tables that were read, and changed meanwhile.

    Raises:
        OvertakenError: another process changed what was read or made, so another build may pass.
        TransformError: names each of them with what it says.
    """
    failed = [r for r in results if r["status"] in _FAILED]
    if not failed:
        return
    skipped = sum(r["status"] == "skipped" for r in results)
    lines = [f"{_name(r)}: {' '.join(str(r['message'] or r['status']).split())}{_way_out(r)}" for r in failed]
    after = f"\nSkipped, because they depend on them: {skipped}." if skipped else ""
    what_next = (
        "\nEach table holds all that its model made, or is as it was. Correct the causes and build again. "
        f"The SQL that dbt ran is in {folder / 'compiled'}."
    )
    said = f"dbt: {len(failed)} of its models, seeds and tests failed.\n" + "\n".join(lines) + after + what_next
    if moved:
        found = f"{', '.join(moved)} changed during the build, which may be the only cause of what failed."
        raise OvertakenError(found, f"If you find no other, build again.\n{said}")
    if any(_lost_race(r) for r in failed):
        raise OvertakenError("Another process wrote a table during the build.", said)
    raise TransformError(said)


def _lost_race(result: Mapping[str, Any]) -> bool:
    return _kind(result) in _BUILT and bool(_LOST_RACE.search(str(result["message"])))


def _way_out(result: dict[str, Any]) -> str:
    """What to do about a model that lost a race, or that reads a table which no build has made."""
    message = str(result["message"])
    if _lost_race(result):
        return " Another process wrote this table meanwhile. It holds all that its model made, or is as it was."
    tables = [name for name in result["reads"] if name.startswith(("model.", "seed."))]
    by_dbt = [name for name in tables if name.split(".")[2] in message]
    if _kind(result) != "model" or not by_dbt or not _NO_SUCH_TABLE.search(message):
        return ""
    return f" Build it with its parents: lakehouse build --select +{result['node'].get('name', _name(result))}"


def _unit_tests(manifest: Mapping[str, Any], results: list[dict[str, Any]]) -> int:
    """How many unit tests the models of these results have."""
    ran = {result["unique_id"] for result in results}
    return sum(not ran.isdisjoint(test["depends_on"]["nodes"]) for test in manifest["unit_tests"].values())


def _kind(result: Mapping[str, Any]) -> str:
    return str(result["unique_id"]).split(".", maxsplit=1)[0]


def _name(result: dict[str, Any]) -> str:
    node = result["node"]
    if _kind(result) in _BUILT and node:
        return f"{node['schema']}.{node['name']}"
    # unit_test.lakehouse.MODEL.NAME, test.lakehouse.NAME.0a1b2c3d4e
    parts = str(result["unique_id"]).split(".")
    return parts[3] if parts[0] == "unit_test" else parts[2]
