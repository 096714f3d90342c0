"""A model that is merged by key, in a copy of the dbt project, and what its table must be: the same on both targets."""

from __future__ import annotations

import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType, TimestampType

from lakehouse.engines import Engine
from lakehouse.errors import TransformError
from lakehouse.settings import Settings, project_dir
from lakehouse.transform import build

RAW, SILVER = "raw.customers", "silver.stg_customers"
COLUMNS = Schema(
    NestedField(1, "id", LongType(), required=False),
    NestedField(2, "name", StringType(), required=False),
    NestedField(3, "changed_at", TimestampType(), required=False),
)
MODEL = """{{ config(materialized='incremental', incremental_strategy='merge', unique_key=['id']) }}

select id, name, changed_at
from {{ source('raw', 'customers') }}
"""
NEW_ROWS_ONLY = "{% if is_incremental() %} where changed_at > (select max(changed_at) from {{ this }}) {% endif %}\n"
YML = """version: 2

sources:
  - name: raw
    schema: raw
    tables:
      - name: customers

models:
  - name: stg_customers
    columns:
      - name: id
        data_type: bigint
      - name: name
        data_type: varchar
      - name: changed_at
        data_type: timestamp(6)
"""


class AnyLake(Protocol):
    """What the two targets' lakes have in common."""

    settings: Settings

    @property
    def catalog(self) -> Catalog: ...

    @property
    def engine(self) -> Engine: ...


def put(lake: AnyLake, *rows: tuple[int | None, str | None, int]) -> None:
    """Make these the rows of raw: id, name, day of change."""
    lake.catalog.create_namespace_if_not_exists("raw")
    table = lake.catalog.create_table_if_not_exists(RAW, COLUMNS)
    full = [
        {"id": key, "name": name, "changed_at": datetime.fromisoformat(f"2024-01-0{day}")} for key, name, day in rows
    ]
    new = pa.Table.from_pylist(full, schema=schema_to_pyarrow(COLUMNS, include_field_ids=False))
    if table.current_snapshot():
        table.overwrite(new)
    else:
        table.append(new)


class Customers:
    """The model in a copy of the dbt project, below `folder`."""

    def __init__(self, lake: AnyLake, folder: Path) -> None:
        self.lake = lake
        self.root = folder / "project"
        shutil.copytree(project_dir() / "dbt", self.root / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
        self.write(MODEL, YML)

    def write(self, model: str, yml: str) -> None:
        """Put the model into the project."""
        staging = self.root / "dbt" / "models" / "staging"
        (staging / "stg_customers.sql").write_text(model, "utf-8")
        (staging / "stg_customers.yml").write_text(yml, "utf-8")

    def built(self, **options: Any) -> str:
        """Build it; what the build says of its rows, if it merged them."""
        done = build(self.lake.settings, "stg_customers", again=True, data_tests=False, **options)
        assert done.models == (SILVER,)
        return "".join(line.removeprefix(f"{SILVER}: ") for line in done.merged)

    def refused(self) -> str:
        """Build it, which must fail; why."""
        try:
            said = self.built()
        except TransformError as error:
            return re.sub(r"\s+", " ", str(error))
        raise AssertionError(said)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The rows of silver, without the times."""
        found = self.lake.engine.query(f"select * from {SILVER} order by id").to_pylist()
        return [tuple(value for name, value in row.items() if name != "changed_at") for row in found]

    @property
    def snapshots(self) -> int:
        """How many snapshots silver has."""
        return len(self.lake.engine.timeline(SILVER).snapshots)


def check_a_merged_model(customers: Customers) -> None:
    """Insert, update, leave alone, refuse, add a column and rebuild; each step is one snapshot, or none."""
    lake = customers.lake
    put(lake, (1, "Ada", 1), (2, "Bo", 1))
    assert customers.built() == "2 inserted, 0 updated, 0 unchanged"
    assert (customers.rows, customers.snapshots) == ([(1, "Ada"), (2, "Bo")], 1)

    put(lake, (1, None, 2), (3, "Cy", 1))  # the raw table has lost row 2
    merged = [(1, None), (2, "Bo"), (3, "Cy")]
    assert customers.built() == "1 inserted, 1 updated, 0 unchanged"
    assert (customers.rows, customers.snapshots) == (merged, 2)

    assert customers.built() == "0 inserted, 0 updated, 2 unchanged"
    assert (customers.rows, customers.snapshots) == (merged, 2)

    put(lake, (4, "Di", 1), (None, "Ed", 1))
    assert "a row of its select has no id, which is in its unique_key" in customers.refused()
    put(lake, (5, "Di", 1), (5, "Ed", 1))
    assert "two rows of its select have id = 5, which is its unique_key" in customers.refused()
    assert (customers.rows, customers.snapshots) == (merged, 2)

    put(lake, (3, "Cy", 1), (4, "Di", 1))
    more = MODEL.replace("changed_at\n", "changed_at, upper(name) as code\n")
    described = f"{YML}      - name: code\n        data_type: varchar\n"
    customers.write(more, described)
    assert "its select has other columns than its table: " in customers.refused()
    assert (customers.rows, customers.snapshots) == (merged, 2)
    customers.write(more.replace("unique_key", "on_schema_change='append_new_columns', unique_key"), described)
    assert customers.built() == "1 inserted, 1 updated, 0 unchanged"
    assert customers.rows == [(1, None, None), (2, "Bo", None), (3, "Cy", "CY"), (4, "Di", "DI")]
    assert customers.snapshots == 3

    customers.write(MODEL + NEW_ROWS_ONLY, YML)
    put(lake, (1, "Ann", 1), (2, "Ben", 3))
    assert "its table has columns that its select lacks: code. " in customers.refused()
    customers.built(full_refresh=True)
    assert (customers.rows, customers.snapshots) == ([(1, "Ann"), (2, "Ben")], 4)
    put(lake, (1, "Abe", 1), (2, "Bea", 4))  # row 1 is no newer than what silver has
    assert customers.built() == "0 inserted, 1 updated, 0 unchanged"
    assert (customers.rows, customers.snapshots) == ([(1, "Ann"), (2, "Bea")], 5)
