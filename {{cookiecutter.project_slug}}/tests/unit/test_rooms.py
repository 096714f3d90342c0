"""The rooms of src/lakehouse: imports point down one list, without circles; Dagster stays in its room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from lakehouse.settings import project_dir

SOURCE = project_dir() / "src"
# From the top down. A room may import those below it.
ROOMS = (
    "__main__",
    "cli",
    "defs",
    "definitions",
    "report",
    "history",
    "transform",
    "tested",
    "tested_parts",
    "dbt_start",
    "dbt_environment",
    "dbt_process",
    "dbt_duckdb",
    "scaffold",
    "loading",
    "__init__",
    "frames",
    "engines",
    "leftovers",
    "iceberg",
    "landing",
    "sources",
    "formats",
    "synthetic",
    "duckdb_config",
    "dev",
    "dagster_home",
    "settings",
    "datasets",
    "s3",
    "s3_users",
    "network",
    "children",
    "locks",
    "processes",
    "filesystem",
    "env_file",
    "progress",
    "short_process",
    "errors",
)
LARGEST_SHARE = 0.15


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name without `lakehouse.`."""
    found = {}
    for path in (SOURCE / "lakehouse").rglob("*.py"):
        parts = path.relative_to(SOURCE / "lakehouse").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of the package that a module imports at any time; not those that only a type checker sees."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    return frozenset(found for node in ast.walk(tree) for found in _named(node) if found != name)


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    for name in names:
        package, _, rest = name.partition(".")
        if package == "lakehouse":
            while rest and rest not in modules():
                rest = rest.rpartition(".")[0]
            yield rest or "__init__"


def room(name: str) -> str:
    return name.partition(".")[0]


def test_every_module_has_a_room() -> None:
    assert {room(name) for name in modules()} == set(ROOMS)


def test_no_import_points_up() -> None:
    up = {
        f"{name} imports {other}"
        for name in modules()
        for other in imports(name)
        if ROOMS.index(room(other)) < ROOMS.index(room(name))
    }

    assert up == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    TopologicalSorter({name: imports(name) for name in modules()}).prepare()


def test_dagster_stays_in_its_room() -> None:
    users = {room(name) for name, path in modules().items() if "import dagster" in path.read_text(encoding="utf-8")}

    assert users <= {"cli", "defs", "definitions"}


def test_no_room_holds_more_than_its_share_of_the_code() -> None:
    lines: dict[str, int] = {}
    for name, path in modules().items():
        lines[room(name)] = lines.get(room(name), 0) + len(path.read_text(encoding="utf-8").splitlines())

    assert max(lines.values()) <= LARGEST_SHARE * sum(lines.values()), lines


# Above the protocols of engine, catalog and store, nothing asks which target it is on, or imports what only one target
# has. These do, and say why.
TARGETS = {
    "cli.doctor": "tells what the target needs",
    "defs.resources": "shows in Dagster what the target uses",
    "history.adopt": "a folder's files name their own place, and a bucket's don't: two different jobs",
}
IMPORTS = {
    "dbt_duckdb.commit_model": "is a part of dbt-duckdb, which only one target uses",
    "dbt_duckdb.plugin": "is a part of dbt-duckdb, which only one target uses",
    "history.publish": "sends the REST catalog's commit of several tables, for which PyIceberg has no call",
}
CONCRETE = {"DuckDBEngine", "TrinoEngine", "SqlCatalog", "SqliteCatalog", "RestCatalog", "FolderStore", "BucketStore"}
MODULES = {f"lakehouse.{name}" for name in ("engines.duckdb", "engines.trino", "landing.bucket", "landing.folder")}


def decides_by_target(text: str) -> bool:
    """Whether a module asks for the target, for an engine's name, or for the class of an engine, catalog or store."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Compare(left=left, comparators=comparators) if any(map(_is_target, (left, *comparators))):
                return True
            case ast.Compare(left=ast.Attribute(attr="name"), comparators=[ast.Constant(value="trino" | "duckdb")]):
                return True
            case ast.Match(subject=asked) | ast.Subscript(slice=asked) if _is_target(asked):
                return True
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id=name)]) if name in CONCRETE:
                return True
            case _:
                pass
    return False


def _is_target(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "target"


def imports_of_one_target(text: str) -> bool:
    """Whether a module imports an engine, a catalog or a store that only one target has."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    return any(node.module in MODULES or CONCRETE & {alias.name for alias in node.names} for node in found)


@pytest.mark.parametrize(
    "line",
    [
        "if settings.target == 'trino': pass",
        "if 'trino' == settings.target: pass",
        "if settings.target in ('trino',): pass",
        "match settings.target:\n    case 'trino': pass",
        "x = {'trino': 1}[settings.target]",
        "x = engine.name == 'duckdb'",
        "x = isinstance(catalog, RestCatalog)",
    ],
)
def test_a_decision_by_target_is_found(line: str) -> None:
    assert decides_by_target(line)


def test_no_decision_by_target_above_the_protocols() -> None:
    above = ROOMS[: ROOMS.index("engines")]
    found = {n for n, p in modules().items() if room(n) in above and decides_by_target(p.read_text(encoding="utf-8"))}

    assert found == set(TARGETS)


@pytest.mark.parametrize(
    "line",
    [
        "from lakehouse.engines.trino import is_up",
        "def f():\n    from lakehouse.landing.folder import FolderLanding",
        "from pyiceberg.catalog.rest import RestCatalog",
    ],
)
def test_an_import_of_one_target_is_found(line: str) -> None:
    assert imports_of_one_target(line)


def test_nothing_above_the_protocols_imports_what_one_target_has() -> None:
    above = ROOMS[: ROOMS.index("engines")]
    texts = {n: p.read_text(encoding="utf-8") for n, p in modules().items() if room(n) in above}

    assert {name for name, text in texts.items() if imports_of_one_target(text)} == set(IMPORTS)
