"""`python -m benchmarks.compare OLD NEW [NEW …]`: ratios of two runs as a table; exit code 1 if one lost a quarter.

A measure is lost if its median ratio grew by more than a quarter, and its best pair is worse than the worst of the old
run. So pairs that scatter on a busy machine are no loss. A measure that the new run lacks is lost too. With several new
runs, only what is lost in each of them counts: the nightly workflow measures a second time before it fails.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 1.25
Found = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """A measure in two runs; None where a run lacks it. `said` is the result, `lost` whether that is a failure."""

    name: str
    old: float | None
    new: float | None
    said: str
    lost: bool = False


def compare(old: Found, new: Found) -> list[Compared]:
    """All measures that have a ratio, first those of the old run."""
    rows = [_one(name, measure, new.get(name, {})) for name, measure in old.items() if "ratio" in measure]
    rows += [
        Compared(name, None, measure["ratio"], "new")
        for name, measure in new.items()
        if "ratio" in measure and "ratio" not in old.get(name, {})
    ]
    return rows


def _one(name: str, old: dict[str, Any], new: dict[str, Any]) -> Compared:
    if "ratio" not in new:
        return Compared(name, old["ratio"], None, "missing", lost=True)
    change = new["ratio"] / old["ratio"]
    said = f"{change - 1:+.0%}"
    if change <= LIMIT:
        return Compared(name, old["ratio"], new["ratio"], said)
    if min(new["ratios"]) <= max(old["ratios"]):
        return Compared(name, old["ratio"], new["ratio"], f"{said}, within the spread")
    return Compared(name, old["ratio"], new["ratio"], f"{said}, lost", lost=True)


def main(words: list[str]) -> int:
    """Print a table for each new run. Exit codes: 1 if a measure is lost in all of them, 2 if sizes differ."""
    if len(words) < 2:
        print("usage: python -m benchmarks.compare OLD NEW [NEW …]", file=sys.stderr)
        return 2
    old, *others = (json.loads(Path(file).read_text("utf-8")) for file in words)
    lost: set[str] | None = None
    for file, new in zip(words[1:], others, strict=True):
        if new["sizes"] != old["sizes"]:
            print(
                f"{file} was measured with other sizes ({new['sizes']}) than {words[0]} ({old['sizes']}). Measure with "
                f"the same ones: python -m benchmarks --like {words[0]}",
                file=sys.stderr,
            )
            return 2
        rows = compare(old["found"], new["found"])
        print(f"{file}\n{'what':<50}{'old':>7}{'new':>7}  result")
        for row in rows:
            print(f"{row.name:<50}{_shown(row.old):>7}{_shown(row.new):>7}  {row.said}")
        names = {row.name for row in rows if row.lost}
        lost = names if lost is None else lost & names
    if lost:
        print(f"\nLost: {', '.join(sorted(lost))}.")
    return 1 if lost else 0


def _shown(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
