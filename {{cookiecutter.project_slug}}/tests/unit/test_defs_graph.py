"""The asset graph as a contract: keys, groups, parents and partitions, the same on both targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.marts import MARTS
from tests.pages import code_on_page, own_definitions
from tests.unit.dagster_project import Project

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS, daily, monthly, whole
from lakehouse.settings import project_dir

DESCRIBE = """
import json
from lakehouse.definitions import defs
repository = defs().get_repository_def()
graph = repository.asset_graph
nodes = {
    key.to_user_string(): [
        graph.get(key).group_name,
        sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
        graph.get(key).partitions_def is not None,
    ]
    for key in graph.get_all_asset_keys()
}
jobs = {
    job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
    for job in repository.get_all_jobs() if not job.name.startswith("__")
}
made = [graph.get(key) for key in graph.executable_asset_keys]
undocumented = [node.key.to_user_string() for node in made if not node.description]
ownerless = [node.key.to_user_string() for node in made if not node.owners]
versionless = [node.key.to_user_string() for node in made if not node.code_version]
print(json.dumps({"nodes": nodes, "jobs": jobs, "gaps": [undocumented, ownerless, versionless]}))
"""

TRIPS = ["silver/stg_green_trips", "silver/stg_yellow_trips"]
SEEDS = ["payment_type_texts", "payment_types", "rate_codes", "trip_types", "vendor_texts", "vendors"]
# Datasets of one's own give their assets by being declared; days are in no job of months.
OWN = [dataset for name, dataset in DATASETS.items() if name not in ("yellow", "green", "zones")]
STAGING = project_dir() / "dbt" / "models" / "staging"


def assets_of(datasets: list[Dataset]) -> set[str]:
    """The assets that these datasets give by being declared."""
    return {f"{room}/{dataset.landing_key}" for dataset in datasets for room in ("landing", "raw")}


MONTHLY, DAILY, WHOLE = map(assets_of, (monthly(), daily(), whole()))
# asset: group, parents, whether it has months or days. Of what comes with the project; your own need no entry.
CONTRACT: dict[str, list[Any]] = {
    **{
        f"source/{one.landing_key}": [one.group or "source", [], bool(one.parts.column)]
        for one in DATASETS.values()
        if one.source is None
    },
    **{
        f"landing/{one.landing_key}": [
            one.group or "landing",
            [] if one.source else [f"source/{one.landing_key}"],
            bool(one.parts.column),
        ]
        for one in OWN
    },
    **{
        f"raw/{one.landing_key}": [
            one.group or "bronze",
            ["iceberg_schemas", f"landing/{one.landing_key}"],
            bool(one.parts.column),
        ]
        for one in OWN
    },
    **{
        f"silver/stg_{one.landing_key}": ["silver", [f"raw/{one.landing_key}"], False]
        for one in OWN
        if (STAGING / f"stg_{one.landing_key}.sql").exists()
    },
    "landing/green_trips": ["landing", ["source/green_trips"], True],
    "landing/yellow_trips": ["landing", ["source/yellow_trips"], True],
    "landing/taxi_zones": ["landing", ["source/taxi_zones"], False],
    "iceberg_schemas": ["bronze", [], False],
    "raw/green_trips": ["bronze", ["iceberg_schemas", "landing/green_trips"], True],
    "raw/yellow_trips": ["bronze", ["iceberg_schemas", "landing/yellow_trips"], True],
    "raw/taxi_zones": ["bronze", ["iceberg_schemas", "landing/taxi_zones"], False],
    "silver/stg_green_trips": ["silver", ["raw/green_trips"], False],
    "silver/stg_yellow_trips": [
        "silver",
        ["raw/yellow_trips", "silver/payment_type_texts", "silver/vendor_texts"],
        False,
    ],
    "silver/stg_taxi_zones": ["silver", ["raw/taxi_zones"], False],
    **{f"silver/{seed}": ["silver", [], False] for seed in SEEDS},
    "gold/dim_zones": ["gold", ["silver/stg_taxi_zones"], False],
    "silver/int_trips_by_hour": ["silver", TRIPS, False],
    "silver/int_trips_by_route": ["silver", TRIPS, False],
    "gold/fct_daily_trips": ["gold", ["silver/int_trips_by_hour"], False],
    "gold/fct_hourly_revenue": ["gold", ["silver/int_trips_by_hour"], False],
    "gold/fct_monthly_quality": ["gold", ["silver/int_trips_by_hour"], False],
    "gold/fct_trip_distance_stats": ["gold", ["gold/dim_zones", "silver/int_trips_by_route"], False],
    "published/gold": ["published", [f"gold/{mart}" for mart in MARTS], False],
    "iceberg_snapshot_report": [
        "reports",
        sorted(
            [
                *(f"gold/{mart}" for mart in MARTS),
                *(f"raw/{dataset.landing_key}" for dataset in DATASETS.values() if dataset.parts.column),
            ]
        ),
        False,
    ],
}


@pytest.fixture(scope="module", params=["embedded", "trino"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What Dagster finds in the project."""
    return Project(tmp_path_factory.mktemp("graph"), {"LAKEHOUSE_TARGET": request.param}).ask(DESCRIBE)


def test_the_asset_graph_is_as_agreed_and_loads_without_services(found: Any) -> None:
    # Assets of one's own may be beside those of the contract, in a job or in none.
    jobs = {name: set(assets) & set(CONTRACT) for name, assets in found["jobs"].items()}
    assert {key: found["nodes"].get(key) for key in CONTRACT} == CONTRACT
    assert found["gaps"] == [[], [], []]
    sources = {key for key in CONTRACT if key.startswith("source/")}
    assert jobs["lakehouse_full_pipeline"] == set(CONTRACT) - DAILY - sources - {"published/gold"}
    assert jobs["look_at_sources"] == {"source/green_trips", "source/yellow_trips", "source/taxi_zones"} | (
        sources - {key.replace("landing/", "source/") for key in DAILY}
    )
    assert jobs["bronze_only"] == {"iceberg_schemas"} | MONTHLY | WHOLE
    assert jobs["dbt_only"] == {key for key in CONTRACT if key.startswith(("silver/", "gold/"))}
    assert jobs["test_all"] == jobs["dbt_only"]
    assert jobs["publish"] == jobs["dbt_only"] | {"published/gold"}


def test_each_kind_of_parts_has_a_job_of_exactly_its_datasets(found: Any) -> None:
    jobs = found["jobs"]

    names = {"bronze_months": MONTHLY, "bronze_days": DAILY, "bronze_whole": WHOLE}
    assert {name: set(jobs.get(name, [])) for name in names} == names


def test_the_files_that_the_docs_show_are_found(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    copied = code_on_page("my_chart")  # by a reader, into the project
    (project.root / "src" / "lakehouse" / "defs" / "chart.py").write_text(copied, encoding="utf-8")
    own_definitions(project)
    found = project.ask("""
import json
from lakehouse.definitions import defs
repository = defs().get_repository_def()
job = repository.get_job("lakehouse_full_pipeline")
policies = {key.to_user_string(): str(job.asset_layer.get(key).backfill_policy) for key in
            job.asset_layer.executable_asset_keys}
schedules = {one.name: [one.job_name, one.default_status.value] for one in repository.schedule_defs}
sensors = {one.name: [one.job_name if one.name == "build_after_loads" else "", one.default_status.value]
           for one in repository.sensor_defs}
made = [repository.asset_graph.get(key) for key in repository.asset_graph.executable_asset_keys]
gaps = [node.key.to_user_string() for node in made
        if not (node.description and node.owners and node.code_version)]
print(json.dumps({"policies": policies, "schedules": schedules, "sensors": sensors, "gaps": gaps}))
""")

    made = {key for key in CONTRACT if not key.startswith("source/")}
    assert {*made, "my_chart"} - DAILY - {"published/gold"} <= set(found["policies"])
    assert len(set(found["policies"].values())) == 1
    tidy = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--config",
        str(project.root / "pyproject.toml"),
        "src/lakehouse/defs",
    ]
    assert subprocess.run(tidy, cwd=project.root, check=False).returncode == 0
    assert found["schedules"]["build_at_night"] == ["dbt_only", "STOPPED"]
    assert found["schedules"]["on_mondays"] == ["weekly_reports", "STOPPED"]
    assert found["sensors"]["build_after_loads"] == ["dbt_only", "STOPPED"]
    assert found["sensors"]["new_files"] == ["", "STOPPED"]
    assert found["gaps"] == []


def test_a_file_dropped_into_defs_is_found_without_registration(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    mine = project.root / "src" / "lakehouse" / "defs" / "mine"
    mine.mkdir()
    (mine / "weather.py").write_text(
        "import dagster as dg\n\n\n@dg.asset(deps=[['landing', 'taxi_zones']])\ndef weather() -> None: ...\n",
        encoding="utf-8",
    )
    script = (
        "import json; from lakehouse.definitions import defs; print(json.dumps([k.to_user_string() for k in "
        "defs().get_repository_def().asset_graph.get_all_asset_keys()]))"
    )
    found = project.ask(script)

    assert {*CONTRACT, "weather"} <= set(found)
