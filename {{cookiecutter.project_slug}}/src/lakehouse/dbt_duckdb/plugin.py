"""What dbt-duckdb needs for Iceberg: tables as views when it connects, one commit for each model it makes.

dbt/profiles.yml names this module; `commit_to_iceberg` in dbt/macros/engines.sql calls `store`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.duckdb.utils import TargetConfig
from dbt_common.exceptions import DbtRuntimeError

from lakehouse.dbt_duckdb.commit_model import (
    Model,
    merge_by_key,
    replace_all,
    replace_changed_files,
    replace_if_different,
)
from lakehouse.duckdb_config import duckdb_config
from lakehouse.engines.duckdb import register_at, register_tables
from lakehouse.errors import LakehouseError
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.merge import Merged
from lakehouse.settings import load_settings


class Plugin(BasePlugin):
    """dbt-duckdb makes one for each dbt process, before it connects."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:  # noqa: ARG002 - dbt-duckdb's
        """Settings come from the environment, as everywhere."""
        self._settings = load_settings()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._raw_at: dict[str, int | None] = json.loads(os.environ.get("LAKEHOUSE_DBT_RAW_AT", "{}"))

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:  # noqa: ARG002 - dbt-duckdb's
        """Bounded memory, spilling into the project's own folder, nothing downloaded."""
        config.update(duckdb_config(self._settings))

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Register every Iceberg table: what a run reads is what was current here, until a model replaces it.

        A run of `lakehouse reproduce` reads raw tables as they were: LAKEHOUSE_DBT_RAW_AT has their snapshots.
        """
        self._connection = conn
        with _as_dbt_error("reading the catalog"):
            catalog = open_catalog(self._settings)
            register_tables(conn, catalog)
            register_at(conn, catalog, self._raw_at)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Times don't depend on the machine's zone."""
        cursor.execute("set TimeZone = 'UTC'")

    def store(self, target_config: TargetConfig) -> None:
        """Run a model's select and commit its rows in one snapshot, as its materialization asks."""
        relation, options = target_config.relation, target_config.config
        model = Model(
            name=f"{relation.schema}.{relation.identifier}",
            select=options["select"],
            declared=options["columns"],
            full_refresh=options["full_refresh"],
            partition_by=options.get("partition_by"),
            model_version=options.get("model_version"),
            read=tuple(options.get("read", ())),
            made_of=tuple(options.get("made_of", ())),
            row_count=options.get("row_count", "count(*)"),
            unique_key=tuple(options.get("unique_key", ())),
            append_new_columns=options.get("on_schema_change") == "append_new_columns",
        )
        if self._connection is None:
            raise DbtRuntimeError(f"{model.name}: dbt has not connected yet")
        with _as_dbt_error(model.name), self._connection.cursor() as cursor:
            catalog = open_catalog(self._settings)
            self.configure_cursor(cursor)
            done: Merged | int | None
            match options["replace"]:
                case "changed files":
                    done = replace_changed_files(cursor, catalog, model, self._raw_at)
                case "if different":
                    done = replace_if_different(cursor, catalog, model)
                case "by key":
                    done = merge_by_key(cursor, catalog, model)
                case _:
                    done = replace_all(cursor, catalog, model)
        options["outcome"].update(_outcome(done))


def _outcome(done: Merged | int | None) -> dict[str, Any]:
    """What dbt reports of a model: a text, a code, and how many rows were written."""
    if done is None:
        return {"message": "unchanged", "code": "UNCHANGED", "rows": 0}
    if isinstance(done, int):
        return {"message": f"{done:,} rows", "code": "COMMIT", "rows": done}
    counts = f"{done.inserted:,} inserted, {done.updated:,} updated, {done.unchanged:,} unchanged"
    return {"message": counts, "code": "MERGE", "rows": done.inserted + done.updated}


@contextmanager
def _as_dbt_error(what: str) -> Iterator[None]:
    """DuckDB's and our own errors, as one that dbt reports with the model instead of a traceback."""
    try:
        yield
    except (duckdb.Error, LakehouseError) as error:
        raise DbtRuntimeError(f"{what}: {error}") from error
