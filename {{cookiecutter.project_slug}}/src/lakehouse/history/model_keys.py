"""The keys of dbt's tables, as their yml files have them: the columns of `unique_together`, or one that is `unique`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from lakehouse.settings import project_dir

SCHEMAS = {"staging": "silver", "marts": "gold"}  # folder of models: schema of their tables


def keys_of_models() -> dict[str, tuple[str, ...]]:
    """The columns that no two rows of a table have alike, by `schema.table`; read from dbt/models."""
    found = {}
    for folder, schema in SCHEMAS.items():
        for path in sorted((project_dir() / "dbt" / "models" / folder).rglob("*.yml")):
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            for model in content.get("models", []):
                if key := _key_of(model):
                    found[f"{schema}.{model['name']}"] = key
    return found


def _key_of(model: Mapping[str, Any]) -> tuple[str, ...]:
    for name, arguments in _tests(model):
        if name == "unique_together":
            return tuple(arguments["columns"])
    for column in model.get("columns", []):
        if any(name == "unique" for name, _ in _tests(column)):
            return (column["name"],)
    return ()


def _tests(described: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each test's name and arguments; dbt writes a test without arguments as its name alone."""
    for test in described.get("data_tests", []):
        if isinstance(test, str):
            yield test, {}
        else:
            for name, options in test.items():
                yield name, (options or {}).get("arguments", {})
