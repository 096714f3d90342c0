"""What the ticks of both sensors of files share: the cursor, whether a run was asked for, a short list of names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Self

import dagster as dg

from lakehouse.datasets.file import DatasetFile
from lakehouse.defs.one_run import file_tag

NAMES_SHOWN = 5


@dataclass
class Cursor:
    """Versions by file, `{"sales 2024-01-05": "0123456789abcdef"}`: what is dealt with, and what waits."""

    known: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read a cursor. One that is missing, or that somebody wrote by hand, is empty: then files are compared."""
        empty = cls()
        try:
            read = json.loads(text or "{}")
            kinds = {one.name: type(getattr(empty, one.name)) for one in fields(cls)}
            return cls(**{name: kind(read[name]) for name, kind in kinds.items() if name in read})
        except (ValueError, TypeError):
            return empty

    def __str__(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def was_asked(instance: dg.DagsterInstance, file: DatasetFile, version: str) -> bool:
    """Whether there was a run for this version of the file already, however it ended."""
    return bool(instance.get_runs(dg.RunsFilter(tags={file_tag(file): version}), limit=1))


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
