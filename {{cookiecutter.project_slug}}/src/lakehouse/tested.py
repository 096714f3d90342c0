"""What was built and tested of which snapshots: publishing shows nothing else.

Each run of dbt notes, for each model, seed and test that succeeded, the snapshots of its own table and of the tables
that it reads. A state is tested if these notes are about the snapshots that are current now, for every model, seed and
test. So several runs, each of some models, prove a state together, and a change by anybody else shows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation

from lakehouse.iceberg.catalog import service_errors
from lakehouse.locks import held
from lakehouse.settings import Settings, project_dir

PASSED = frozenset({"success", "pass", "warn"})
_NODES = frozenset({"model", "seed", "test"})
_SOURCES = frozenset({".sql", ".yml", ".yaml", ".csv", ".md", ".py"})
_NOT_SOURCES = frozenset({"target", "logs", "dbt_packages"})
_PACKAGES = ("dbt-core", "dbt-duckdb", "dbt-trino")
_LOCK_SECONDS = 60.0

Snapshots = Mapping[str, int | None]


@dataclass(frozen=True)
class Untested:
    """What keeps a state from being tested: tables that changed, models without a build, tests without a run.

    `models` and `tests` are dbt's names, `changed` are `schema.table`. A test that is missing can be run alone; a model
    can't be built without moving its table.
    """

    changed: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


def fingerprint(settings: Settings) -> str:
    """A hash of dbt's files, the target and the versions of dbt."""
    root = project_dir() / "dbt"
    digest = hashlib.sha256(settings.target.encode())
    for package in _PACKAGES:
        digest.update(version(package).encode())
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NOT_SOURCES and not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if file.suffix in _SOURCES:
                digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Begun:
    """What a run of dbt begins with: dbt's files, and the current snapshots of the raw tables."""

    fingerprint: str
    raw: Snapshots


def begin(settings: Settings, raw: Snapshots) -> Begun:
    """Remember what dbt is about to read. `raw` are the current snapshots of the raw tables."""
    return Begun(fingerprint(settings), raw)


def note(
    settings: Settings,
    catalog: Catalog,
    manifest: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    begun: Begun,
) -> None:
    """Note what a run of dbt has built and tested.

    Args:
        settings: of the target.
        catalog: knows the snapshots.
        manifest: dbt's.
        results: dbt's, `unique_id` and `status` of each node that ran.
        begun: what `begin` gave before dbt began. If a raw table or a file of dbt changed since, the notes are about it
            as it was, so what reads it is not tested.

    Raises:
        ServiceError: the catalog does not answer.
        LockedError: another process holds the notes for a minute.
    """
    reads = {name: tuple(sorted(_tables(manifest, name))) for name in _enabled(manifest)}
    ended = {
        str(result["unique_id"]): result["status"] in PASSED for result in results if result["status"] != "skipped"
    }
    current: dict[str, int | None] = {**_current(catalog, {t for n in ended for t in reads.get(n, ())}), **begun.raw}
    _file(settings).parent.mkdir(parents=True, exist_ok=True)
    with held(_file(settings).with_suffix(".lock"), "The notes of what was tested", wait=_LOCK_SECONDS):
        known = _read(settings)
        nodes: dict[str, Any] = known["nodes"] if known.get("fingerprint") == begun.fingerprint else {}
        notes = {name: nodes.get(name) for name in reads}
        for name in ended.keys() & notes.keys():
            notes[name] = {table: current[table] for table in reads[name]} if ended[name] else None
        _write(settings, {"fingerprint": begun.fingerprint, "versions": model_versions_of(manifest), "nodes": notes})


def untested(settings: Settings, tables: Sequence[Table]) -> Untested | None:
    """What is missing for the state of these tables to be tested; None if nothing is.

    A snapshot that only wrote the same rows to other files is as good as the one before it.
    """
    known = _read(settings)
    notes: dict[str, dict[str, int | None] | None] = known.get("nodes", {})
    if known.get("fingerprint") != fingerprint(settings):
        notes = dict.fromkeys(notes)
    by_name = {".".join(table.name()): table for table in tables}
    changed: set[str] = set()
    models: list[str] = []
    tests: list[str] = []
    for node, seen in notes.items():
        moved = {t for t, snapshot in (seen or {}).items() if not holds(by_name.get(t), snapshot)}
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
        for name in _enabled(manifest)
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
    waiting = [*macros]
    while waiting:
        new = set(manifest["macros"][waiting.pop()]["depends_on"]["macros"]) - macros
        macros |= new
        waiting += new
    for one in sorted(nodes):
        digest.update(f"{one} {manifest['nodes'][one]['checksum']['checksum']}".encode())
    for one in sorted(macros):
        digest.update(f"{one} {manifest['macros'][one]['macro_sql']}".encode())
    return digest.hexdigest()[:16]


def _enabled(manifest: Mapping[str, Any]) -> Iterator[str]:
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


def _current(catalog: Catalog, names: set[str]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    with service_errors(catalog):
        for name in names:
            try:
                found[name] = catalog.load_table(name).metadata.current_snapshot_id
            except (NoSuchTableError, NoSuchNamespaceError):
                found[name] = None
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


def _file(settings: Settings) -> Path:
    return settings.home / "dbt" / settings.target / "tested.json"


def _read(settings: Settings) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(_file(settings).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return read


def _write(settings: Settings, notes: Mapping[str, Any]) -> None:
    file = _file(settings)
    scratch = file.with_suffix(".tmp")
    try:
        scratch.write_text(json.dumps(notes), encoding="utf-8")
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)
