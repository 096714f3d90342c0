"""Rules of a well-kept dbt project, as checks on its manifest: those of dbt-project-evaluator that matter here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lakehouse.datasets.registry import DATASETS
from lakehouse.settings import project_dir

Node = dict[str, Any]
DBT = project_dir() / "dbt"


def dbt(target_path: Path, *arguments: str) -> str:
    options = ["--project-dir", str(DBT), "--profiles-dir", str(DBT)]
    done = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "--warn-error", *arguments, *options],
        env=os.environ | {"DBT_TARGET_PATH": str(target_path), "DBT_LOG_PATH": str(target_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("manifest")
    dbt(target, "parse")
    read: dict[str, Any] = json.loads((target / "manifest.json").read_text("utf-8"))
    return read


def nodes(manifest: dict[str, Any], kind: str) -> list[Node]:
    found = [node for node in manifest["nodes"].values() if node["resource_type"] == kind]
    assert found
    return found


def folder(node: Node) -> str:
    return str(node["fqn"][1])


def parents(manifest: dict[str, Any], node: Node) -> list[Node]:
    everything = {**manifest["nodes"], **manifest["sources"]}
    return [everything[name] for name in node["depends_on"]["nodes"]]


def test_it_parses_without_a_warning_for_the_other_target_too(tmp_path: Path) -> None:
    dbt(tmp_path, "parse", "--target", "trino")


def test_names_tell_the_layer(manifest: dict[str, Any]) -> None:
    prefixes = {"staging": "stg_", "intermediate": "int_", "marts": ("fct_", "dim_")}
    schemas = {"staging": "silver", "intermediate": "silver", "marts": "gold"}

    for model in nodes(manifest, "model"):
        assert model["name"].startswith(prefixes[folder(model)])
        assert model["schema"] == schemas[folder(model)]


def test_layers_are_read_in_order_only(manifest: dict[str, Any]) -> None:
    may_read = {
        "staging": {"source", "seed"},
        "intermediate": {"staging", "intermediate"},
        "marts": {"staging", "intermediate", "marts"},
    }

    for model in nodes(manifest, "model"):
        layers = {p["resource_type"] if p["resource_type"] != "model" else folder(p) for p in parents(manifest, model)}
        assert layers, f"{model['name']} reads nothing"
        assert layers <= may_read[folder(model)], model["name"]


def test_no_model_reads_again_what_its_only_reader_reads(manifest: dict[str, Any]) -> None:
    """A model that one other model alone reads, beside what it is made from, is a step that belongs into that model."""
    reads = {model["unique_id"]: set(model["depends_on"]["nodes"]) for model in nodes(manifest, "model")}

    for name, read in reads.items():
        readers = [other for other, theirs in reads.items() if name in theirs]
        assert len(readers) != 1 or not (read & reads[readers[0]]), f"{readers[0]} reads what {name} reads already"


def test_no_table_is_two_sources(manifest: dict[str, Any]) -> None:
    tables = [(source["schema"], source["identifier"]) for source in manifest["sources"].values()]

    assert len(tables) == len(set(tables))


def test_what_describes_a_model_lies_beside_it(manifest: dict[str, Any]) -> None:
    for model in nodes(manifest, "model"):
        described = model["patch_path"].partition("://")[2]
        assert described == str(Path(model["original_file_path"]).with_suffix(".yml"))


def test_each_source_is_staged_by_exactly_one_model(manifest: dict[str, Any]) -> None:
    readers = {source["name"]: 0 for source in manifest["sources"].values()}
    for model in nodes(manifest, "model"):
        sources = [p["name"] for p in parents(manifest, model) if p["resource_type"] == "source"]
        assert len(sources) == (folder(model) == "staging")
        for name in sources:
            readers[name] += 1

    assert readers == dict.fromkeys(readers, 1)
    assert {"yellow_trips", "green_trips", "taxi_zones"} <= set(readers)
    assert set(readers) <= {dataset.table.split(".")[1] for dataset in DATASETS.values()}


def test_nothing_is_written_down_that_ref_and_source_should_say(manifest: dict[str, Any]) -> None:
    for model in nodes(manifest, "model"):
        hard_coded = re.findall(r"(?i)\b(?:from|join)\s+(?:raw|silver|gold)\.", model["raw_code"])
        assert not hard_coded, model["name"]


@pytest.mark.parametrize("kind", ["model", "seed"])
def test_every_model_and_column_is_described_and_typed(manifest: dict[str, Any], kind: str) -> None:
    for node in nodes(manifest, kind):
        assert node["description"], node["name"]
        assert node["columns"], node["name"]
        for column in node["columns"].values():
            assert column["description"], (node["name"], column["name"])
            assert column["data_type"], (node["name"], column["name"])


def test_every_source_and_exposure_is_described(manifest: dict[str, Any]) -> None:
    for source in manifest["sources"].values():
        assert source["description"]
        assert source["source_description"]
    for exposure in manifest["exposures"].values():
        assert exposure["description"]
        assert exposure["owner"]["name"]


def test_every_table_has_its_columns_and_its_key_tested(manifest: dict[str, Any]) -> None:
    keys = {"unique_together", "unique"}
    tests: dict[str, set[str]] = {}
    for test in nodes(manifest, "test"):
        if test.get("attached_node"):
            tests.setdefault(test["attached_node"], set()).add(test["test_metadata"]["name"])

    for model in nodes(manifest, "model"):
        if model["config"]["materialized"] != "ephemeral":
            assert "columns_as_declared" in tests[model["unique_id"]]
            assert tests[model["unique_id"]] & keys, model["name"]
    for seed in nodes(manifest, "seed"):
        assert {"unique", "not_null"} <= tests[seed["unique_id"]]


def test_every_derived_column_has_a_unit_test(manifest: dict[str, Any]) -> None:
    # as they are in raw
    copied = {"file_month", "file_row", "source_sha256", "pickup_at", "dropoff_at"}
    expected: dict[str, set[str]] = {}
    for test in manifest["unit_tests"].values():
        expected.setdefault(test["model"], set()).update(*(row.keys() for row in test["expect"]["rows"]))

    for model in nodes(manifest, "model"):
        # silver of other data than trips is a copy of raw until it has rules: zones, and what new-dataset writes
        is_copy = folder(model) == "staging" and "rejection_reason" not in model["columns"]
        if is_copy or model["name"] in {"dim_zones", "int_trips_unioned"}:
            continue
        assert set(model["columns"]) - copied - expected[model["name"]] == set(), model["name"]


def test_every_mart_is_exposed(manifest: dict[str, Any]) -> None:
    exposed = {name for exposure in manifest["exposures"].values() for name in exposure["depends_on"]["nodes"]}

    models = {model["unique_id"]: model for model in nodes(manifest, "model")}
    assert {name for name, model in models.items() if folder(model) == "marts"} <= exposed
    assert exposed <= models.keys()
    assert not {models[name]["config"]["materialized"] for name in exposed} & {"view", "ephemeral"}


def test_no_model_reads_too_much_and_none_is_read_by_nobody(manifest: dict[str, Any]) -> None:
    read = {
        name for kind in ("model", "test") for node in nodes(manifest, kind) for name in node["depends_on"]["nodes"]
    }

    for model in nodes(manifest, "model"):
        assert len(parents(manifest, model)) <= 3
        assert model["unique_id"] in read


def test_the_docs_site_builds_without_network(tmp_path: Path) -> None:
    dbt(tmp_path, "docs", "generate", "--static", "--target", "embedded")

    page = (tmp_path / "static_index.html").read_text("utf-8")
    assert "fct_trip_distance_stats" in page
    assert "Why the marts leave the row out" in page
