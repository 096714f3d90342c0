"""The docs as tests: a page's commands run in a copy of the project, from top to bottom, on whichever target it has.

Each function below is one page: what a reader has done before, and what the page promises. `tests/unit` runs them on
`embedded`, `tests/integration` on `trino`.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tests.parsed import give_parse
from tests.unit.dagster_project import PROJECT, Project

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.settings import project_dir
from lakehouse.synthetic.generate import write_month, write_zones

# A heading, or a block of code with its language; what looks like a heading within a block is none.
_PART = re.compile(r"^(#+) ([^\n]+)$|^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = "\x1e"
_PATIENCE = 1800


def published(project: Project, dataset: str, rows: dict[str, int]) -> Path:
    """Generated months and zones, where `TLC_SOURCE` of the project shall look."""
    folder = project.folder / "published"
    folder.mkdir(parents=True)
    write_zones(folder / "taxi_zone_lookup.csv")
    for month, count in rows.items():
        write_month(folder / f"{dataset}_tripdata_{month}.parquet", dataset, Month.parse(month), count)
    project.variables["TLC_SOURCE"] = str(folder)
    return folder


def demo(project: Project, dataset: str, rows: dict[str, int]) -> None:
    """What `make demo` leaves: months loaded, marts built, both pages written, and named at the end."""
    published(project, dataset, rows)
    said = project.python("-m", "lakehouse", "demo", dataset, *rows).splitlines()
    pages = {str(project.root / "reports" / name) for name in ("dashboard.html", "snapshots.html")}
    assert pages <= {line.strip().partition(": ")[0] for line in said}


def run(project: Project, page: str, section: str | None = None, without: Collection[str] = ()) -> dict[str, str]:
    """Run a page's commands in one shell, as somebody who types them; fail at the first that fails.

    Args:
        project: where to.
        page: its path in the project.
        section: only what stands below this heading, up to the next of its rank.
        without: headings whose commands are left out.

    Returns:
        What the commands said, errors included, by heading.
    """
    copy_pages(project)
    script = ["set -eu", *_script((project.root / page).read_text(encoding="utf-8"), section, without)]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=project.root,
        env=project.environment | {"PATH": programs},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    (project.folder / "said.txt").write_text(done.stdout.replace(_HEADING, "## "), encoding="utf-8")
    assert done.returncode == 0, f"{page} stops here:\n{done.stdout.replace(_HEADING, '## ')[-4000:]}"
    return dict(part.split("\n", 1) for part in done.stdout.split(_HEADING)[1:])


def copy_pages(project: Project) -> None:
    """The pages that a reader has, beside the copy's code."""
    for name in ("README.md", "docs", "examples"):
        source, target = PROJECT / name, project.root / name
        if not target.exists():
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def _script(page: str, section: str | None, without: Collection[str]) -> Iterator[str]:
    inside, left_out = section is None, False
    rank = 0
    for marks, heading, language, block in _PART.findall(page):
        if heading and section is not None and (heading == section or len(marks) <= rank):
            inside, rank = heading == section, len(marks)
        if heading:
            left_out = heading in without
        if inside and not left_out and heading:
            yield f"printf '{_HEADING}%s\\n' {shlex.quote(heading)}"
        elif inside and not left_out and language == "sh":
            yield block


def iceberg(project: Project) -> None:
    """docs/iceberg.md, in a fresh project."""
    published(project, "green", {"2024-01": 800, "2024-02": 600})

    said = run(project, "docs/iceberg.md")

    assert "800" in said["2. How many rows were there before the last load?"]
    assert "800 trips, then 1,400" in said["7. How do I compare two states in one go?"]
    assert said["8. How do I undo a load?"].count("is at snapshot") == 2
    assert said["9. How do I keep a state?"].count("800") >= 2
    assert "1400" in said["10. How do readers see only what was checked?"]
    assert "rows of features.daily_share" in said["From a notebook"]


def exercises(project: Project) -> None:
    """docs/exercises.md, after the demo: every solution runs, and shows what the text beside it says."""
    demo(project, "yellow", {"2024-01": 900, "2024-02": 700})

    said = {heading.partition(".")[0]: text for heading, text in run(project, "docs/exercises.md").items()}

    assert "no new snapshot" in said["1"]
    assert said["2"].count(" 900 ") == 3
    assert "pickup_outside_month" in said["3"]
    assert re.search(r"2024-02-01 *\W *0 *\W *1 *\W *1 *\W *698", said["4"])
    assert "fare_amount: " in said["4"]
    assert "replaced" in said["4"]
    assert "a reader in between sees 0 rows" in said["5"]
    assert "delete 0 rows" in said["5"]
    # raw as it was, gold of the restatement, gold built anew
    assert re.search(r" 1600\b.* 1599\b.* 1600\b", said["6"], re.DOTALL)
    assert "the load was killed\nthe history is as it was" in said["7"]
    assert re.search(r"2024-02-01 *\W *0 *\W *0 *\W *0 *\W *699", said["7"])
    assert "has a column 'mood' that the dataset does not declare" in said["8"]
    assert re.search(r"2024-01-01 *\W *900 *\W *0 ", said["8"])
    assert re.search(r"2024-02-01 *\W *699 *\W *699 ", said["8"])
    assert "columns added: mood" in said["8"]
    assert re.search(r"2024-02-01 *\W *0 *\W *0 *\W *0 *\W *699", said["8"])
    assert "daily_trips_agree_with_silver" in said["9"]
    assert "the build was refused" in said["9"]
    numbers = re.findall(r"^ +(\d+) *$", said["9"], re.MULTILINE)
    assert numbers[0] == "1599"
    assert numbers[0] != numbers[1]
    assert re.search(r" 900 .*1599.*expired\n", said["10"], re.DOTALL)


def own_definitions(project: Project) -> None:
    """Write what docs/dagster.md shows as files of one's own: assets, schedules, a sensor and their dataset."""
    page = (PROJECT / "docs" / "dagster.md").read_text(encoding="utf-8")
    files = [code for *_, language, code in _PART.findall(page) if language == "python" and code.startswith("import")]
    assert len(files) == 6
    definitions = project.root / "src" / "lakehouse" / "defs"
    shown = {name for code in files for name in _defined(code)}
    for path in definitions.rglob("*.py"):  # a reader may have copied an example into the project already
        if shown & _defined(path.read_text(encoding="utf-8")):
            path.unlink()
    if "sales" not in DATASETS:  # an input of two examples
        page = (PROJECT / "docs" / "your-own-dataset.md").read_text(encoding="utf-8")
        sales = project.root / "src" / "lakehouse" / "datasets" / "sales.py"
        sales.write_text(declaration_of("SALES", page), encoding="utf-8")
    for number, code in enumerate(files):
        (definitions / f"mine_{number}.py").write_text(code, encoding="utf-8")


def _defined(code: str) -> set[str]:
    """The assets, sensors, jobs and schedules of a file: decorated functions, and names that are no constants."""
    body = ast.parse(code).body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return functions | {one.id for one in targets if isinstance(one, ast.Name) and one.id.islower()}


def dagster(project: Project) -> None:
    """docs/dagster.md: what `dg` is told from the command line, with the page's own asset and schedule."""
    published(project, "green", {"2024-01": 400, "2024-02": 400})
    own_definitions(project)

    said = run(project, "docs/dagster.md")

    assert {"gold/fct_daily_trips", "my_chart", "build_at_night"} <= set(re.findall(r"[\w/]+", said["Look at it"]))
    assert said["Run it"].count("RUN_SUCCESS") >= 6
    assert {path.name for path in (project.root / "reports").glob("*.html")} == {"snapshots.html", "dashboard.html"}


def own_dataset(project: Project) -> None:
    """docs/your-own-dataset.md: its declaration is all that loading, history and Dagster need."""
    folder = published(project, "green", {})
    pq.write_table(for_hire_month(), folder / "fhv_tripdata_2024-01.parquet")
    page = (PROJECT / "docs" / "your-own-dataset.md").read_text(encoding="utf-8")
    declaration = declaration_of("FHV", page)
    (project.root / "src" / "lakehouse" / "datasets" / "fhv.py").write_text(declaration, encoding="utf-8")

    copy_pages(project)
    project.forget("purchases")
    said = run(project, "docs/your-own-dataset.md")

    assert "fhv 2024-01  loaded  2 rows" in said["By hand"]
    assert "purchases  loaded  2 rows" in said["From a file to a table"]
    assert "1234.5" in said["From a file to a table"].replace(",", "")
    assert "raw/fhv_trips" in project.python("-m", "dagster_dg_cli.cli", "list", "defs")


def own_data(project: Project) -> None:
    """docs/your-own-data.md: a CSV file, in an empty lakehouse, becomes a table, a mart and a chart."""
    copy_pages(project)
    project.forget("sales")
    said = run(project, "docs/your-own-data.md")

    assert "1 inserted, 1 updated, 4 unchanged, 0 removed" in said["4. The next file"]
    assert re.search(r"1003 +7.25", said["4. The next file"])
    [results] = Path(project.settings["LAKEHOUSE_HOME"], "dbt").glob("*/run_results.json")
    ran = json.loads(results.read_text("utf-8"))["results"]
    passed = {one["unique_id"].split(".")[-1 if one["unique_id"].startswith("unit_test") else 2] for one in ran}
    assert {one["status"] for one in ran} == {"success", "pass"}
    assert {"sales_are_added_up_by_day_and_shop", "no_day_of_sales_costs_money"} <= passed
    lint(project, ["dbt/models/marts/fct_sales_by_day.sql", "dbt/tests/no_day_of_sales_costs_money.sql"])
    assert "4 days, 1470.85 in all" in said["6. The chart"]
    assert "iris" in said["Examples"]
    assert (project.root / "reports" / "sales.png").stat().st_size > 5_000


def lint(project: Project, models: Sequence[str]) -> None:
    """Look at SQL as `make lint` does, but without dbt, which takes 15 seconds: the SQL may use `ref`, and no macro."""
    shutil.copy(PROJECT / ".sqlfluff", project.root)
    done = subprocess.run(
        [sys.executable, "-m", "sqlfluff", "lint", "--templater", "jinja", *models],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def declaration_of(name: str, page: str) -> str:
    """The block of a page that declares this dataset."""
    (found,) = (code for *_, language, code in _PART.findall(page) if language == "python" and f"\n{name} = " in code)
    return str(found)


def code_on_page(word: str) -> str:
    """The block of Python in docs/dagster.md in which this word stands."""
    page = (project_dir() / "docs" / "dagster.md").read_text(encoding="utf-8")
    (found,) = (code for *_, language, code in _PART.findall(page) if language == "python" and word in code)
    return str(found)


def declared_on_page(name: str) -> Dataset:
    """The dataset that docs/your-own-dataset.md declares by this name."""
    page = (project_dir() / "docs" / "your-own-dataset.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(declaration_of(name, page), names)  # noqa: S102 - the page is ours
    declared: Dataset = names[name]
    return declared


def for_hire_month() -> pa.Table:
    """A month of the dataset that the page declares, as the TLC would publish it."""
    times = ["2024-01-01 08:00", "2024-01-02 09:00"], ["2024-01-01 08:30", "2024-01-02 09:05"]
    pickups, dropoffs = (pa.array(texts).cast(pa.timestamp("us")) for texts in times)
    return pa.table(
        {
            "dispatching_base_num": ["B00001", "B00002"],
            "pickup_datetime": pickups,
            "dropOff_datetime": dropoffs,
            "PUlocationID": pa.array([None, 7.0]),
            "DOlocationID": pa.array([None, 8.0]),
            "SR_Flag": pa.nulls(2),
            "Affiliated_base_number": ["B00001", None],
        }
    )


FIVE = (
    "Where does a month come from, and can I prove it?",
    "What has changed since then?",
    "How do I get the number back that I reported then?",
    "What if a load is killed, or a file is published again?",
    "How do I move to the real stack, and bring my own data?",
)


def five_questions(project: Project, stack: dict[str, str] | None = None) -> None:
    """README.md's five questions after the demo; the last, which moves to the services, where there is a `stack`."""
    project.variables["LAKEHOUSE_HOME"] = str(project.root / "data")
    give_parse(project.settings)
    demo(project, "yellow", {"2024-01": 900, "2024-02": 700})
    if stack:  # as .env would: addresses and keys, but the target is still the old one
        project.variables |= stack | {"LAKEHOUSE_TARGET": "embedded"}

    said = run(project, "README.md", "Five questions", without=() if stack else FIVE[-1:])

    assert list(said) == ["Five questions", *FIVE[: 5 if stack else 4]]
    hashes = re.findall(r"(?<=[ ])([0-9a-f]{8})(?:[0-9a-f]{56})?\b", said[FIVE[0]])
    assert sorted(Counter(hashes).values()) == [1, 3, 3]  # the zones' file is landed and no month
    assert re.search(r"2024-02-01 *\W *700 *\W *0 *\W *0 ", said[FIVE[1]])
    assert re.findall(r"^ +(\d+) *$", said[FIVE[2]], re.MULTILINE) == ["900", accepted(project)]
    assert said[FIVE[3]].count("no new snapshot") == 3
    if stack:
        assert said[FIVE[4]].count("  loaded  ") == 3
        assert re.findall(r"^ +(\d+) *$", said[FIVE[4]], re.MULTILINE) == [accepted(project)]


def accepted(project: Project) -> str:
    """How many trips the marts count, as the command line writes it."""
    asked = project.python("-m", "lakehouse", "sql", "select sum(trips) as n from gold.fct_daily_trips", "--json")
    return str(json.loads(asked)[0]["n"])


PAGES: dict[str, Callable[[Project], None]] = {
    "README.md": five_questions,
    "iceberg.md": iceberg,
    "exercises.md": exercises,
    "dagster.md": dagster,
    "your-own-dataset.md": own_dataset,
    "your-own-data.md": own_data,
}
