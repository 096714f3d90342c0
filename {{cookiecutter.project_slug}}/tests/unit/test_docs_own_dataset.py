"""docs/your-own-dataset.md: its declaration, taken from the page, is all that a new dataset needs."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest
from openpyxl import Workbook
from tests.lake import Lake
from tests.pages import declared_on_page, for_hire_month

from lakehouse.datasets.days import Day
from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.model import Dataset, Name
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import RefusedError
from lakehouse.landing.land import land
from lakehouse.loading.load import load
from lakehouse.report import make_report
from lakehouse.settings import project_dir


@pytest.fixture
def fhv() -> Iterator[Dataset]:
    DATASETS["fhv"] = declared_on_page("FHV")
    yield DATASETS["fhv"]
    del DATASETS["fhv"]


@pytest.mark.usefixtures("fhv")
def test_the_declared_dataset_is_loaded_and_has_a_history(lake: Lake) -> None:
    result = lake.load("fhv", "2024-01", lake.write("fhv", "2024-01", for_hire_month()))

    assert (result.action, result.rows, result.table) == ("loaded", 2, "raw.fhv_trips")
    assert lake.rows("select dispatching_base_num, pu_location_id from raw.fhv_trips order by file_row") == [
        {"dispatching_base_num": "B00001", "pu_location_id": None},
        {"dispatching_base_num": "B00002", "pu_location_id": 7},
    ]
    assert [row.file_month for row in lake.history("raw.fhv_trips")] == ["2024-01"]


@pytest.mark.usefixtures("fhv")
def test_it_is_guarded_as_the_others_are(lake: Lake) -> None:
    with pytest.raises(RefusedError, match="'dropOff_datetime' is missing"):
        lake.load("fhv", "2024-01", lake.write("fhv", "2024-01", for_hire_month().drop_columns(["dropOff_datetime"])))


def test_the_checks_of_a_load_need_no_column_that_it_does_not_declare(lake: Lake, fhv: Dataset) -> None:
    from lakehouse.defs.raw.checks import check_results

    result = lake.load("fhv", "2024-01", lake.write("fhv", "2024-01", for_hire_month()))
    key = dg.AssetKey(["raw", "fhv_trips"])
    checks = {check.check_name: check for check in check_results(lake.engine, lake.landing, fhv, key, [result])}

    assert checks.keys() == {"rows_match_file", "keys_are_unique", "columns_are_declared", "few_strays"}
    assert all(check.passed for check in checks.values())
    assert checks["rows_match_file"].metadata["months"].value == {"2024-01": {"table": 2, "file": 2}}


def test_what_tells_the_time_of_a_row_is_the_column_with_that_role(lake: Lake, fhv: Dataset) -> None:
    from lakehouse.defs.raw.checks import part_facts

    columns = tuple(replace(c, name="began", names=(Name(c.name),)) if c.role == "pickup" else c for c in fhv.columns)
    DATASETS["fhv"] = renamed = replace(fhv, columns=columns)
    month = for_hire_month()
    lake.load("fhv", "2024-01", lake.write("fhv", "2024-01", month.slice(0, 1)))
    lake.load("fhv", "2024-01", lake.write("fhv", "2024-01", month))

    facts = part_facts(lake.engine, renamed, Month(2024, 1))
    travel = make_report(lake.settings).json["travel"]

    assert facts == {"rows": 2, "keys": 2, "strays": 0, "nulls": 0}
    assert (travel["trips_before"], travel["trips_after"]) == (1, 2)


@pytest.mark.filterwarnings("ignore:Parameter:Warning")
def test_dagster_has_assets_for_it(fhv: Dataset) -> None:
    from lakehouse.defs.raw.assets import raw_asset

    assert raw_asset(fhv).key.to_user_string() == "raw/fhv_trips"


def test_the_declared_json_lines_are_loaded(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "tickets", declared_on_page("TICKETS"))
    line = b'{"id": 7, "openedAt": "2024-01-31T09:30:00", "hours": 0.1, "customer": {"address": {"city": "Rome"}}}\n'
    (tmp_path / "tickets.jsonl.gz").write_bytes(gzip.compress(line))

    land(lake.landing, str(tmp_path), DatasetFile("tickets"))
    load(lake.catalog, lake.landing, DatasetFile("tickets"))

    assert lake.rows("select id, opened_at, hours, city from raw.tickets") == [
        {"id": 7, "opened_at": datetime.fromisoformat("2024-01-31T09:30"), "hours": 0.1, "city": "Rome"}
    ]


def test_the_declared_bad_rows_are_set_aside(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "readings", declared_on_page("READINGS"))
    page = (project_dir() / "docs" / "your-own-dataset.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```sql\n(.*raw\.readings_rejected.*)\n```", page)
    file = DatasetFile("readings", Day(2024, 1, 5))
    (tmp_path / file.name).write_text(
        "meter,read_on,kwh\n1,05.01.2024,0.5\n2,31.02.2024,1\n3,05.01.2024,7\n4,05.01.2024,\n", "utf-8"
    )

    land(lake.landing, str(tmp_path), file)
    result = load(lake.catalog, lake.landing, file)

    assert f"`{result.counts}`" in page
    (row,) = lake.rows(query)
    assert (row["column_name"], row["place"]) == ("read_on", "row 1 (counted from 0)")
    assert row["reason"].startswith("the column 'read_on' has '31.02.2024' in row 1")
    assert json.loads(row["row_values"]) == {"meter": "2", "read_on": "31.02.2024", "kwh": "1"}
    columns = [field.name for field in lake.table("raw.readings_rejected").schema().fields]
    assert all(f"`{name}`" in page for name in columns)


def test_the_declared_sheet_is_loaded(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "budget", declared_on_page("BUDGET"))
    book = Workbook()
    sheet = book.create_sheet("Plan")
    due = date(2024, 1, 31)
    for row in (["Budget"], [], ["No.", "Due", "amount", "remark"], [7, due, 0.1, "late"], ["Total", None, 0.1]):
        sheet.append(row)
    book.save(tmp_path / "budget.xlsx")

    land(lake.landing, str(tmp_path), DatasetFile("budget"))
    load(lake.catalog, lake.landing, DatasetFile("budget"))

    assert lake.rows("select number, due, amount, remark from raw.budget") == [
        {"number": 7, "due": due, "amount": Decimal("0.10"), "remark": "late"}
    ]


def test_the_reader_of_ones_own_is_called(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (project_dir() / "docs" / "your-own-dataset.md").read_text(encoding="utf-8")
    (code,) = (block for block in page.split("```") if "def read(file" in block)
    module = ModuleType("lakehouse.formats.fixed_width")
    exec(code.removeprefix("python\n"), vars(module))  # noqa: S102 - the page is ours
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(DATASETS, "depots", declared_on_page("DEPOTS"))
    (tmp_path / "depots.txt").write_bytes("000007Caf\xe9\n000010Depot \n".encode("latin-1"))

    land(lake.landing, str(tmp_path), DatasetFile("depots"))
    load(lake.catalog, lake.landing, DatasetFile("depots"))

    assert lake.rows("select number, name from raw.depots order by number") == [
        {"number": 7, "name": "Caf\xe9"},
        {"number": 10, "name": "Depot"},
    ]


def test_the_declared_csv_file_is_loaded(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "orders", declared_on_page("ORDERS"))
    text = "Orders\n\nOrder No;Date;Net price;remark\n7;31.01.2024 09:30;1234,50;caf\xe9\n"
    (tmp_path / "orders.csv.gz").write_bytes(gzip.compress(text.encode("latin-1")))

    land(lake.landing, str(tmp_path), DatasetFile("orders"))
    load(lake.catalog, lake.landing, DatasetFile("orders"))

    assert lake.rows("select number, ordered_at, price, remark from raw.orders") == [
        {"number": 7, "ordered_at": datetime.fromisoformat("2024-01-31T09:30"), "price": 1234.5, "remark": "caf\xe9"}
    ]


def test_the_declared_files_of_a_day_are_loaded_together(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "receipts", declared_on_page("RECEIPTS"))
    file = DatasetFile("receipts", Day(2024, 1, 5))
    for shop, amount in (("north", "1,50"), ("south", "2,25")):
        text = f"Receipt No;printed_at;amount\n7;2024-01-05 09:30:00;{amount}\n"
        (tmp_path / f"receipts_2024-01-05_{shop}.csv").write_text(text, encoding="utf-8")

    landed = land(lake.landing, str(tmp_path), file)
    load(lake.catalog, lake.landing, file)

    assert landed.file.name == "receipts_2024-01-05_all.csv.zip"
    assert lake.rows("select file_row, number, amount from raw.receipts order by file_row") == [
        {"file_row": 0, "number": 7, "amount": Decimal("1.50")},
        {"file_row": 1, "number": 7, "amount": Decimal("2.25")},
    ]


def test_the_declared_table_of_a_database_is_loaded(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "rentals", declared_on_page("RENTALS"))
    monkeypatch.setenv("RENTALS_URL", f"sqlite:///{tmp_path / 'film.db'}")
    with sqlite3.connect(tmp_path / "film.db") as database:
        database.execute("create table rental (rental_id int, rental_date text, title text, amount real, staff_id int)")
        database.execute("insert into rental values (7, '2024-01-31 09:30:00', 'Academy Dinosaur', 0.99, 1)")
    database.close()

    land(lake.landing, "/nowhere", DatasetFile("rentals"))
    result = load(lake.catalog, lake.landing, DatasetFile("rentals"))

    assert result.unknown_columns == ("staff_id",)
    assert lake.rows("select rental_id, rental_date, title, amount from raw.rentals") == [
        {
            "rental_id": 7,
            "rental_date": datetime.fromisoformat("2024-01-31T09:30"),
            "title": "Academy Dinosaur",
            "amount": 0.99,
        }
    ]
