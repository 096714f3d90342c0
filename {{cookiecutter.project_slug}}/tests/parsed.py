"""dbt's parse of the project, made once by each test process: it costs ten seconds, and is the same for all tests."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from lakehouse.dbt_environment import dbt_environment
from lakehouse.defs.dbt.manifest import PARTIAL_PARSE, manifest
from lakehouse.settings import Settings


def give_parse(variables: Mapping[str, str]) -> None:
    """Put the parse into a lakehouse without one, where Dagster looks for it, and where the first build does.

    Dagster takes it only if its hash is that of the files that Dagster has, and dbt reads again what has changed.

    Args:
        variables: of the lakehouse, `LAKEHOUSE_HOME` among them.
    """
    settings = Settings.model_validate(dict(variables))
    # dbt starts from no parse that was made with other values of what its profile reads
    profile = {name: value for name, value in dbt_environment(settings).items() if name.startswith("TRINO_") and value}
    parsed = parse_home(settings.target, tuple(sorted(profile.items())))
    home = settings.home / "dbt"
    (home / settings.target).mkdir(parents=True, exist_ok=True)
    for file in (parsed / "dbt").iterdir():
        shutil.copyfile(file, home / file.name)
        if file.suffix == ".msgpack":
            shutil.copyfile(file, home / settings.target / PARTIAL_PARSE)


@cache
def parse_home(target: str = "embedded", profile: tuple[tuple[str, str], ...] = ()) -> Path:
    """A home with nothing but the project's parse in it, for reading."""
    home = Path(tempfile.mkdtemp(prefix="parsed-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("LAKEHOUSE_PROJECT_DIR", raising=False)  # a test's copy, which it may change
        manifest(Settings.model_validate({"LAKEHOUSE_TARGET": target, "LAKEHOUSE_HOME": str(home)} | dict(profile)))
    return home
