"""docs/your-own-dataset.md, "Silver and gold": its steps, done to a copy of the dbt project, end in a green build."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.dbt.conftest import Build
from tests.dbt.raw import made_up_rows, put_month, put_zones
from tests.lake import Lake
from tests.pages import declared_on_page, for_hire_month

from lakehouse.datasets.model import Dataset
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import TransformError
from lakehouse.settings import project_dir

PAGE = project_dir() / "docs" / "your-own-dataset.md"


@pytest.fixture
def fhv() -> Iterator[Dataset]:
    """The page's declaration."""
    DATASETS["fhv"] = declared_on_page("FHV")
    yield DATASETS["fhv"]
    del DATASETS["fhv"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dbt project, in place of the real one."""
    copy = tmp_path / "project" / "dbt"
    shutil.copytree(project_dir() / "dbt", copy, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(copy.parent))
    return copy


def entry(text: str, name: str) -> str:
    """What a yml file has of one name, up to the next of its rank."""
    indent, rest = re.split(rf"^( *)- name: {name}\n", text, maxsplit=1, flags=re.MULTILINE)[1:]
    own = re.split(rf"^{indent}- name:", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return f"{indent}- name: {name}\n{own.rstrip()}\n"


def stage(project: Path, dataset: Dataset) -> None:
    """Steps 1 to 3: source, model and description, each from what green has."""
    staging = project / "models" / "staging"
    sources = staging / "_sources.yml"
    text = sources.read_text("utf-8")
    green = entry(text, "green_trips")
    sources.write_text(text.replace(green, green + green.replace("green", "fhv").replace("Green", "For-hire")), "utf-8")

    green = (staging / "stg_green_trips.yml").read_text("utf-8").split("\n# A trip is")[0]
    assert "unit_tests:" not in green
    (staging / "stg_fhv_trips.yml").write_text(green.replace("green_trips", "fhv_trips"), "utf-8")

    types = dict(re.findall(r"- name: (\w+)\n +data_type: (.+)\n", green))
    brought = {"file_month", "file_row", "source_sha256", *(column.name for column in dataset.columns)}
    lines = []
    for line in (staging / "stg_green_trips.sql").read_text("utf-8").splitlines():
        read = set(re.findall(r"trips\.(\w+)", line))
        name = line.rstrip(",").split(".")[-1].split(" as ")[-1]
        lines.append(f"        cast(null as {types[name]}) as {name}," if read - brought else line)
    model = "\n".join(lines).replace("'green_trips'", "'fhv_trips'").replace("false as has_coord", "true as has_coord")
    (staging / "stg_fhv_trips.sql").write_text(model + "\n", "utf-8")


def declare(project: Path) -> None:
    """Step 4."""
    (services,) = re.findall(r"services: \[.*fhv\]", PAGE.read_text("utf-8"))
    declared = project / "dbt_project.yml"
    text = declared.read_text("utf-8")
    assert text.count("services: [yellow, green]") == 1
    declared.write_text(text.replace("services: [yellow, green]", services), "utf-8")


@pytest.mark.slow
def test_the_page_s_steps_to_silver_and_gold_end_in_a_green_build(
    lake: Lake, run_build: Build, fhv: Dataset, project: Path
) -> None:
    put_zones(lake.catalog)
    put_month(lake.catalog, "green", "2024-01", made_up_rows("green", "2024-01", 50))
    lake.load("fhv", "2024-01", lake.write("fhv", "2024-01", for_hire_month()))

    stage(project, fhv)
    with pytest.raises(TransformError, match="stg_fhv_trips is not in the marts: add fhv to `services`"):
        run_build(lake, data_tests=True)  # step 4 was forgotten
    declare(project)
    built = run_build(lake, data_tests=True)

    trips = "select service_type as s, sum(trips) as n from gold.{} group by 1 order by 1"
    assert "quality_counts_every_raw_row" in built.tests
    assert lake.rows(trips.format("fct_monthly_quality")) == [{"s": "fhv", "n": 2}, {"s": "green", "n": 50}]
    assert lake.rows(trips.format("fct_daily_trips"))[0] == {"s": "fhv", "n": 2}
