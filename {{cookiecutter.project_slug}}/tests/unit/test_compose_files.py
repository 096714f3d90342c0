"""The compose files, read without Docker: ports on loopback, images pinned and named once, no secret written down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
FILES = ("compose.yaml", "compose.secure.yaml", "deploy/stack.yaml")
# Built here, from images of the list.
BUILT = {"iceberg-rest"}
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
    }
    assert services("compose.secure.yaml")["trino"]["ports"] == ["127.0.0.1:${TRINO_PORT:-8080}:8443"]


@pytest.mark.parametrize("file", FILES)
def test_every_image_is_a_variable_of_the_list(file: str) -> None:
    for name, service in services(file).items():
        if name in BUILT:
            given = set(service["build"]["args"].values())
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

    assert secrets or file == "compose.yaml"
    assert not {where: value for where, value in secrets.items() if not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)}


@pytest.mark.parametrize(
    "file", sorted(p.relative_to(PROJECT).as_posix() for p in (PROJECT / "deploy").rglob("*.properties"))
)
def test_trinos_secrets_come_from_its_environment(file: str) -> None:
    lines = (PROJECT / file).read_text("utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    secrets = {name: value for name, value in given.items() if re.search(r"secret|access-key|(?<!-)password$", name)}

    assert all(re.fullmatch(r"\$\{ENV:\w+\}", value) for value in secrets.values()), secrets
