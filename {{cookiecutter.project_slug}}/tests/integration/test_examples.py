"""The examples on the services: all are copied, loaded and built together. Their rentals are in a PostgreSQL server.

`tests/dbt/test_examples.py` runs each page on `embedded`, command by command. Here the same commands share processes,
and the pages' numbers come from Trino.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from tests.integration.database import Database, postgres
from tests.integration.lake import Lake
from tests.unit.dagster_project import PROJECT, Project

from lakehouse.datasets.months import Month
from lakehouse.synthetic.generate import write_month, write_zones

COMMANDS = """
import json, shlex, sys
from lakehouse.cli import app
for command in json.loads(sys.argv[1]):
    app(shlex.split(command), standalone_mode=False)
"""
RENTAL = """
create table if not exists public.rental (
    rental_id bigint primary key, rental_date timestamp not null, title text not null, amount numeric(12, 2) not null,
    return_date timestamp, last_update timestamp not null
);
truncate public.rental;
insert into public.rental values
"""
WEEK = "2024-01-01..2024-01-07"


def lakehouse(project: Project, *commands: str) -> str:
    """Run commands one after the other in one process, and give all that they printed."""
    return project.python("-c", COMMANDS, json.dumps(commands))


def make_rentals(project: Project, server: Database, *options: str) -> None:
    """Run the example's script, and give the server the rows that its database has."""
    path = project.folder / "film.db"
    project.python(str(PROJECT / "examples" / "rentals" / "files" / "make_database.py"), str(path), *options)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("select * from rental").fetchall()
    values = [", ".join("null" if value is None else f"'{value}'" for value in row) for row in rows]
    server.run(RENTAL + ",\n".join(f"({row})" for row in values))


@pytest.fixture
def project(lake: Lake, tmp_path: Path) -> Project:
    """A copy of the project, whose source has the files of all examples and a month of trips."""
    inbox = tmp_path / "inbox"
    for name in ("iris", "sales"):
        shutil.copytree(PROJECT / "examples" / name / "files", inbox, dirs_exist_ok=True)
    write_zones(inbox / "taxi_zone_lookup.csv")
    write_month(inbox / "green_tripdata_2024-01.parquet", "green", Month(2024, 1), 400)
    variables = {"TLC_SOURCE": str(inbox), "LAKEHOUSE_FIRST_MONTH": "2024-01"}
    copy = Project(tmp_path / "copy", lake.stack.environment | variables)
    copy.folder.mkdir()
    shutil.copytree(PROJECT / "examples", copy.root / "examples")
    copy.python(str(PROJECT / "examples" / "weather" / "files" / "make_days.py"), str(inbox))
    return copy


@pytest.mark.slow
def test_all_examples_load_and_build_on_the_services(lake: Lake, project: Project) -> None:
    lakehouse(project, *(f"example {name}" for name in ("iris", "sales", "rentals", "weather")))
    declaration = project.root / "src" / "lakehouse" / "datasets" / "rentals.py"
    text = declaration.read_text(encoding="utf-8")
    assert 'table="rental"' in text
    declaration.write_text(text.replace('table="rental"', 'table="public.rental"'), encoding="utf-8")
    marts = ("fct_iris_by_species", "fct_sales_by_day", "fct_rentals_by_film", "fct_trips_by_weather")
    with postgres() as server:
        project.variables["RENTALS_URL"] = server.address
        make_rentals(project, server)
        loads = ("iris", "sales 2024-01-05 2024-01-06", "rentals", f"weather {WEEK}", "zones", "green 2024-01")
        loaded = lakehouse(project, *(f"load {words}" for words in loads))
        lakehouse(project, f"build --select '{' '.join(f'+{mart}' for mart in marts)}'")

        assert "150 rows" in loaded
        assert "5 rows, 1 set aside" in loaded
        assert "20 rows" in loaded
        assert loaded.count("  loaded  8 rows") == 7
        species = lake.sql("select species, flowers, avg_petal_length from gold.fct_iris_by_species order by 1")
        lengths = [float(length) for _, _, length in species]
        assert [row[:2] for row in species] == [("setosa", 50), ("versicolor", 50), ("virginica", 50)]
        assert lengths == pytest.approx([1.462, 4.26, 5.552], abs=0.0005)
        revenue = "select sold_on, revenue from gold.fct_sales_by_day order by 1"
        days = (date(2024, 1, 5), date(2024, 1, 6))
        assert lake.sql(revenue) == [(days[0], Decimal("3458.40")), (days[1], Decimal("2955.90"))]
        out = "select cast(sum(still_out) as bigint), cast(sum(rentals) as bigint) from gold.fct_rentals_by_film"
        assert lake.sql(out) == [(4, 20)]
        trips = "select cast(sum(trips) as bigint) from gold.{}"
        of_days = trips.format("fct_daily_trips") + " where pickup_date between date '2024-01-01' and date '2024-01-07'"
        assert lake.value("select count(*) from gold.fct_trips_by_weather") == 7
        assert lake.value(trips.format("fct_trips_by_weather")) == lake.value(of_days) > 0

        file = Path(project.variables["TLC_SOURCE"], "sales_2024-01-05_rome.csv")
        file.write_text(file.read_text(encoding="utf-8").replace("12,3O", "12,30"), encoding="utf-8")
        make_rentals(project, server, "--next-day")
        again = (*(f"load {words} --refresh" for words in ("sales 2024-01-05", "rentals", "rentals", "iris")),)
        changed = lakehouse(project, *again, "build --select '+fct_sales_by_day +fct_rentals_by_film'")

    assert "(2 inserted, 3 updated, " in changed
    assert changed.count("no new snapshot") == 2
    assert lake.value("select count(*) from raw.sales_rejected") == 1
    assert lake.sql(revenue)[0] == (days[0], Decimal("3470.70"))
    assert lake.sql(out) == [(3, 22)]
    history = json.loads(lakehouse(project, "history silver.stg_rentals --json"))
    assert len(history) == 2
