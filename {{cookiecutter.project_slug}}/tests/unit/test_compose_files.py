"""The compose files, read without Docker: ports on loopback, images pinned and named once, no secret written down."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
FILES = ("compose.yaml", "compose.secure.yaml", "deploy/stack.yaml")
# Built here, from images of the list.
BUILT = {"iceberg-rest", "dagster-code", "superset-set-up"}
# The image of `dagster-code`, in which all of Dagster's processes run.
DAGSTER_IMAGE = "${DAGSTER_IMAGE:-${COMPOSE_PROJECT_NAME}-dagster}"
SUPERSET_IMAGE = "${SUPERSET_IMAGE:-${COMPOSE_PROJECT_NAME}-superset}"
SUPERSET = PROJECT / "deploy" / "superset"
# Secrets that are empty where nobody needs them: of a store that is not the lakehouse's own, and of Dagster's database
# and Superset, for which `make deploy-up` and `make bi-up` ask.
OPTIONAL = {
    *("SOURCE_S3_ACCESS_KEY", "SOURCE_S3_SECRET_KEY", "DAGSTER_POSTGRES_PASSWORD"),
    *("SUPERSET_SECRET_KEY", "SUPERSET_ADMIN_PASSWORD"),
}
# What a deployed run is not told: where data lies says the image, and ports are those of this machine.
OF_THIS_MACHINE = {"LAKEHOUSE_HOME", "TRINO_PORT", "REST_PORT", "S3_PORT"}
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY|ACCESS__KEY|ROOT_USER")


class _Loader(yaml.SafeLoader):
    """Knows compose's own tag for a list that replaces another instead of adding to it."""


def _sequence(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


_Loader.add_constructor("!override", _sequence)


def services(file: str) -> dict[str, dict[str, Any]]:
    document = yaml.load((PROJECT / file).read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    found: dict[str, dict[str, Any]] = document.get("services", {})
    return found


def images() -> dict[str, str]:
    lines = (PROJECT / "images.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_compose_yaml_describes_nothing_but_the_stack() -> None:
    assert services("compose.yaml") == {}
    assert (PROJECT / "compose.yaml").read_text("utf-8").count("path:") == 1
    assert "path: deploy/stack.yaml" in (PROJECT / "compose.yaml").read_text("utf-8")


@pytest.mark.parametrize("file", FILES)
def test_every_published_port_is_on_loopback(file: str) -> None:
    published = [(name, port) for name, service in services(file).items() for port in service.get("ports", [])]

    assert all(isinstance(port, str) and port.startswith("127.0.0.1:") for _, port in published), published
    assert not [name for name, service in services(file).items() if service.get("network_mode") == "host"]


def test_published_ports_are_those_that_the_docs_name() -> None:
    published = {name: len(service.get("ports", [])) for name, service in services("deploy/stack.yaml").items()}

    assert {name: count for name, count in published.items() if count} == {
        "object-store": 2,
        "iceberg-rest": 1,
        "trino": 1,
        "dagster-webserver": 1,
        "superset": 1,
    }
    assert services("compose.secure.yaml")["trino"]["ports"] == ["127.0.0.1:${TRINO_PORT:-8080}:8443"]


@pytest.mark.parametrize("file", FILES)
def test_every_image_is_a_variable_of_the_list(file: str) -> None:
    for name, service in services(file).items():
        if name in BUILT and "build" in service:
            given = set(service["build"]["args"].values())
            assert service["pull_policy"] == "never"
        elif service.get("image") in (DAGSTER_IMAGE, SUPERSET_IMAGE):
            given = set()
            assert service["pull_policy"] == "never"
        else:
            given = {service["image"]} if "image" in service else set()
        named = {re.fullmatch(r"\$\{(\w+)\}", image) for image in given}
        assert all(found and found[1] in images() for found in named), f"{name}: {given}"


def test_every_image_of_the_stack_is_pinned_by_digest() -> None:
    text = "".join((PROJECT / file).read_text("utf-8") for file in FILES)
    used = {name: image for name, image in images().items() if f"${{{name}}}" in text}

    assert len(used) == 5
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image) for image in used.values()), used


@pytest.mark.parametrize("file", FILES)
def test_no_secret_is_written_down_and_none_has_a_default(file: str) -> None:
    secrets = {
        (name, variable): str(value)
        for name, service in services(file).items()
        for variable, value in service.get("environment", {}).items()
        if SECRET.search(variable)
    }

    optional = {f"${{{name}:-}}" for name in OPTIONAL}
    assert secrets or file == "compose.yaml"
    assert not {
        where: value
        for where, value in secrets.items()
        if not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value) and value not in optional
    }


def test_a_deployment_without_a_password_of_its_database_is_not_begun(tmp_path: Path) -> None:
    """A project that was baked earlier has none in its `.env`, and its services must start all the same."""
    (tmp_path / ".env").write_text("DAGSTER_POSTGRES_PASSWORD=\n", "utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_")}
    command = ["make", "-f", str(PROJECT / "Makefile"), "deploy-up"]

    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)

    assert done.returncode
    assert "DAGSTER_POSTGRES_PASSWORD is not set. Nothing was started. Add it to .env" in done.stderr
    assert "docker" not in done.stdout


@pytest.mark.parametrize(("image", "builds"), [("", True), ("DAGSTER_IMAGE=registry.example/dagster:1", False)])
def test_an_image_that_is_ready_is_not_built(tmp_path: Path, image: str, *, builds: bool) -> None:
    """A `docker` that only notes what it is asked for stands in for the real one."""
    (tmp_path / ".env").write_text(f"DAGSTER_POSTGRES_PASSWORD=secret\n{image}\n", "utf-8")
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n', "utf-8")
    docker.chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_")}
    variables["PATH"] = f"{tmp_path}{os.pathsep}{variables['PATH']}"

    subprocess.run(["make", "-f", str(PROJECT / "Makefile"), "deploy-up"], cwd=tmp_path, env=variables, check=True)

    asked = (tmp_path / "asked").read_text("utf-8")
    assert ("build dagster-code" in asked) is builds
    assert "--profile dagster up -d --wait" in asked


@pytest.mark.parametrize("lacks", ["SUPERSET_SECRET_KEY", "SUPERSET_ADMIN_PASSWORD"])
def test_superset_is_not_begun_without_its_secrets(tmp_path: Path, lacks: str) -> None:
    given = {"SUPERSET_SECRET_KEY": "secret", "SUPERSET_ADMIN_PASSWORD": "secret", lacks: ""}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()), "utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SUPERSET_")}
    command = ["make", "-f", str(PROJECT / "Makefile"), "bi-up"]

    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)

    assert done.returncode
    assert f"{lacks} is not set. Nothing was started. Add it to .env" in done.stderr
    assert "docker" not in done.stdout


@pytest.mark.parametrize("name", ["superset-set-up", "superset"])
def test_superset_may_write_in_its_volume_alone(name: str) -> None:
    service = services("deploy/stack.yaml")[name]

    assert service["profiles"] == ["bi"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["superset:/var/lib/superset"]
    assert not {variable for variable in service["environment"] if variable.startswith(("S3_", "MINIO_", "POSTGRES_"))}
    assert "\nUSER 10001\n" in (SUPERSET / "Dockerfile").read_text("utf-8")


def test_supersets_files_name_columns_of_the_marts_alone() -> None:
    """And the dashboard has each chart, each chart asks the API for what the page draws."""
    read = {path: yaml.safe_load(path.read_text("utf-8")) for path in (SUPERSET / "lakehouse").rglob("*.yaml")}
    datasets, charts = (
        {one["uuid"]: one for path, one in read.items() if kind in path.parts} for kind in ("datasets", "charts")
    )
    (dashboard,) = (one for path, one in read.items() if "dashboards" in path.parts)

    for dataset in datasets.values():
        described = PROJECT / "dbt" / "models" / "marts" / f"{dataset['table_name']}.yml"
        (mart,) = yaml.safe_load(described.read_text("utf-8"))["models"]
        columns = [(column["name"], column["data_type"].upper()) for column in mart["columns"]]
        assert [(column["column_name"], column["type"]) for column in dataset["columns"]] == columns
        assert dataset["schema"] == "published"
    for chart in charts.values():
        dataset = datasets[chart["dataset_uuid"]]
        params, (query,) = chart["params"], json.loads(chart["query_context"])["queries"]
        assert query["metrics"] == (params["metrics"] if "metrics" in params else [params["metric"]])
        assert {*query["metrics"]} <= {metric["metric_name"] for metric in dataset["metrics"]}
        by = [column if isinstance(column, str) else column["label"] for column in query["columns"]]
        assert by == [*([params["x_axis"]] if "x_axis" in params else []), *params.get("groupby", [])]
        assert {*by} <= {column["column_name"] for column in dataset["columns"]}
    on_page = [
        one["meta"] for one in dashboard["position"].values() if isinstance(one, dict) and one["type"] == "CHART"
    ]
    assert sorted(meta["uuid"] for meta in on_page) == sorted(charts)
    assert len(charts) == 8


def test_a_deployed_run_has_every_setting_of_the_project() -> None:
    plain = services("deploy/stack.yaml")["dagster-code"]["environment"]
    over_tls = services("compose.secure.yaml")["dagster-code"]["environment"]

    known = {str(field.alias) for field in Settings.model_fields.values()}
    assert known - OF_THIS_MACHINE <= plain.keys() | over_tls.keys()


def test_only_dagsters_code_location_has_the_lakehouses_secrets() -> None:
    storage = {f"DAGSTER_POSTGRES_{name}" for name in ("HOST", "PORT", "DB", "USER", "PASSWORD")}
    stack = services("deploy/stack.yaml")

    for name in ("dagster-webserver", "dagster-daemon"):
        assert stack[name]["environment"].keys() == storage
    assert storage < stack["dagster-code"]["environment"].keys()
    assert not {name for name in stack["dagster-code"]["environment"] if "ROOT" in name or name == "POSTGRES_PASSWORD"}


@pytest.mark.parametrize("name", ["dagster-code", "dagster-webserver", "dagster-daemon"])
def test_a_process_of_dagster_may_write_in_its_volumes_alone(name: str) -> None:
    service = services("deploy/stack.yaml")[name]

    assert service["profiles"] == ["dagster"]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not [volume for volume in service["volumes"] if volume.startswith((".", "/"))]
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service["healthcheck"]["test"][2:] == ["deploy/dagster/healthy.py", name.removeprefix("dagster-")]


def test_dagsters_image_runs_as_a_user_and_needs_no_index_in_its_layers() -> None:
    lines = (PROJECT / "deploy" / "dagster" / "Dockerfile").read_text("utf-8").splitlines()

    assert [line for line in lines if line.startswith(("USER", "ARG", "FROM"))] == [
        "ARG PYTHON_IMAGE",
        "FROM ${PYTHON_IMAGE} AS packages",
        "FROM ${PYTHON_IMAGE}",
        "USER 10001",
    ]


def test_an_upgrade_stops_the_daemon_first_and_gives_runs_time_to_end() -> None:
    stack = services("deploy/stack.yaml")

    assert stack["dagster-daemon"]["depends_on"]["dagster-code"]["restart"] is True
    assert stack["dagster-code"]["stop_grace_period"] == "10m"
    # it ends when its runs have; the other server does not, and forgets them
    assert stack["dagster-code"]["command"][:3] == ["dagster", "api", "grpc"]


def test_nothing_secret_can_get_into_dagsters_image() -> None:
    lines = (PROJECT / ".dockerignore").read_text("utf-8").splitlines()

    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert not [
        line for line in lines if line.startswith("!") and (".env" in line or "data" in line or "secure" in line)
    ]


def test_what_dagsters_image_copies_is_sent_to_its_builder() -> None:
    text = (PROJECT / "deploy" / "dagster" / "Dockerfile").read_text("utf-8")
    copied = {name for words in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for name in words.split()}
    sent = {line[1:] for line in (PROJECT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}

    assert copied == sent
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {project["readme"], *project["license-files"]} <= copied


def test_workers_over_tls_differ_from_others_by_the_shared_secret() -> None:
    def lines(path: str) -> set[str]:
        text = (PROJECT / path).read_text("utf-8").splitlines()
        return {line for line in text if line and not line.startswith("#")}

    secret = "internal-communication.shared-secret=${ENV:TRINO_SHARED_SECRET}"
    assert lines("deploy/secure/worker.properties") == lines("deploy/trino/worker.properties") | {secret}
    assert secret in lines("deploy/secure/config.properties")
    worker = services("compose.secure.yaml")["trino-worker"]
    assert worker["volumes"] == ["./deploy/secure/worker.properties:/etc/trino/config.properties:ro"]


@pytest.mark.parametrize(
    "file", sorted(p.relative_to(PROJECT).as_posix() for p in (PROJECT / "deploy").rglob("*.properties"))
)
def test_trinos_secrets_come_from_its_environment(file: str) -> None:
    lines = (PROJECT / file).read_text("utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    secrets = {name: value for name, value in given.items() if re.search(r"secret|access-key|(?<!-)password$", name)}

    assert all(re.fullmatch(r"\$\{ENV:\w+\}", value) for value in secrets.values()), secrets
