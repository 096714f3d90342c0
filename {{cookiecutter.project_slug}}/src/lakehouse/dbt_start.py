"""dbt, started before there is something to do: its imports and its parsing of the project take seconds.

A command that will build starts it first, and does its own work meanwhile. Then it tells it what to build.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from lakehouse import children, dbt_process
from lakehouse.dbt_environment import dbt_environment, project_options, target_path, tested_file
from lakehouse.settings import Settings, project_dir

# Files of dbt's folder that are no sources.
_NOT_SOURCES = frozenset({"target", "logs", "dbt_packages"})


class Dbt:
    """A process of dbt that waits for what to do, or none yet. As a context it ends what nobody took."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._waiting is not None:
            self._waiting.kill()  # it has written nothing that anybody reads
            self._waiting.communicate()

    def start(self) -> None:
        """Let it import and parse now. A second time does nothing."""
        if self._waiting is None:
            command = children.python("-m", "lakehouse.dbt_process", dbt_process.LATER)
            kept = project_dir() / "dbt" / "target" / f"{self._settings.target}.msgpack"
            command += [str(target_path(self._settings)), str(kept), *self._options()]
            self._waiting = subprocess.Popen(  # noqa: S603 - our own command
                command,
                env=dbt_environment(self._settings),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )

    def start_if_likely(self) -> None:
        """Start it if a build will probably find something new. If it does not, seconds of a processor are lost."""
        if _is_likely(self._settings):
            self.start()

    def tell(self, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """Tell it what to do. The process is the caller's from now on: what it prints, and its end.

        Args:
            arguments: dbt's own, without the options that say which project it is, for which target.
            environment: all of it.
        """
        self.start()
        process, self._waiting = self._waiting, None
        assert process is not None and process.stdin is not None  # noqa: S101, PT018 - for the type checker
        order = {"arguments": [*arguments, *self._options()], "environment": dict(environment)}
        with suppress(OSError):  # it has ended: what it said follows
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.close()
        process.stdin = None
        return process

    def _options(self) -> list[str]:
        return [*project_options(self._settings), "--log-path", str(self._settings.home / "dbt" / "logs")]


def _is_likely(settings: Settings) -> bool:
    """Whether the catalog or a file of dbt's is newer than the notes of the last build. A catalog on Postgres is not.

    It decides nothing: `build` looks at snapshots and fingerprints.
    """
    try:
        noted = tested_file(settings).stat().st_mtime_ns
        return any(changed > noted for changed in _times(settings))
    except OSError:  # nothing was built yet, or a folder is missing: `build` says which
        return True


def _times(settings: Settings) -> Iterator[int]:
    """When the catalog's files and dbt's sources changed last, in nanoseconds."""
    root = project_dir() / "dbt"
    folders = [path for path in root.iterdir() if path.name not in _NOT_SOURCES]
    found: list[Path] = list(settings.home.glob(f"{settings.catalog_file.name}*"))
    for folder in folders:
        found += [folder, *folder.rglob("*")]
    for path in found:
        with suppress(OSError):
            yield path.stat().st_mtime_ns
