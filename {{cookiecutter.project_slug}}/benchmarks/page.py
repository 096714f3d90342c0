"""The table of docs/costs.md, made from a run. `python -m benchmarks.page FIGURES` prints it.

With the name of a page it is written between the page's two marks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- made by `python -m benchmarks.page` from benchmarks/figures.json -->", "<!-- end of what is made -->"


def table(figures: dict[str, Any]) -> str:
    """What the run measured, as Markdown: the sizes and the machine, then each measure's ratio, spread and peak."""
    sizes, machine = figures["sizes"], figures["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    head = (
        f"{sizes['rows']:,} rows a month, {sizes['pairs']} pairs, {machine['processors']} processors, "
        f"{machine['memory_gb']} GB of memory,\n{machine['system']} {machine['architecture']}, "
        f"Python {machine['python']}, {libraries}."
    )
    rows = [
        f"| {name} | {_ratio(one)} | {one['seconds']:.2f} | {_peak(one)} |" for name, one in figures["found"].items()
    ]
    return "\n".join([head, "", "| measure | ratio (spread) | seconds | peak MB |", "|---|---|---|---|", *rows])


def _ratio(one: dict[str, Any]) -> str:
    return f"{one['ratio']:.2f} ({one['ratios'][0]:.2f} to {one['ratios'][-1]:.2f})" if "ratio" in one else ""


def _peak(one: dict[str, Any]) -> str:
    return f"{one['peak_mb']:.0f}" if "peak_mb" in one else ""


def written(page: str, figures: dict[str, Any]) -> str:
    """The page with the run's table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(figures)}\n\n{END}{after}"


def main(words: list[str]) -> None:
    """Print the table of a run, or write it into a page."""
    match words:
        case [file]:
            print(table(json.loads(Path(file).read_text("utf-8"))))
        case [file, page]:
            text = written(Path(page).read_text("utf-8"), json.loads(Path(file).read_text("utf-8")))
            Path(page).write_text(text, "utf-8")
        case _:
            sys.exit("usage: python -m benchmarks.page FIGURES [PAGE]")


if __name__ == "__main__":
    main(sys.argv[1:])
