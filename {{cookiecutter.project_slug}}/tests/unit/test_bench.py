"""The comparison of two runs of the benchmarks: what is a loss, what is chance, what can't be compared."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from benchmarks.compare import main
from benchmarks.figures import Sizes, machine, spread
from benchmarks.page import written

from lakehouse.settings import project_dir

FIGURES = project_dir() / "benchmarks" / "figures.json"


def run_of(folder: Path, name: str, *, rows: int = 100, **ratios: list[float]) -> str:
    """A file as `python -m benchmarks` writes it; it has a measure without a ratio too."""
    found: dict[str, Any] = {what: spread(values) for what, values in ratios.items()} | {"no-op": {"seconds": 0.1}}
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"sizes": asdict(Sizes(rows=rows)), "found": found}), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("ratios", "code", "said"),
    [
        ([1.25, 1.26, 1.27], 1, "+26%, lost"),
        ([1.23, 1.24, 1.25], 0, "+24%"),
        ([0.5, 0.5, 0.5], 0, "-50%"),
        ([1.01, 1.5, 2.0], 0, "+50%, within the spread"),
    ],
)
def test_a_ratio_that_lost_a_quarter_beyond_the_spread_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ratios: list[float], code: int, said: str
) -> None:
    old, new = run_of(tmp_path, "old", load=[0.98, 1.0, 1.02]), run_of(tmp_path, "new", load=ratios)

    assert main([old, new]) == code
    assert f"{said}\n" in capsys.readouterr().out


def test_a_missing_measure_fails_and_a_new_one_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = run_of(tmp_path, "one", load=[1.0])
    two = run_of(tmp_path, "two", load=[1.0], build=[1.0])

    assert main([two, one]) == 1
    assert capsys.readouterr().out.endswith("missing\n\nLost: build.\n")
    assert main([one, two]) == 0
    assert capsys.readouterr().out.endswith("1.00  new\n")


def test_only_what_is_lost_in_each_run_fails(tmp_path: Path) -> None:
    old = run_of(tmp_path, "old", load=[1.0], build=[1.0])
    slow_load = run_of(tmp_path, "slow-load", load=[2.0], build=[1.0])
    slow_build = run_of(tmp_path, "slow-build", load=[1.0], build=[2.0])

    assert main([old, slow_load, slow_build]) == 0
    assert main([old, slow_load, slow_load]) == 1


def test_runs_of_other_sizes_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = run_of(tmp_path, "old", load=[1.0]), run_of(tmp_path, "new", rows=200, load=[1.0])

    assert main([old, new]) == 2
    assert f"python -m benchmarks --like {old}" in capsys.readouterr().err


def test_the_figures_of_the_release_are_whole_and_name_no_machine() -> None:
    figures = json.loads(FIGURES.read_text("utf-8"))

    assert main([str(FIGURES), str(FIGURES)]) == 0
    assert Sizes(**figures["sizes"]).pairs >= 3
    assert set(figures["machine"]) == set(machine())
    for name, one in figures["found"].items():
        assert one.get("ratios", []) == sorted(one.get("ratios", [])), name
    page = (project_dir() / "docs" / "costs.md").read_text("utf-8")
    assert page == written(page, figures), "run `python -m benchmarks.page benchmarks/figures.json docs/costs.md`"
