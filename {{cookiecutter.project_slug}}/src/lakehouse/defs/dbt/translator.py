"""How dbt's nodes appear in Dagster: keys by the names of their tables, groups, owners, badges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS
from lakehouse.defs.automation.conditions import after_inputs
from lakehouse.defs.common import OWNERS
from lakehouse.defs.freshness import freshness


class TableNames(DagsterDbtTranslator):
    """`gold/fct_daily_trips` for a model, `raw/yellow_trips` for a source; the group is the schema."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_asset_checks=True, enable_source_tests_as_checks=True))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Schema and table."""
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """That of the dataset for sources, else the schema: silver or gold."""
        if dbt_resource_props["resource_type"] == "source":
            dataset = _dataset(dbt_resource_props)
            return (dataset.group if dataset else "") or "bronze"
        return str(dbt_resource_props["schema"])

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """dagster-dbt's, with the badge of Iceberg; gold is late when the datasets that it is made of are."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        spec = spec.replace_attributes(kinds={*spec.kinds, "iceberg"})
        policy = freshness(_read_by(manifest, unique_id)) if spec.key.path[0] == "gold" else None
        return spec.replace_attributes(freshness_policy=policy) if policy else spec

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """dagster-dbt's, with the table's name in the catalog: DuckDB's own database is called `memory`."""
        name = f"iceberg.{dbt_resource_props['schema']}.{dbt_resource_props['name']}"
        return {**super().get_metadata(dbt_resource_props), "dagster/table_name": name}

    def get_automation_condition(self, dbt_resource_props: Mapping[str, Any]) -> dg.AutomationCondition[Any] | None:
        """Models follow their inputs. Seeds have none: each build makes those that are missing."""
        return after_inputs() if dbt_resource_props["resource_type"] == "model" else None

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        """The dataset's owner for sources; for models, the owners that dbt knows, else the project's."""
        if dataset := _dataset(dbt_resource_props):
            return [dataset.owner]
        return super().get_owners(dbt_resource_props) or OWNERS


def _read_by(manifest: Mapping[str, Any], unique_id: str) -> Iterator[Dataset]:
    """The datasets that a model is made of, also through other models; one may come twice."""
    for parent in manifest["parent_map"].get(unique_id, ()):
        if dataset := _dataset(manifest["sources"].get(parent, {})):
            yield dataset
        yield from _read_by(manifest, parent)


def _dataset(dbt_resource_props: Mapping[str, Any]) -> Dataset | None:
    """The dataset whose raw table this node is."""
    table = f"{dbt_resource_props.get('schema')}.{dbt_resource_props.get('name')}"
    return next((dataset for dataset in DATASETS.values() if dataset.table == table), None)
