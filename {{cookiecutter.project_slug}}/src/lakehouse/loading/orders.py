"""What the command tells a process that loads files, and what that answers. Quick to import, and all of it pickles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lakehouse.datasets.file import DatasetFile


@dataclass(frozen=True)
class Options:
    """The options of `lakehouse load`, as its help explains them."""

    refresh: bool = False
    full_refresh: bool = False
    again: bool = False
    allow_shrink: bool = False
    allow_strays: bool = False


@dataclass(frozen=True)
class Loaded:
    """What a load did: one line and warnings for people, values for programs (`LoadResult.as_dict`)."""

    line: str
    warnings: tuple[str, ...]
    values: dict[str, Any]


@dataclass(frozen=True)
class Order:
    """Land and load this file; wait for `Commit` before the commit."""

    file: DatasetFile
    options: Options


@dataclass(frozen=True)
class Commit:
    """Commit what is accepted."""


@dataclass(frozen=True)
class Stop:
    """Remove what is staged, and end."""


@dataclass(frozen=True)
class Accepted:
    """The file is staged and audited, and waits for `Commit`."""


@dataclass(frozen=True)
class Failed:
    """The file could not be loaded."""

    error: Exception


@dataclass(frozen=True)
class Warned:
    """A warning for the person at the keyboard."""

    text: str


@dataclass(frozen=True)
class Logged:
    """A line of the log."""

    logger: str
    level: int
    text: str


@dataclass(frozen=True)
class Advanced:
    """How far a download or a load is. `done` is None once it has ended."""

    what: str
    done: int | None
    total: int | None
