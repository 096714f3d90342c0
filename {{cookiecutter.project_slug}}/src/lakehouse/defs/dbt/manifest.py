"""dbt's manifest, which Dagster needs in order to know the models: made when dbt's files have changed, else read."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from lakehouse import children
from lakehouse.dbt_environment import dbt_environment, project_options
from lakehouse.errors import TransformError
from lakehouse.settings import Settings, project_dir
from lakehouse.tested import fingerprint

PARTIAL_PARSE, _PARSED = "partial_parse.msgpack", ".msgpack"
_BEFORE = "No model was built. What was landed and loaded before stays."


def manifest(settings: Settings, state: str = _BEFORE) -> dict[str, Any]:
    """The manifest of the dbt project for the target; `state` says what the caller has done if there is none.

    It lies in `LAKEHOUSE_HOME/dbt` under the hash of all that it is made from, so it can't be stale, and two processes
    that make it at once make the same. A parse takes some seconds and no database.

    Raises:
        TransformError: dbt can't parse the project; its own words say where.
    """
    path = _place(settings)
    try:
        return _read(path)
    except FileNotFoundError:
        return _parse(settings, path, state)


def start_from_parsed(settings: Settings, target_path: Path) -> None:
    """Give a dbt run what the parse has left, so that it need not parse again."""
    target_path.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(_place(settings).with_suffix(_PARSED), target_path / PARTIAL_PARSE)


def tidy(target_path: Path) -> None:
    """Keep the log of a dbt run and its SQL; drop the megabytes that it shares with every other run."""
    for name in (PARTIAL_PARSE, "manifest.json", "graph.gpickle", "graph_summary.json", "semantic_manifest.json"):
        (target_path / name).unlink(missing_ok=True)


def _place(settings: Settings) -> Path:
    return settings.home / "dbt" / f"manifest-{settings.target}-{fingerprint(settings)}.json"


def _parse(settings: Settings, path: Path, state: str) -> dict[str, Any]:
    """Run `dbt parse` in a folder of its own, and put the manifest in its place whole."""
    dbt = project_dir() / "dbt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        options = [*project_options(settings), "--target-path", scratch, "--log-path", scratch]
        command = children.python("-m", "lakehouse.dbt_process", "--quiet", "parse", "--no-partial-parse", *options)
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=dbt_environment(settings), capture_output=True, text=True, check=False
        )
        made = Path(scratch, "manifest.json")
        if done.returncode or not made.exists():
            said = (done.stdout + done.stderr).strip() or f"dbt ended with code {done.returncode} and said nothing."
            raise TransformError(
                f"dbt can't read its project in {dbt}. {state} Correct what dbt says below; then start the same "
                f"command or Dagster run again.\n{said}"
            )
        Path(scratch, PARTIAL_PARSE).replace(path.with_suffix(_PARSED))
        made.replace(path)
        found = _read(path)
    for old in path.parent.glob(f"manifest-{settings.target}-*"):
        if old.stem != path.stem:
            old.unlink(missing_ok=True)
    return found


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read
