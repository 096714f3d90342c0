"""`make` in odd surroundings: the Makefile decides how packages are installed, the user where they come from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BakedProject

TEMPLATE = Path(__file__).resolve().parents[1]
STEERING = {
    "PIP_USER": "1",
    "PIP_TARGET": "/elsewhere",
    "PIP_PREFIX": "/elsewhere",
    "PIP_DRY_RUN": "1",
    "PIP_CONSTRAINT": "/elsewhere/constraints.txt",
    "UV_SYSTEM_PYTHON": "1",
    "UV_PROJECT_ENVIRONMENT": "/elsewhere",
    "UV_CONSTRAINT": "/elsewhere/constraints.txt",
    "PYTHONHOME": "/elsewhere",
    "PYTHONPATH": "/elsewhere",
}
PACKAGE_SOURCES = {
    "PIP_INDEX_URL": "https://packages.example/simple",
    "UV_DEFAULT_INDEX": "https://packages.example/simple",
}


@pytest.mark.parametrize("where", ["template", "bake"])
def test_no_variable_puts_packages_somewhere_else(bake: Callable[..., BakedProject], where: str) -> None:
    said = subprocess.run(
        ["make", "--eval=shown: ; @env", "shown"],
        cwd=TEMPLATE if where == "template" else bake().path,
        env={"PATH": os.environ["PATH"], **STEERING, **PACKAGE_SOURCES},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    assert {name: found.get(name) for name in STEERING} == {**dict.fromkeys(STEERING), "PIP_USER": "0"}
    assert {name: found.get(name) for name in PACKAGE_SOURCES} == PACKAGE_SOURCES
