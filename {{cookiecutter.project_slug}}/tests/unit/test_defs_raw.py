"""What a raw table's asset records of a load: also of one that was not needed."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from tests.lake import Lake

from lakehouse.tlc.generate import write_zones
from lakehouse.tlc.months import Month

# Outside of Dagster's own loading, which keeps quiet about the first; the second is Dagster's own, of resources that
# have resources.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:InitResourceContext:DeprecationWarning"),
]


def materialized(lake: Lake) -> dict[str, dict[str, Any]]:
    """The metadata that a materialization of January and of the zones records, by asset."""
    from lakehouse.defs.ingestion.raw import raw_assets, raw_zones
    from lakehouse.defs.resources import resources

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [*raw_assets, raw_zones],
            partition_key="2024-01-01",
            resources=resources(lake.settings),
            instance=instance,
            selection=["raw/green_trips", "raw/taxi_zones"],
        )
        assert result.success
        events = [event.materialization for event in result.get_asset_materialization_events()]
    return {
        event.asset_key.to_user_string(): {name: said.value for name, said in event.metadata.items()}
        for event in events
    }


def test_a_month_that_is_loaded_already_has_the_snapshot_of_its_table_on_record(lake: Lake) -> None:
    lake.landing.put("green", Month(2024, 1), lake.generate("green", "2024-01", 50), "test")
    lake.landing.put("zones", None, write_zones(lake.scratch / "taxi_zone_lookup.csv"), "test")

    loaded, unchanged = materialized(lake), materialized(lake)

    for asset in ("raw/green_trips", "raw/taxi_zones"):
        current = str(lake.table(asset.replace("/", ".")).metadata.current_snapshot_id)
        assert (loaded[asset]["action"], unchanged[asset]["action"]) == ("loaded", "unchanged")
        assert loaded[asset]["snapshot_id"] == unchanged[asset]["snapshot_id"] == current
        assert "None" not in {str(value) for said in (loaded, unchanged) for value in said[asset].values()}
