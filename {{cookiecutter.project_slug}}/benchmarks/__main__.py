"""`make bench`: five pairs of fresh processes each, the median ratio, as a table and as JSON in build/benchmarks.json.

Seconds depend on the machine and on what else it does; ratios of pairs that ran one after the other hardly do.
`python -m benchmarks --like FILE` measures with the sizes of another run, so that the two can be compared.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import pipeline
from benchmarks.figures import Sizes, machine, spread
from benchmarks.prompt import COMMANDS

REPORT = Path("build/benchmarks.json")
FEW = 3  # pairs of what takes long


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


def pairs(folder: Path, one: tuple[str, ...], other: tuple[str, ...], count: int) -> dict[str, Any]:
    """`one` and `other` in turn; medians of seconds, peaks and of the ratios pair by pair."""
    runs = [(task(folder, *one), task(folder, *other)) for _ in range(count)]
    return {
        "seconds": median(a["seconds"] for a, _ in runs),
        "against": median(b["seconds"] for _, b in runs),
        **spread([a["seconds"] / b["seconds"] for a, b in runs]),
        "cpu_ratio": median(a["cpu"] / b["cpu"] for a, b in runs) if all(b["cpu"] > 0 for _, b in runs) else None,
        "peak_mb": max(a["peak_mb"] for a, _ in runs),
        "peak_against_mb": max(b["peak_mb"] for _, b in runs),
    }


def single(folder: Path, *one: str, count: int = 3) -> dict[str, Any]:
    """One task alone: median seconds, highest peak."""
    runs = [task(folder, *one) for _ in range(count)]
    return {"seconds": median(r["seconds"] for r in runs), "peak_mb": max(r["peak_mb"] for r in runs)}


def measure(folder: Path, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Everything, in the order of the table."""
    million, rows, count = 1_000_000, sizes.rows, sizes.pairs
    shapes = ((rows, million), (4 * rows, million), (4 * rows, 4 * rows))
    for number, groups in shapes:
        task(folder, "generate", str(number), str(groups))
    month, large, one_group = (str(folder / f"{number}-{groups}.parquet") for number, groups in shapes)
    found = {"load against the floor": pairs(folder, ("ours", month), ("floor", month), count)}
    for what, method in (("append", "append"), ("dynamic overwrite", "dynamic_partition_overwrite")):
        found[f"load against PyIceberg's {what}"] = pairs(folder, ("ours", month), ("as_user", month, method), count)
    found["load, four times the rows"] = single(folder, "ours", large, count=1)
    found["load, four times the rows in one row group"] = single(folder, "ours", one_group, count=1)
    found["the same month again (no-op)"] = single(folder, "no_op", month)
    found["eight months: --jobs 2 against one after another"] = pairs(
        folder,
        ("eight_months", "2", str(sizes.eight_rows)),
        ("eight_months", "1", str(sizes.eight_rows)),
        min(count, FEW),
    )
    for what in ("history", "months"):
        found[f"{what}: 500 snapshots against 10"] = pairs(
            folder, ("look", what, "500"), ("look", what, "10"), min(count, FEW)
        )
    found |= pipeline.measured(rows, min(count, FEW))
    return found | own_data(folder, sizes) | after_years(folder, sizes) | at_the_prompt(folder, count)


def own_data(folder: Path, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """A CSV file, and a hundredth of the rows changed in a table with a key."""
    task(folder, "generate_csv", str(sizes.rows))
    found = {"load of a CSV file against the floor": pairs(folder, ("csv_load",), ("csv_floor",), sizes.pairs)}
    task(folder, "generate_merge", str(sizes.merged_rows))
    found["merge of 1 % changed rows against the floor"] = pairs(
        folder, ("merge_load",), ("merge_floor",), min(sizes.pairs, FEW)
    )
    return found


def after_years(folder: Path, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """One more month in a lakehouse of four years, each against the same in one of three months."""
    rows = str(sizes.years_rows)
    return {
        f"{command} at 48 months against 3": pairs(
            folder, ("years", "48", rows, command), ("years", "3", rows, command), min(sizes.pairs, FEW)
        )
        for command in ("load", "build", "publish", "report", "maintain")
    }


def at_the_prompt(folder: Path, count: int) -> dict[str, dict[str, Any]]:
    """Commands with nothing to do, each against a Python that imports what it can't do without."""
    task(folder, "generate_prompt")
    return {
        f"lakehouse {words[0]} against its imports": pairs(folder, ("command", *words), ("imports", *modules), count)
        for words, modules in COMMANDS.items()
    }


def main(*words: str) -> None:
    """Measure in a temporary folder; print the table, write the JSON."""
    match words:
        case ():
            sizes = Sizes.of(os.environ)
        case "--like", file:
            sizes = Sizes(**json.loads(Path(file).read_text("utf-8"))["sizes"])
        case _:
            sys.exit("usage: python -m benchmarks [--like FILE]")
    folder = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    try:
        found = measure(folder, sizes)
    finally:
        shutil.rmtree(folder)
    facts = machine()
    run_on = f"{facts['processors']} processors, Python {facts['python']}"
    print(f"{sizes.rows:,} rows a month, {sizes.pairs} pairs, {run_on}\n")
    print(f"{'what':<50}{'seconds':>9}{'against':>9}{'ratio':>7}  {'spread':<13}{'peak MB':>7}")
    for what, one in found.items():
        against = f"{one['against']:.2f}" if "against" in one else ""
        ratio = f"{one['ratio']:.2f}" if "ratio" in one else ""
        low_high = f"{one['ratios'][0]:.2f} to {one['ratios'][-1]:.2f}" if "ratios" in one else ""
        peak = f"{one['peak_mb']:.0f}" if "peak_mb" in one else ""
        print(f"{what:<50}{one['seconds']:>9.2f}{against:>9}{ratio:>7}  {low_high:<13}{peak:>7}")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    report = {"rows": sizes.rows, "pairs": sizes.pairs, "sizes": asdict(sizes), "machine": facts, "found": found}
    REPORT.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    print(f"\nWritten to {REPORT}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
