"""The keys of dbt's tables, as their yml files have them: the columns of `unique_together`, or one that is `unique`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from lakehouse.errors import QueryError
from lakehouse.settings import project_dir

SCHEMAS = {"staging": "silver", "marts": "gold"}  # folder of models: schema of their tables


def keys_of_models() -> dict[str, tuple[str, ...]]:
    """The columns that no two rows of a table have alike, by `schema.table`; read from dbt/models.

    Raises:
        QueryError: a yml file can't be read.
    """
    found = {}
    for folder, schema in SCHEMAS.items():
        for path in sorted((project_dir() / "dbt" / "models" / folder).rglob("*.yml")):
            try:
                content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            except yaml.YAMLError as error:
                raise QueryError(f"{path} is no yml file: {' '.join(str(error).split())}. Correct it.") from error
            for model in content.get("models") or []:
                if key := _key_of(model):
                    found[f"{schema}.{model['name']}"] = key
    return found


def _key_of(model: Mapping[str, Any]) -> tuple[str, ...]:
    for name, arguments in _tests(model):
        if name == "unique_together":
            return tuple(arguments.get("columns") or ())
    for column in model.get("columns") or []:
        if any(name == "unique" for name, _ in _tests(column)):
            return (column["name"],)
    return ()


def _tests(described: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The name and arguments of each test of all rows; dbt writes a test without arguments as its name alone."""
    for test in described.get("data_tests") or []:
        if isinstance(test, str):
            yield test, {}
            continue
        for name, written in test.items():
            options = written or {}
            if not (options.get("config") or {}).get("where"):
                yield name, options | (options.get("arguments") or {})  # older yml files have them without `arguments`
