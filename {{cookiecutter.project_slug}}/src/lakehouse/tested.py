"""What was built and tested of which snapshots: publishing shows nothing else, and a build repeats none of it.

Each run of dbt notes, for each model, seed and test that succeeded, the snapshots of its own table and of the tables
that it reads. A state is tested if these notes are about the snapshots that are current now, for every model, seed and
test. So several runs, each of some models, prove a state together, and a change by anybody else shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation

from lakehouse import children
from lakehouse.dbt_environment import dbt_settings, tested_file
from lakehouse.errors import BoundaryError
from lakehouse.iceberg.catalog import service_errors, table_names
from lakehouse.iceberg.identity import LAYERS
from lakehouse.locks import held
from lakehouse.settings import Settings, project_dir
from lakehouse.tested_parts import VARIABLE, Parts, as_notes, by_part, missed, to_test

PASSED = frozenset({"success", "pass", "warn"})
_NODES = frozenset({"model", "seed", "test"})
# Of dbt: what runs each time it is asked.
_EACH_TIME = frozenset({"snapshot", "operation"})
_SOURCES = frozenset({".sql", ".yml", ".yaml", ".csv", ".md", ".py"})
_IGNORED, _NOT_SOURCES = ".dbtignore", frozenset({"target", "logs"})
_PACKAGES = ("dbt-core", "dbt-adapters", "dbt-common", "dbt-duckdb", "dbt-trino", "duckdb")
# What writes a model's rows on `embedded`.
_WRITERS, _WRITING_PACKAGES = ("dbt_duckdb", "iceberg"), ("pyiceberg", "pyarrow")
_LOCK_SECONDS = 60.0
_ENV_VAR = re.compile(r"env_var\(\s*['\"](\w+)")
# How we connect: it changes no row, and a hash of a password is not for a file.
_CONNECTION = frozenset({"LAKEHOUSE_HOME", "TRINO_URL", "TRINO_USER", "TRINO_PASSWORD", "TRINO_CA_FILE"})
# What reads something else than tables: the clock, chance, files.
_CHANGES_BY_ITSELF = re.compile(
    r"\b(now|today|age)\s*\(|\bcurrent_(date|time|timestamp)|\bcurrent_localtime|\blocaltime|\bget_current_|\bsysdate\b"
    r"|\btransaction_timestamp\b|\brun_started_at\b|\binvocation_id\b|\bmodules\.datetime\b|\bunixepoch\b"
    r"|\b(random|rand|uuid\w*|gen_random_uuid|shuffle)\s*\(|\btablesample\b|\busing sample\b|\bnextval\s*\("
    r"|\bread_(csv|parquet|json|ndjson|text|blob|xlsx|avro)\w*\s*\(|\b\w+_scan\s*\(|\bglob\s*\("
    r"|\b(from|join)\s+'[^'\s]+'|\b(from|join)\s+\"[^\"\s]+\.\w+\"",
    re.IGNORECASE,
)
# A selection that is a name, with its parents or children.
_SIMPLE = re.compile(r"\d*\+?(\w+)\+?\d*")

# Of a table: its current snapshot, its identity and its columns. An empty table has no snapshot, and may change.
State = tuple[int | None, str, int]
_NEVER: State = (-1, "", -1)  # is the state of no table


@dataclass(frozen=True)
class Untested:
    """What keeps a state from being tested: tables that changed, models without a build, tests without a run.

    `models` and `tests` are dbt's names, `changed` are `schema.table`. A test that is missing can be run alone; a model
    can't be built without moving its table.
    """

    changed: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proven:
    """A state that a build has made and tested: when, in UTC, and what its tests warned of."""

    at: str
    warnings: tuple[str, ...]


def fingerprint(settings: Settings) -> str:
    """A hash of dbt's files, of the settings that they read, of the target and of the versions of dbt."""
    digest = hashlib.sha256(settings.target.encode())
    for package in _PACKAGES:
        digest.update(version(package).encode())
    variables: set[str] = set()
    for name, content in _files():
        digest.update(name.encode() + b"\0" + content + b"\0")
        variables.update(_ENV_VAR.findall(content.decode(errors="replace")))
    values = children.environment(dbt_settings(settings))
    for variable in sorted((variables & values.keys()) - _CONNECTION):
        digest.update(f"{variable}={values[variable]}\0".encode())
    return digest.hexdigest()[:16]


def _files() -> Iterator[tuple[str, bytes]]:
    """Each file of dbt's that says what is made: its path below dbt, and its bytes."""
    root = project_dir() / "dbt"
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in _NOT_SOURCES and not name.startswith(".")]
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            # An editor's own files are no models, for dbt neither.
            if name == _IGNORED or (file.suffix.lower() in _SOURCES and not name.startswith((".", "#", "~"))):
                yield str(file.relative_to(root)), file.read_bytes()


def _writer() -> str:
    """A hash of the code that writes what a model selects."""
    digest = hashlib.sha256()
    for package in _WRITING_PACKAGES:
        digest.update(version(package).encode())
    for room in _WRITERS:
        for file in sorted((Path(__file__).parent / room).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Begun:
    """What a run of dbt begins with: dbt's files, the tables as they are, and what its tests need not look at again.

    `parts` are the months or days that tests of each alone look at, by table: see tested_parts.py. `environment` tells
    dbt. `stale` are the models, seeds and tests, by dbt's names, that a build has to ask again; None if nobody knows,
    and so all. `warnings` is what the others, whose notes hold, have warned of.
    """

    fingerprint: str
    tables: Mapping[str, Table]
    parts: Parts
    stale: frozenset[str] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for dbt."""
        return {VARIABLE: json.dumps(self.parts)}


def begin(settings: Settings, catalog: Catalog, *, all_parts: bool = False) -> Begun:
    """Remember what dbt is about to read.

    Args:
        settings: of the target.
        catalog: knows the snapshots.
        all_parts: each test looks at all months and days.

    Raises:
        ServiceError: the catalog does not answer.
    """
    known = _read(settings)
    seen = {table for note in known.get("nodes", {}).values() for table in (note or {})}
    files = fingerprint(settings)
    with service_errors(catalog):
        names = {name for name in table_names(catalog) if name.split(".")[0] in LAYERS} | seen
        found = _tables_of(catalog, names)
        if all_parts or known.get("fingerprint") != files or known.get("writer") != _writer():
            return Begun(files, found, {})
        parts = to_test(known, found)
        if known.get("always", True) or "own" not in known or _changes_by_itself():
            return Begun(files, found, parts)
        stale = _stale(known, found)
        warned = tuple(text for name, text in known["warnings"].items() if name not in stale)
        return Begun(files, found, parts, stale, warned)


def _stale(known: Mapping[str, Any], tables: Mapping[str, Table]) -> frozenset[str]:
    """The models, seeds and tests whose notes don't hold, and all that reads a table which one of these makes again."""
    notes: Mapping[str, Mapping[str, list[Any] | None] | None] = known["nodes"]
    stale: set[str] = set()
    new = {
        node
        for node, seen in notes.items()
        if seen is None
        or _reads_unknown_tables(node, seen)
        or not all(state and _is_in(tables.get(name), state) for name, state in seen.items())
    }
    while new:
        stale |= new
        made = {known["own"][node] for node in new & known["own"].keys()}
        new = {node for node in notes.keys() - stale if not made.isdisjoint(notes[node] or ())}
    return frozenset(stale)


def _reads_unknown_tables(node: str, seen: Mapping[str, Any]) -> bool:
    """Whether a test names its tables in its SQL alone, where dbt does not look for them."""
    return node.startswith("test.") and not seen


def note(
    settings: Settings,
    catalog: Catalog,
    manifest: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    begun: Begun,
) -> tuple[str, ...]:
    """Note what a run of dbt has built and tested.

    Args:
        settings: of the target.
        catalog: knows the snapshots.
        manifest: dbt's.
        results: dbt's, `unique_id` and `status` of each node that ran.
        begun: what `begin` gave before dbt began. A table that this run did not make may have changed since, and back
            again; so may dbt's files. Then nobody knows what dbt has read, so what reads it is not tested. Neither is
            a table of which more months or days were made than its tests looked at.

    Returns:
        The tables that were read and changed meanwhile, `schema.table`.

    Raises:
        ServiceError: the catalog does not answer.
        LockedError: another process holds the notes for a minute.
    """
    reads = {name: tuple(sorted(_tables(manifest, name))) for name in enabled(manifest)}
    ended = {
        str(result["unique_id"]): result["status"] in PASSED for result in results if result["status"] != "skipped"
    }
    made = {table for name in ended.keys() & reads.keys() for table in _own(manifest, name)}
    read = {table for name in ended.keys() & reads.keys() for table in reads[name]} - made
    with service_errors(catalog):
        now = _tables_of(catalog, made | read, strict=True)
        about = by_part(manifest)
        ended |= dict.fromkeys(missed(begun.parts, about, begun.tables, now) & ended.keys(), False)
    moved = {name for name in read if name in now and now[name].metadata_location != _place(begun.tables.get(name))}
    left = {**begun.tables, **{name: now[name] for name in made & now.keys()}}
    state = {name: _state(table) for name, table in left.items()} | dict.fromkeys(moved, _NEVER)
    if fingerprint(settings) != begun.fingerprint:
        ended = dict.fromkeys(ended, False)
    tested_file(settings).parent.mkdir(parents=True, exist_ok=True)
    with held(tested_file(settings).with_suffix(".lock"), "The record of what was tested", wait=_LOCK_SECONDS):
        known = _read(settings)
        hold = (known.get("fingerprint"), known.get("writer")) == (begun.fingerprint, _writer())
        nodes: dict[str, Any] = known["nodes"] if hold else {}
        notes = {name: nodes.get(name) for name in reads}
        for name in ended.keys() & notes.keys():
            notes[name] = {table: state.get(table) for table in reads[name]} if ended[name] else None
        warned: dict[str, str] = {name: text for name, text in known.get("warnings", {}).items() if name not in ended}
        warned |= {
            str(result["unique_id"]): warning_of(manifest["nodes"].get(result["unique_id"], {}), result)
            for result in results
            if result["status"] == "warn"
        }
        _write(
            settings,
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "fingerprint": begun.fingerprint,
                "writer": _writer(),
                "always": _runs_always(manifest),
                "versions": model_versions_of(manifest),
                "by_part": as_notes(about),
                "own": {name: table for name in reads for table in _own(manifest, name)},
                "nodes": notes,
                "warnings": {name: text for name, text in sorted(warned.items()) if name in notes},
            },
        )
    return tuple(sorted(moved))


def nothing_new(settings: Settings, catalog: Catalog, *, select: str | None, data_tests: bool) -> Proven | None:
    """The state that is there, if a full build would make the same rows and its tests have passed on them; else None.

    The notes must be about dbt's files as they are. Each table that a model, seed or test reads or makes must still
    have the snapshot and the columns of its note. A project whose SQL reads the clock, chance or files has no such
    state: what it makes depends on more than its tables.

    Args:
        settings: of the target.
        catalog: knows the snapshots.
        select: dbt's selection. One that is more than names, each with its parents or children, is for dbt to read.
        data_tests: the tests must have passed too.

    Raises:
        ServiceError: the catalog does not answer.
    """
    known = _read(settings)
    notes: dict[str, dict[str, list[Any] | None] | None] = known.get("nodes", {})
    if (
        not notes
        or known["fingerprint"] != fingerprint(settings)
        or known.get("writer") != _writer()
        or known.get("always", True)
        or not _selects(select, notes)
        or _changes_by_itself()
    ):
        return None
    asked = {name: seen for name, seen in notes.items() if data_tests or not name.startswith("test.")}
    if any(seen is None or _reads_unknown_tables(name, seen) for name, seen in asked.items()):
        return None
    tables: dict[str, Table] = {}
    with service_errors(catalog):
        for seen in asked.values():
            for name, state in (seen or {}).items():
                if name not in tables:
                    tables |= _tables_of(catalog, [name])
                if state is None or not _is_in(tables.get(name), state):
                    return None
    return Proven(str(known["at"]), tuple(known["warnings"].values()) if data_tests else ())


def _selects(select: str | None, notes: Mapping[str, Any]) -> bool:
    """Whether a selection is all, or of names that we know."""
    names = {name.split(".")[2] for name in notes}
    words = [_SIMPLE.fullmatch(word) for word in select.split()] if select else []
    return select is None or (bool(words) and all(word and word[1] in names for word in words))


def _runs_always(manifest: Mapping[str, Any]) -> bool:
    """Whether dbt has something to do even if no table is new: snapshots, hooks, macros that ask a clock."""
    if any(node["resource_type"] in _EACH_TIME for node in manifest["nodes"].values()):
        return True
    macros = _reached(
        manifest, {one for name in enabled(manifest) for one in manifest["nodes"][name]["depends_on"]["macros"]}
    )
    return any(_CHANGES_BY_ITSELF.search(manifest["macros"][one]["macro_sql"]) for one in macros)


def _changes_by_itself() -> bool:
    """Whether SQL of the project's own reads something else than tables."""
    return any(
        _CHANGES_BY_ITSELF.search(content.decode(errors="replace"))
        for name, content in _files()
        if name.endswith((".sql", ".yml", ".yaml")) and not name.startswith("dbt_packages")
    )


def _is_in(table: Table | None, state: Sequence[Any]) -> bool:
    """Whether a table has the rows and columns that were noted."""
    if table is None:
        return False
    snapshot, identity, columns = state
    return (str(table.metadata.table_uuid), table.metadata.current_schema_id) == (identity, columns) and holds(
        table, snapshot
    )


def warning_of(node: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """What a test that only warns found, and what it means where its yml says so."""
    meaning = " ".join(str(node.get("description") or "").split())
    name = str(result["unique_id"]).split(".")[2]
    return f"{name}: {result.get('message')}" + (f". {meaning}" if meaning else "")


def untested(settings: Settings, tables: Sequence[Table]) -> Untested | None:
    """What is missing for the state of these tables to be tested; None if nothing is.

    A snapshot that only wrote the same rows to other files is as good as the one before it.
    """
    known = _read(settings)
    notes: dict[str, dict[str, list[Any] | None] | None] = known.get("nodes", {})
    if known.get("fingerprint") != fingerprint(settings):
        notes = dict.fromkeys(notes)
    by_name = {".".join(table.name()): table for table in tables}
    changed: set[str] = set()
    models: list[str] = []
    tests: list[str] = []
    for node, seen in notes.items():
        moved = {t for t, state in (seen or {}).items() if not holds(by_name.get(t), state[0] if state else None)}
        if seen is not None and not moved:
            continue
        changed |= moved
        kind, _, name = node.split(".")[:3]
        (tests if kind == "test" else models).append(name)
    if notes and not (models or tests):
        return None
    return Untested(tuple(sorted(changed)), tuple(sorted(models)), tuple(sorted(tests)))


def model_versions(settings: Settings) -> dict[str, str]:
    """For each table of a model, the version of the model by which the last run of dbt would make it."""
    versions: dict[str, str] = _read(settings).get("versions", {})
    return versions


def model_versions_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """For each table of a model in dbt's manifest, the version of the model."""
    return {
        table: model_version(manifest, name)
        for name in enabled(manifest)
        if manifest["nodes"][name]["resource_type"] == "model"
        for table in _tables(manifest, name, parents=False)
    }


def model_version(manifest: Mapping[str, Any], name: str) -> str:
    """A hash of a model's SQL and settings, of its macros and vars, and of all models and seeds that it reads."""
    digest = hashlib.sha256((project_dir() / "dbt" / "dbt_project.yml").read_bytes())
    nodes, macros = {name}, set(manifest["nodes"][name]["depends_on"]["macros"])
    waiting = [name]
    while waiting:
        node = manifest["nodes"][waiting.pop()]
        macros |= set(node["depends_on"]["macros"])
        new = {parent for parent in node["depends_on"].get("nodes", ()) if parent in manifest["nodes"]} - nodes
        nodes |= new
        waiting += new
    for one in sorted(nodes):
        digest.update(f"{one} {manifest['nodes'][one]['checksum']['checksum']}".encode())
    for one in sorted(_reached(manifest, macros)):
        digest.update(f"{one} {manifest['macros'][one]['macro_sql']}".encode())
    return digest.hexdigest()[:16]


def _reached(manifest: Mapping[str, Any], macros: set[str]) -> set[str]:
    """These macros, and all that they call."""
    found, waiting = set(macros), [*macros]
    while waiting:
        new = set(manifest["macros"][waiting.pop()]["depends_on"]["macros"]) - found
        found |= new
        waiting += new
    return found


def enabled(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Each model, seed and test that dbt builds, by dbt's name. Ephemeral models are part of those that read them."""
    for name, node in manifest["nodes"].items():
        config = node["config"]
        if (
            node["resource_type"] in _NODES
            and config.get("enabled", True)
            and config.get("materialized") != "ephemeral"
        ):
            yield name


def _tables(manifest: Mapping[str, Any], name: str, *, parents: bool = True) -> Iterator[str]:
    """The tables that a node is about: its own and, with `parents`, those that it reads. Ephemeral models have none."""
    if name in manifest["sources"]:
        source = manifest["sources"][name]
        yield f"{source['schema']}.{source['identifier']}"
        return
    node = manifest["nodes"].get(name)
    if node is None:
        return
    has_table = node["resource_type"] in {"model", "seed"} and node["config"].get("materialized") != "ephemeral"
    if has_table:
        yield f"{node['schema']}.{node['alias']}"
    if parents or not has_table:
        for parent in node["depends_on"].get("nodes", ()):
            yield from _tables(manifest, parent, parents=False)


def _own(manifest: Mapping[str, Any], name: str) -> Iterator[str]:
    """The table that a model or seed makes."""
    if manifest["nodes"][name]["resource_type"] in {"model", "seed"}:
        yield from _tables(manifest, name, parents=False)


def _place(table: Table | None) -> str | None:
    return table.metadata_location if table else None


def _state(table: Table) -> State:
    metadata = table.metadata
    return metadata.current_snapshot_id, str(metadata.table_uuid), metadata.current_schema_id


def _tables_of(catalog: Catalog, names: Iterable[str], *, strict: bool = False) -> dict[str, Table]:
    """The tables that are there.

    Raises:
        BoundaryError: one is not this lakehouse's own, if `strict`. A run that has read it must not pass.
    """
    found: dict[str, Table] = {}
    for name in names:
        try:
            found[name] = catalog.load_table(name)
        except (NoSuchTableError, NoSuchNamespaceError):
            continue
        except BoundaryError:
            if strict:
                raise
    return found


def holds(table: Table | None, snapshot_id: int | None) -> bool:
    """Whether a table's current rows are those of a snapshot: it is current, or only compacted since."""
    current = table.metadata.current_snapshot_id if table else None
    while current is not None and current != snapshot_id and table is not None:
        snapshot = table.snapshot_by_id(current)
        if snapshot is None or snapshot.summary is None or snapshot.summary.operation != Operation.REPLACE:
            return False
        current = snapshot.parent_snapshot_id
    return current == snapshot_id


def _read(settings: Settings) -> dict[str, Any]:
    try:
        read: Any = json.loads(tested_file(settings).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # none yet; or torn, when the power went: dbt runs and notes again
        return {}
    return read if isinstance(read, dict) else {}


def _write(settings: Settings, notes: Mapping[str, Any]) -> None:
    file = tested_file(settings)
    scratch = file.with_suffix(".tmp")
    try:
        scratch.write_text(json.dumps(notes), encoding="utf-8")
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)
