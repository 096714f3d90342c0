"""`make bench`: five pairs of fresh processes each, the median ratio, as a table and as JSON in build/benchmarks.json.

Seconds depend on the machine and on what else it does; ratios of pairs that ran one after the other hardly do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.prompt import COMMANDS

ROWS = int(os.environ.get("BENCH_ROWS", "3000000"))
PAIRS = int(os.environ.get("BENCH_PAIRS", "5"))
MERGED_ROWS = int(os.environ.get("BENCH_MERGED_ROWS", "10000000"))
YEARS_ROWS = int(os.environ.get("BENCH_YEARS_ROWS", "50000"))
REPORT = Path("build/benchmarks.json")


def task(folder: Path, name: str, *arguments: str) -> dict[str, float]:
    """Run one task in a fresh process."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "benchmarks.tasks", name, str(folder), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def pairs(folder: Path, one: tuple[str, ...], other: tuple[str, ...], count: int = PAIRS) -> dict[str, Any]:
    """`one` and `other` in turn; medians of seconds, peaks and of the ratios pair by pair."""
    runs = [(task(folder, *one), task(folder, *other)) for _ in range(count)]
    return {
        "seconds": median(a["seconds"] for a, _ in runs),
        "against": median(b["seconds"] for _, b in runs),
        "ratio": median(a["seconds"] / b["seconds"] for a, b in runs),
        "ratios": sorted(a["seconds"] / b["seconds"] for a, b in runs),
        "cpu_ratio": median(a["cpu"] / b["cpu"] for a, b in runs) if all(b["cpu"] > 0 for _, b in runs) else None,
        "peak_mb": max(a["peak_mb"] for a, _ in runs),
        "peak_against_mb": max(b["peak_mb"] for _, b in runs),
    }


def single(folder: Path, *one: str, count: int = 3) -> dict[str, Any]:
    """One task alone: median seconds, highest peak."""
    runs = [task(folder, *one) for _ in range(count)]
    return {"seconds": median(r["seconds"] for r in runs), "peak_mb": max(r["peak_mb"] for r in runs)}


def measure(folder: Path) -> dict[str, dict[str, Any]]:
    """Everything, in the order of the table."""
    million = 1_000_000
    for rows, groups in ((ROWS, million), (4 * ROWS, million), (4 * ROWS, 4 * ROWS)):
        task(folder, "generate", str(rows), str(groups))
    month, large, one_group = (
        str(folder / f"{rows}-{groups}.parquet")
        for rows, groups in ((ROWS, million), (4 * ROWS, million), (4 * ROWS, 4 * ROWS))
    )
    found = {"load against the floor": pairs(folder, ("ours", month), ("floor", month))}
    found["load against PyIceberg's append"] = pairs(folder, ("ours", month), ("as_user", month, "append"))
    found["load against PyIceberg's dynamic overwrite"] = pairs(
        folder, ("ours", month), ("as_user", month, "dynamic_partition_overwrite")
    )
    found["load, four times the rows"] = single(folder, "ours", large, count=1)
    found["load, four times the rows in one row group"] = single(folder, "ours", one_group, count=1)
    found["the same month again (no-op)"] = single(folder, "no_op", month)
    found["eight months: four processes against one"] = pairs(
        folder, ("eight_months", "4"), ("eight_months", "1"), count=min(PAIRS, 3)
    )
    for what in ("history", "months"):
        found[f"{what}: 500 snapshots against 10"] = pairs(
            folder, ("look", what, "500"), ("look", what, "10"), count=min(PAIRS, 3)
        )
    return found | own_data(folder) | after_years(folder) | at_the_prompt(folder)


def own_data(folder: Path) -> dict[str, dict[str, Any]]:
    """A CSV file, and a hundredth of the rows changed in a table with a key."""
    task(folder, "generate_csv", str(ROWS))
    found = {"load of a CSV file against the floor": pairs(folder, ("csv_load",), ("csv_floor",))}
    task(folder, "generate_merge", str(MERGED_ROWS))
    found["merge of 1 % changed rows against the floor"] = pairs(
        folder, ("merge_load",), ("merge_floor",), count=min(PAIRS, 3)
    )
    return found


def after_years(folder: Path) -> dict[str, dict[str, Any]]:
    """One more month in a lakehouse of four years, each against the same in one of three months."""
    rows = str(YEARS_ROWS)
    return {
        f"{command} at 48 months against 3": pairs(
            folder, ("years", "48", rows, command), ("years", "3", rows, command), count=min(PAIRS, 3)
        )
        for command in ("load", "build", "publish")
    }


def at_the_prompt(folder: Path) -> dict[str, dict[str, Any]]:
    """Commands with nothing to do, each against a Python that imports what it can't do without."""
    task(folder, "generate_prompt")
    return {
        f"lakehouse {words[0]} against its imports": pairs(folder, ("command", *words), ("imports", *modules))
        for words, modules in COMMANDS.items()
    }


def main() -> None:
    """Measure in a temporary folder; print the table, write the JSON."""
    folder = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    try:
        found = measure(folder)
    finally:
        shutil.rmtree(folder)
    print(f"{ROWS:,} rows a month, {PAIRS} pairs, {os.cpu_count()} processors, Python {sys.version.split()[0]}\n")
    print(f"{'what':<46}{'seconds':>9}{'against':>9}{'ratio':>7}{'peak MB':>9}")
    for what, one in found.items():
        against = f"{one['against']:.2f}" if "against" in one else ""
        ratio = f"{one['ratio']:.2f}" if "ratio" in one else ""
        print(f"{what:<46}{one['seconds']:>9.2f}{against:>9}{ratio:>7}{one['peak_mb']:>9.0f}")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"rows": ROWS, "pairs": PAIRS, "found": found}, indent=2) + "\n")
    print(f"\nWritten to {REPORT}.")


if __name__ == "__main__":
    main()
