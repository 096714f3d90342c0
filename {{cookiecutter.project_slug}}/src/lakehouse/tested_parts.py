"""Which months or days the tests of a run of dbt look at, where a test says something of each of them alone.

Such a test (two equal rows in a month, say) passes again on a month that it passed on, while the month's files and
dbt's files are the same. So a build asks it of the months whose files came or went since, and of those that the build
itself will replace. What a build costs then does not grow with the years that are there.

A test is of this kind if it calls the macro `of_changed_parts`, and reads a model that is replaced by the month or day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from lakehouse.iceberg.files import first_day_of, prefix_of_hash, rows_by_file

VARIABLE = "LAKEHOUSE_TEST_PARTS"
MACRO = "macro.lakehouse.of_changed_parts"
# How much of a hash is in the metrics of a file that Trino has compacted: enough to tell files, and no data is read.
CUT = 15
# A longer list of months or days costs more than it saves.
MOST = 200

# By `schema.table`, the first days of the months or days to look at. A table that is not named is looked at as a whole.
Parts = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ByPart:
    """A model that is replaced by the month or day: the raw tables or the models of its kind that it is made of.

    `tests` are those that look at each month or day alone.
    """

    sources: tuple[str, ...]
    models: tuple[str, ...]
    tests: tuple[str, ...]


def by_part(manifest: Mapping[str, Any]) -> dict[str, ByPart]:
    """Each such model, by its table's name; one that reads others comes after them."""
    found = {}
    for name, node in manifest["nodes"].items():
        tests = tuple(sorted(_tests_of(manifest, name))) if _is_by_part(node) else ()
        if tests:
            sources, models = set(), set()
            for parent in tables_read(manifest["nodes"], name):
                if parent in manifest["sources"]:
                    source = manifest["sources"][parent]
                    sources.add(f"{source['schema']}.{source['identifier']}")
                elif _is_by_part(manifest["nodes"].get(parent, {"config": {}})):
                    models.add(_table(manifest["nodes"][parent]))
            found[_table(node)] = ByPart(tuple(sorted(sources)), tuple(sorted(models)), tests)
    return dict(sorted(found.items(), key=lambda one: (bool(one[1].models), one[0])))


def _is_by_part(node: Mapping[str, Any]) -> bool:
    return node["config"].get("materialized") == "by_file" and bool(node["config"].get("partition_by"))


def _table(node: Mapping[str, Any]) -> str:
    return f"{node['schema']}.{node['alias']}"


def tables_read(nodes: Mapping[str, Any], name: str) -> list[str]:
    """The parents of a node; in place of one that has no table of its own, what that reads."""
    found: list[str] = []
    for parent in nodes.get(name, {}).get("depends_on", {}).get("nodes", []):
        has_table = nodes.get(parent, {}).get("config", {}).get("materialized") != "ephemeral"
        found += [parent] if has_table else tables_read(nodes, parent)
    return found


def _tests_of(manifest: Mapping[str, Any], model: str) -> Iterator[str]:
    calls = {name for name, macro in manifest["macros"].items() if MACRO in macro["depends_on"]["macros"]}
    for name, node in manifest["nodes"].items():
        if node.get("attached_node") == model and not calls.isdisjoint(node["depends_on"]["macros"]):
            yield name


def to_test(known: Mapping[str, Any], tables: Mapping[str, Table]) -> dict[str, list[str]]:
    """What the tests of the next run look at.

    Args:
        known: the notes of the last run, about dbt's files as they are.
        tables: those that exist, by name.

    A table is left out, and so looked at as a whole, if one of its tests has not passed or has warned. It is left out
    too if the state on which it passed is gone: expired, or of a table that was dropped. And if a model is left out,
    so is what is made of it.
    """
    found: dict[str, set[date]] = {}
    for name, about in known.get("by_part", {}).items():
        notes = [known["nodes"].get(test) for test in about["tests"]]
        read = {one: tables.get(one) for one in (name, *about["sources"], *about["models"])}
        if None in notes or None in read.values() or not known["warnings"].keys().isdisjoint(about["tests"]):
            continue
        parts = [found.get(model) for model in about["models"]]
        parts += [_since(table, notes) for one, table in read.items() if table and one not in about["sources"]]
        parts += [_of_other_bytes(tables[source], tables[name]) for source in about["sources"]]
        if None not in parts:
            found[name] = set().union(*(part for part in parts if part))
    return {name: sorted(day.isoformat() for day in parts) for name, parts in found.items() if len(parts) <= MOST}


def _since(table: Table, notes: Sequence[Mapping[str, Any]]) -> set[date] | None:
    """The months or days that changed since these tests have read the table; None if that state is gone."""
    name, found = ".".join(table.name()), set[date]()
    for state in {tuple(note[name] or ()) for note in notes if name in note}:
        snapshot = table.snapshot_by_id(state[0]) if state[1:2] == (str(table.metadata.table_uuid),) else None
        if snapshot is None:
            return None
        found |= changed(table, snapshot, table.current_snapshot())
    return found


def missed(
    asked: Parts, about: Mapping[str, ByPart], before: Mapping[str, Table], now: Mapping[str, Table]
) -> set[str]:
    """The tests that looked at less than a run of dbt has changed, so that what they say is of no use.

    It happens if somebody loads a month while dbt runs, or if a model was made again for another reason than its files.
    """
    found: set[str] = set()
    for name, parts in asked.items():
        was, table = before.get(name), now.get(name)
        if name not in about or was is None or table is None:
            continue
        old = was.current_snapshot()
        known = old is not None and table.snapshot_by_id(old.snapshot_id) is not None
        new = changed(table, old, table.current_snapshot()) if known else None
        if new is None or not {day.isoformat() for day in new} <= set(parts):
            found |= set(about[name].tests)
    return found


def as_notes(about: Mapping[str, ByPart]) -> dict[str, Any]:
    """For the file of the notes."""
    return {name: asdict(one) for name, one in about.items()}


def changed(table: Table, old: Snapshot | None, new: Snapshot | None) -> set[date]:
    """The months or days of which a file came or went between two snapshots; delete files are files too."""
    if old is not None and new is not None and old.snapshot_id == new.snapshot_id:
        return set()
    was, now = _files(table, old), _files(table, new)
    return {day for path, day in (was | now).items() if (path in was) != (path in now)}


def _files(table: Table, snapshot: Snapshot | None) -> dict[str, date]:
    return {
        entry.data_file.file_path: first_day_of(entry.data_file)
        for manifest in (snapshot.manifests(table.io) if snapshot else ())
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    }


def _of_other_bytes(source: Table, table: Table) -> set[date]:
    """The months or days whose bytes, or number of rows, differ between two tables."""
    wanted, held = (rows_by_file(one, hash_of=_beginning) for one in (source, table))
    unsure = {day for day, rows in wanted.items() if None in rows}
    return unsure | {day for day in wanted.keys() | held.keys() if wanted.get(day) != held.get(day)}


def _beginning(table: Table, file: DataFile) -> str | None:
    found = prefix_of_hash(table, file)
    return found[:CUT] if found else None
