"""Parts: what one file is of its table. A month of it, or all of it."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.datasets.months import Month


@dataclass(frozen=True)
class Monthly:
    """A file is a month: the table is partitioned by `file_month`, and a file replaces its month."""

    since: Month


@dataclass(frozen=True)
class Whole:
    """A file is the whole table, and replaces it."""
