"""From a CSV file to a tested silver table without a line of Python: the commands that `new-dataset` prints work."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.dagster_project import PROJECT, Project

ORDERS = (
    "Order No;Date;Net price;remark;due;paid\n"
    "7;31.01.2024 09:30;1.234,50; caf\xe9;29.02.2024;yes\n"
    "8;01.02.2024 10:00;-0,25;;;no\n"
)
SALES = (
    "Sold at;region;amount;sent\n"
    "2024-01-0{day} 10:00:00;north;1,5;2024-01-0{day} 10:00:00+01:00\n"
    "2024-01-0{day} 11:00:00;south;2;\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project, with its pages."""
    copy = Project(tmp_path, {})
    shutil.copytree(PROJECT / "docs", copy.root / "docs")
    copy.forget("orders", "sales", "rentals")
    return copy


def shell(project: Project, command: str) -> str:
    """Run a command as it is printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project.root,
        env=project.environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_from_a_table_of_a_database_to_rows_of_silver(project: Project, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "film.db")) as connection, connection:
        connection.execute(
            "create table rental (rental_id integer primary key, amount numeric(5, 2), cover blob, sent timestamp)"
        )
        connection.execute("insert into rental values (7, '2.50', x'00ff', '2024-01-31 10:00:00')")
    (project.root / ".env").write_text(f"RENTALS_URL=sqlite:///{tmp_path / 'film.db'}\n", encoding="utf-8")

    told = project.python(
        *("-m", "lakehouse", "new-dataset", "rentals", "--database", "RENTALS_URL", "--table", "rental")
    )
    commands = [line.strip() for line in told.split("Then:")[1].strip().splitlines()]
    for command in commands[:2]:
        shell(project, command)

    assert commands[0] == "lakehouse load rentals"
    assert "source: database RENTALS_URL, table rental" in told
    (row,) = json.loads(shell(project, commands[2] + " --json"))
    assert (row["rental_id"], float(row["amount"]), row["sent"]) == (7, 2.5, "2024-01-31T10:00:00")
    tidy = [sys.executable, "-m", "ruff", "format", "--check", "src/lakehouse/datasets"]
    assert subprocess.run(tidy, cwd=project.root, check=False).returncode == 0


@pytest.mark.slow
def test_from_a_csv_file_to_rows_of_silver(project: Project, tmp_path: Path) -> None:
    source = tmp_path / "my files"
    source.mkdir()
    (source / "orders.csv").write_text(ORDERS, encoding="latin-1")
    for day in (4, 5):
        (source / f"sales_2024010{day}.csv").write_text(SALES.format(day=day), encoding="utf-8")

    asked = project.python("-m", "lakehouse", "new-dataset", "orders", str(source / "orders.csv"), "--json")
    days = [str(source / f"sales_2024010{day}.csv") for day in (4, 5)]
    told = project.python("-m", "lakehouse", "new-dataset", "sales", *days)
    again = project.python("-m", "lakehouse", "new-dataset", "orders", str(source / "orders.csv"), code=1)

    facts = json.loads(asked[: asked.rindex("}") + 1])
    assert again.startswith("error: There is a dataset orders already, with the table raw.orders.")
    assert [Path(path).name for path in facts["written"]] == [
        "orders.py",
        "stg_orders.sql",
        "stg_orders.yml",
        "data.md",
    ]
    assert facts["parts"] == "Whole()"
    sha256_of_orders = hashlib.sha256((source / "orders.csv").read_bytes()).hexdigest()
    for command in facts["next"][:2]:
        shell(project, command)
    assert json.loads(shell(project, facts["next"][2] + " --json")) == [
        {
            "order_no": 7,
            "date": "2024-01-31T09:30:00",
            "net_price": 1234.5,
            "remark": "caf\xe9",
            "due": "2024-02-29",
            "paid": True,
            "source_sha256": sha256_of_orders,
        },
        {
            "order_no": 8,
            "date": "2024-02-01T10:00:00",
            "net_price": -0.25,
            "remark": None,
            "due": None,
            "paid": False,
            "source_sha256": sha256_of_orders,
        },
    ]
    commands = [line.strip() for line in told.split("Then:")[1].strip().splitlines()]
    for command in commands[:2]:
        shell(project, command)
    sales = json.loads(shell(project, commands[2] + " --json"))
    assert [(row["file_date"], row["amount"]) for row in sales] == [
        *(("2024-01-04", 1.5), ("2024-01-04", 2.0), ("2024-01-05", 1.5), ("2024-01-05", 2.0)),
    ]
    assert [row["sent"] for row in sales[:2]] == ["2024-01-04T09:00:00+00:00", None]
    tidy = [sys.executable, "-m", "ruff", "format", "--check", "src/lakehouse/datasets"]
    assert subprocess.run(tidy, cwd=project.root, check=False).returncode == 0
    # and what it has written keeps the rules of the project
    shell(project, f"cd {shlex.quote(str(PROJECT))} && {sys.executable} -m pytest -q -n 0 tests/dbt/test_manifest.py")
