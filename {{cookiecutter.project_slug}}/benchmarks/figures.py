"""What a run of the benchmarks writes beside its ratios: how large its data was, and on which machine it ran."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any

from lakehouse.cli.doctor import memory_gib

LIBRARIES = ("pyarrow", "pyiceberg", "duckdb", "dbt-core")


@dataclass(frozen=True)
class Sizes:
    """Rows of a month, pairs of a measure, and rows where a measure has its own: `BENCH_ROWS` and so on set them."""

    rows: int = 3_000_000
    pairs: int = 5
    merged_rows: int = 10_000_000
    years_rows: int = 50_000
    eight_rows: int = 1_000_000

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Sizes:
        """The sizes that the environment sets; for others, those that are usual."""
        usual = cls()
        return cls(
            **{name: int(environment.get(f"BENCH_{name.upper()}", value)) for name, value in vars(usual).items()}
        )


def machine() -> dict[str, Any]:
    """What the figures depend on, and nothing that names the machine."""
    memory = memory_gib()
    return {
        "processors": os.cpu_count(),
        "memory_gb": None if memory is None else round(memory),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def spread(ratios: Sequence[float]) -> dict[str, Any]:
    """The median of ratios, and all of them in order: the first and the last are the spread."""
    return {"ratio": median(ratios), "ratios": sorted(ratios)}
