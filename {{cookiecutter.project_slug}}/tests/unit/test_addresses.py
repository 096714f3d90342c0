"""The address of Trino: the doctor, dbt and the engine read the same of it."""

from __future__ import annotations

import socket
from pathlib import Path

import jinja2
import pytest
import yaml

from lakehouse.cli.doctor import examine
from lakehouse.engines.trino import TrinoEngine
from lakehouse.settings import Settings, project_dir

PORTS = {
    "http://trino.lan": 80,
    "https://trino.lan/": 443,
    "http://trino.lan:8080": 8080,
    "https://trino.lan:8443": 8443,
}


@pytest.mark.parametrize(("url", "port"), PORTS.items())
def test_dbt_and_the_engine_and_the_doctor_ask_the_same_port(
    url: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(LAKEHOUSE_TARGET="trino", TRINO_URL=url, TLC_SOURCE=str(tmp_path))
    engine = TrinoEngine(settings)
    asked = []

    def refuse(address: tuple[str, int], **_: object) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    examine(settings)

    assert ("trino.lan", port) in asked
    assert (engine._connection.host, engine._connection.port) == ("trino.lan", port)
    assert profile(TRINO_URL=url) == ("trino.lan", port)
    engine.close()


def profile(**variables: str) -> tuple[str, int]:
    """Host and port as dbt reads them."""
    text = (project_dir() / "dbt" / "profiles.yml").read_text(encoding="utf-8")
    trino = yaml.safe_load(text)["lakehouse"]["outputs"]["trino"]

    def env_var(name: str, default: str) -> str:
        return variables.get(name, default)

    host, port = (jinja2.Template(trino[key]).render(env_var=env_var) for key in ("host", "port"))
    return host, int(port)
