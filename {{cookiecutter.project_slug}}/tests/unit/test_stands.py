"""What would change a large choice of the template: one of these tests turns red when it comes.

Then read "Stands" in the template's docs/decisions.md, and decide again.
"""

from __future__ import annotations

from importlib.metadata import requires
from pathlib import Path

import pytest
from dagster._annotations import is_deprecated, is_superseded
from dagster_dbt import dbt_assets
from packaging.requirements import Requirement
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField


def test_pyiceberg_writes_no_tables_of_version_3_yet(tmp_path: Path) -> None:
    catalog = SqlCatalog("stand", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=tmp_path.as_uri())
    catalog.create_namespace("stand")

    with pytest.raises(NotImplementedError, match="Writing V3 is not yet supported"):
        catalog.create_table(
            "stand.v3", Schema(NestedField(1, "number", LongType())), properties={"format-version": "3"}
        )


def test_the_adapter_for_trino_stays_below_dbt_2() -> None:
    needs = [Requirement(line) for line in requires("dbt-trino") or []]

    (dbt,) = [one for one in needs if one.name == "dbt-core"]
    assert not dbt.specifier.contains("2.0.0")


def test_dagster_calls_dbt_assets_neither_deprecated_nor_superseded() -> None:
    assert not is_deprecated(dbt_assets)
    assert not is_superseded(dbt_assets)
