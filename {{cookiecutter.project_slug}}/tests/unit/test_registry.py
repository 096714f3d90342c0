"""A dataset is declared by one file in src/lakehouse/datasets, found by being there. A wrong one is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tests.pages import declared_on_page
from tests.unit.dagster_project import Project

from lakehouse.datasets.days import Day
from lakehouse.datasets.declaration import problem
from lakehouse.datasets.formats import Csv, Excel, JsonLines, Reader
from lakehouse.datasets.model import Column, Dataset, Name
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Daily, Monthly, Whole
from lakehouse.datasets.registry import DATASETS, declared
from lakehouse.datasets.sources import Query
from lakehouse.settings import project_dir

PROGRAM = Path(sys.executable).parent / "lakehouse"
FHV = """
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Monthly

FHV = Dataset(
    name="fhv",
    title="For-hire vehicle trips",
    table="raw.fhv_trips",
    files="fhv_tripdata_{month}.parquet",
    parts=Monthly(since=Month(2015, 1)),
    columns=(Column("pickup_datetime", "timestamp", role="pickup"),),
)
"""
PICKUP = Column("pickup_datetime", "timestamp", role="pickup")


def names(folder: Path, declaration: str, file: str = "fhv.py") -> subprocess.CompletedProcess[str]:
    """Ask a copy of the project, with one more declaration, for its datasets."""
    shutil.copytree(project_dir() / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src" / "lakehouse" / "datasets" / file).write_text(declaration, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-c", "from lakehouse.datasets.registry import DATASETS; print(*DATASETS)"],
        env={"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def error_of(asked: subprocess.CompletedProcess[str]) -> str:
    """The last line on stderr, without the error's class."""
    assert asked.returncode == 1
    kind, _, message = asked.stderr.splitlines()[-1].partition(": ")
    assert kind == "lakehouse.errors.DeclarationError"
    return message


def test_a_file_in_the_folder_is_a_dataset(tmp_path: Path) -> None:
    asked = names(tmp_path, FHV)

    ours = ["yellow", "green", "fhv", "zones"]
    assert [name for name in asked.stdout.split() if name in ours] == ours, asked.stderr


@pytest.mark.parametrize(("ours", "both"), [('"fhv"', "green"), ("raw.fhv_trips", "raw.green_trips")])
def test_two_declarations_of_one_name_or_table_are_refused(tmp_path: Path, ours: str, both: str) -> None:
    asked = names(tmp_path, FHV.replace(ours, both if "." in both else f'"{both}"'))

    assert (
        error_of(asked) == f"datasets/fhv.py and datasets/green.py both declare {both}. Give one of them another name."
    )


def test_two_declarations_in_one_file_name_it_once(tmp_path: Path) -> None:
    again = FHV.partition("FHV = ")[2]

    asked = names(tmp_path, f"{FHV}OTHER = {again.replace('For-hire', 'Other')}")

    assert error_of(asked) == "datasets/fhv.py declares fhv twice. Give one another name."


def test_reading_the_declarations_twice_gives_the_same() -> None:
    assert declared() == DATASETS


@pytest.mark.parametrize(
    "dataset",
    [*DATASETS.values(), *map(declared_on_page, ("FHV", "ORDERS", "TICKETS", "RENTALS", "BUDGET", "RECEIPTS"))],
    ids=lambda d: d.name,
)
def test_the_projects_declarations_break_no_rule(dataset: Any) -> None:
    assert problem(dataset) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "FHV trips"},
            "the name 'FHV trips' is invalid. Use only lower-case letters, digits and underscores.",
        ),
        ({"name": ""}, "the name '' is invalid."),
        ({"table": "fhv_trips"}, "the table 'fhv_trips' is invalid. Write raw.NAME;"),
        ({"table": "silver.fhv_trips"}, "the table 'silver.fhv_trips' is invalid."),
        ({"table": "raw.FHV"}, "the table 'raw.FHV' is invalid."),
        ({"table": "raw.2015_trips"}, "the table 'raw.2015_trips' is invalid."),
        ({"columns": (PICKUP, Column("n", "int"))}, "the column 'n' has the type 'int'. Use one of long, double, "),
        (
            {"columns": (Column("pickup_datetime", "timestamp", role="pick-up"),)},  # type: ignore[arg-type]
            "the column 'pickup_datetime' has the role 'pick-up'. Use one of pickup, dropoff, time, zone, count, or ",
        ),
        (
            {"columns": (PICKUP, PICKUP)},
            "the columns 'pickup_datetime' and 'pickup_datetime' have one name; case and underscores do not count. ",
        ),
        (
            {"columns": (PICKUP, Column("zone_id", "long"), Column("ZoneId", "long"))},
            "the columns 'zone_id' and 'ZoneId' have one name;",
        ),
        (
            {"key": ("number",)},
            "the key has 'number', and no column has this name. Use names of columns: dispatching_base_num, ",
        ),
        (
            {"columns": (Column("picked_up", "string", role="pickup"),)},
            "the column 'picked_up' has the role pickup and the type string. Declare it as timestamp, or remove ",
        ),
        (
            {"columns": (PICKUP, Column("n", "decimal(39,2)"))},
            (
                "the column 'n' has the type 'decimal(39,2)'. Use one of long, double, decimal(P,S), boolean, "
                "date, timestamp, timestamptz, string, binary, list(…). In a decimal(P,S), P is 1 to 38, and S is 0 to "
                "P: decimal(12,2)."
            ),
        ),
        ({"columns": (PICKUP, Column("n", "decimal(2,3)"))}, "the column 'n' has the type 'decimal(2,3)'. Use one of "),
        ({"columns": (PICKUP, Column("n", "decimal(P,S)"))}, "the column 'n' has the type 'decimal(P,S)'. Use one of "),
        ({"columns": (PICKUP, Column("n", "decimal"))}, "the column 'n' has the type 'decimal'. Use one of "),
        (
            {"columns": (Column("day", "date", role="pickup"),)},
            "the column 'day' has the role pickup and the type date. Declare it as timestamp, or remove the role.",
        ),
        (
            {"columns": (Column("day", "string", role="time"),)},
            "the column 'day' has the role time and the type string. Declare it as timestamp, timestamptz or ",
        ),
        (
            {"columns": (PICKUP, Column("at", "timestamp", zone="Europe/Berlin"))},
            "the column 'at' has a zone and the type timestamp. Declare it as timestamptz, or remove the zone.",
        ),
        (
            {"columns": (PICKUP, Column("at", "timestamptz", zone="Europe/Berlim"))},
            "the column 'at' has the zone 'Europe/Berlim', which nobody knows. Write a name such as Europe/",
        ),
        (
            {"columns": (PICKUP, Column("amount", "double")), "key": ("amount",)},
            "the key has 'amount', a double. Use columns of any type but double, binary or list.",
        ),
        (
            {"columns": (PICKUP, Column("photo", "binary")), "key": ("photo",)},
            "the key has 'photo', a binary. Use columns of any type but double, binary or list.",
        ),
        (
            {"columns": (PICKUP, Column("photo", "binary")), "format": Csv()},
            "the column 'photo' is binary, and the CSV file has only text. Declare it as string.",
        ),
        (
            {"columns": (PICKUP,), "format": Csv(times="%d.%m.%Y %H:%M %z")},
            "the column 'pickup_datetime' is timestamp, and times='%d.%m.%Y %H:%M %z' has a zone. Declare it as ",
        ),
        (
            {"columns": (Column("at", "timestamptz"),), "format": Csv(times="%d.%m.%Y %H:%M")},
            "the column 'at' is timestamptz, and times='%d.%m.%Y %H:%M' has no zone. Write %z in it, or say where ",
        ),
        (
            {"columns": (Column("at", "timestamptz", zone="UTC"),), "format": Csv(times="%d.%m.%Y %H:%M%z")},
            "the column 'at' is timestamptz, and times='%d.%m.%Y %H:%M%z' has a zone. Remove the column's zone.",
        ),
        (
            {"columns": (PICKUP, Column("also", "timestamp", role="pickup"))},
            "the columns pickup_datetime, also each have the role pickup or time, and only one column may. Keep ",
        ),
        ({"files": "fhv.parquet"}, "files='fhv.parquet' must have the placeholder {month} once, and no other."),
        (
            {"files": "fhv_{year}.parquet"},
            "files='fhv_{year}.parquet' must have the placeholder {month} once, and no other.",
        ),
        ({"files": "fhv_{year}_{month}.parquet"}, "files='fhv_{year}_{month}.parquet' must have the placeholder "),
        ({"files": "fhv_{}.parquet"}, "files='fhv_{}.parquet' must have the placeholder {month} once, and no other."),
        (
            {"files": "fhv_{month:02}.parquet"},
            "files='fhv_{month:02}.parquet': the form does not give the whole month back. Use %Y and %m, such as ",
        ),
        ({"files": "fhv_{month.parquet"}, "files='fhv_{month.parquet' is invalid: expected '}' before end of string."),
        (
            {"files": "{month}_{month}.parquet"},
            "files='{month}_{month}.parquet' must have the placeholder {month} once",
        ),
        (
            {"key": ("pickup_datetime",)},
            "it has a key, and comes by the month. Declare parts=Whole(), or leave the key",
        ),
        (
            {"parts": Daily(since=Day(2024, 1, 5))},
            "files='fhv_tripdata_{month}.parquet' must have the placeholder {day} once, and no other. Write {day} ",
        ),
        (
            {"parts": Daily(since=Day(2024, 1, 5)), "files": "fhv_{day:%Y%m}.parquet"},
            "files='fhv_{day:%Y%m}.parquet': the form does not give the whole day back. Use %Y, %m and %d, such as ",
        ),
        (
            {"columns": (PICKUP,), "files": "fhv_{month}.csv", "format": Csv(times="%Y-%m-%d %H:%M:%S.%f")},
            "the column 'pickup_datetime' is timestamp, and times='%Y-%m-%d %H:%M:%S.%f' has %f, which is read only ",
        ),
        ({"columns": (Column("file_row", "long"),)}, "the column 'file_row' has a name that the loader adds itself."),
        (
            {"parts": Whole()},
            "files='fhv_tripdata_{month}.parquet' has a placeholder, and a dataset of Whole() has no ",
        ),
        (
            {"files": "fhv_{month}.csv"},
            "files='fhv_{month}.csv' does not end in .parquet. Correct the name, or declare ",
        ),
        ({"columns": PICKUP}, "columns is of the type Column. Write columns=(Column(…), Column(…))."),
        ({"columns": ("n",)}, "columns has an entry that is of the type str. Write each entry as Column(…)."),
        (
            {"columns": (Column("n", "long", Name("N")),)},  # type: ignore[arg-type]
            "the column 'n': names is of the type Name. Write names=(Name(\"…\"),).",
        ),
        (
            {"columns": (Column("n", "long", ("N",)),)},  # type: ignore[arg-type]
            "the column 'n': names has an entry that is of the type str. Write each entry as Name(…).",
        ),
        (
            {"columns": (Column("n", "long", required_since="2015-01"),)},  # type: ignore[arg-type]
            "the column 'n': required_since is of the type str. Write required_since=Month(2024, 1).",
        ),
        ({"key": "number"}, 'key is of the type str. Write key=("…",).'),
        (
            {"parts": Monthly},
            "parts is Monthly without brackets. Write parts=Monthly(since=Month(2024, 1)), ",
        ),
        ({"parts": Monthly("2015-01")}, "parts: since is of the type str. Write since=Month(2024, 1)."),  # type: ignore[arg-type]
        (
            {"format": Excel},
            "format is Excel without brackets. Write format=Parquet(), Csv(…), JsonLines(…), Excel(…) or ",
        ),
        (
            {"files": "fhv_{month}.xls", "format": Excel()},
            "files='fhv_{month}.xls' does not end in .xlsx or .xlsm. Correct the name. Save other Excel",
        ),
        ({"files": "fhv_{month}.xlsx", "format": Excel(header_row=0)}, "format: header_row=0 is no row. "),
        ({"files": "fhv_{month}.xlsx", "format": Excel(footer_rows=-1)}, "format: footer_rows=-1 is less than 0. "),
        (
            {"files": "fhv_{month}.csv", "format": Csv(nulls="NA")},  # type: ignore[arg-type]
            'format: nulls is of the type str. Write nulls=("NA",).',
        ),
        (
            {
                "files": "fhv_{month}.csv",
                "format": Csv(nulls=("NA", "n")),
                "columns": (Column("is_shared", "boolean"),),
            },
            "the column 'is_shared' is boolean, where 'n' means true or false, and nulls has it. Remove it from nulls",
        ),
        (
            {"files": "fhv_{month}.csv", "format": Csv(), "columns": (Column("n", "boolean", nulls=("n",)),)},
            "the column 'n' is boolean, where 'n' means true or false, and nulls has it. Remove it from nulls",
        ),
        (
            {"files": "fhv_{month}.csv", "format": Csv(), "columns": (Column("n", "long", nulls=(" -",)),)},
            "the column 'n': nulls has ' -'. Blanks around a word do not count: remove them.",
        ),
        (
            {"columns": (Column("n", "long", nulls="NA"),)},  # type: ignore[arg-type]
            "the column 'n': nulls is of the type str. Write nulls=(\"NA\",).",
        ),
        (
            {"columns": (Column("n", "long", nulls=()),)},
            "the column 'n' has nulls, and only a CSV file has words for no value. Remove nulls.",
        ),
        ({"format": Excel(sheet=1)}, 'format: sheet is of the type int. Write sheet="…".'),  # type: ignore[arg-type]
        (
            {"format": JsonLines(encoding="utf-99")},
            "format: encoding='utf-99' is unknown. Use a name that Python has, ",
        ),
        ({"format": JsonLines(compression="bz2")}, "format: compression='bz2' can't be read. Write "),  # type: ignore[arg-type]
        ({"format": Csv(delimiter=";;")}, "format: delimiter=';;' is not one sign. Write one sign."),
        ({"format": Csv(junk_rows=-1)}, "format: junk_rows=-1 is less than 0. "),
        ({"format": Reader("read")}, "format: Reader('read') names no function. Write Reader(\"module:function\")."),
        ({"format": Reader("lakehouse.no:read")}, "format: there is no module lakehouse.no for Reader('lakehouse.no:"),
        ({"owner": "data"}, "the owner 'data' is invalid. Write team:NAME, such as team:data, or an e-mail address."),
        ({"owner": "team:"}, "the owner 'team:' is invalid."),
        ({"owner": "ann@example"}, "the owner 'ann@example' is invalid."),
        ({"owner": ("team:data",)}, 'owner is of the type tuple. Write owner="team:data".'),
        ({"group": "our sales"}, "the group 'our sales' is invalid. Use letters, digits and underscores; a / stands "),
        ({"group": "shops/"}, "the group 'shops/' is invalid."),
        ({"group": None}, 'group is of the type NoneType. Write group="sales".'),
        ({"name": None}, 'name is of the type NoneType. Write name="…".'),
        (
            {"parts": Monthly(since=Month(1, 2024))},
            "parts: since is Month(1, 2024), which is no month. Write Month(2024, 1).",
        ),
        (
            {"parts": Daily(since=Day(2024, 2, 30))},
            "parts: since is Day(2024, 2, 30), which is no day. Write Day(2024,",
        ),
        (
            {"columns": (Column("n", "long", (Name("N", since=Month(1, 2024)),)),)},
            "the column 'n': names: since is Month(1, 2024), which is no month. Write Month(2024, 1).",
        ),
        (
            {"columns": (Column("n", "long", required_since=Month("2024", 1)),)},  # type: ignore[arg-type]
            "the column 'n': required_since is Month('2024', 1), which is no month.",
        ),
        (
            {"columns": (Column("n", "long", role=["time"]),)},  # type: ignore[arg-type]
            "the column 'n': role is of the type list. Write role=\"time\".",
        ),
        (
            {"files": "fhv_{month.foo}.parquet"},
            "files='fhv_{month.foo}.parquet' must have the placeholder {month} once",
        ),
        ({"files": "fhv_{month[0]}.parquet"}, "files='fhv_{month[0]}.parquet' must have the placeholder {month} once"),
    ],
)
def test_a_declaration_that_breaks_a_rule_is_refused(changes: dict[str, Any], message: str) -> None:
    wrong = replace(declared_on_page("FHV"), **changes)

    assert (problem(wrong) or "").startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (\n", "can't be imported: SyntaxError: '(' was never closed."),
        ("import no_such_library\n", "can't be imported: ModuleNotFoundError: No module named 'no_such_library'."),
        ("1 / 0\n", "can't be imported: ZeroDivisionError: division by zero."),
    ],
)
def test_a_reader_whose_package_can_t_be_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package" / "__init__.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    said = problem(replace(declared_on_page("FHV"), format=Reader("broken_package.files:read")))

    assert said == f"format: the package of Reader('broken_package.files:read') {message}"


@pytest.mark.parametrize("owner", ["team:data", "team:Data & Co", "ann.b+c@mail.example.com", "_@a.de"])
@pytest.mark.parametrize("group", ["sales", "shops/sales_2", ""])
def test_dagster_takes_each_owner_and_group_that_no_rule_refuses(owner: str, group: str) -> None:
    fhv = replace(declared_on_page("FHV"), owner=owner, group=group)

    assert problem(fhv) is None
    assert dg.AssetSpec("fhv", owners=[fhv.owner], group_name=fhv.group or None).owners == [owner]


def test_a_raw_table_is_not_stale_for_another_owner_or_group() -> None:
    fhv = declared_on_page("FHV")

    assert repr(replace(fhv, owner="team:data", group="cars")) == repr(fhv)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"source": Query("postgresql://me:secret@host/db", table="rental")},
            "source: database is no name of a variable. Write a name such as RENTALS_URL (upper-case letters, digits ",
        ),
        ({"source": Query("RENTALS_URL")}, "source: it must have either a table or sql. Write "),
        ({"source": Query("RENTALS_URL", sql="\n")}, "source: it must have either a table or sql. Write "),
        ({"source": Query("RENTALS_URL", table="a", sql="select 1")}, "source: it must have either a table or sql. "),
        ({"source": Query("RENTALS_URL", table="a.b.c")}, "source: the table 'a.b.c' is invalid. Write NAME or "),
        (
            {"source": Query("RENTALS_URL", sql="delete from rental")},
            "source: the sql begins with 'delete'. Write one SELECT: a source is only read.",
        ),
        ({"source": Query("RENTALS_URL", table=None)}, 'source: table is of the type NoneType. Write table="…".'),  # type: ignore[arg-type]
        ({"source": "public.rental"}, "source is of the type str. Write source=Query(database="),
        (
            {"parts": Daily(since=Day(2024, 1, 1)), "files": "rentals_{day}.parquet", "key": ()},
            "it has a source, and comes by the day. Declare parts=Whole().",
        ),
        ({"format": Csv()}, "it has a source, whose rows land as parquet. Leave the format out."),
    ],
)
def test_a_source_that_breaks_a_rule_is_refused_without_its_address(changes: dict[str, Any], message: str) -> None:
    said = problem(replace(declared_on_page("RENTALS"), **changes)) or ""

    assert said.startswith(message)
    assert "secret" not in said


def _payments(**changes: Any) -> Dataset:
    """The dataset of the page that has a cursor; its Query and the type of its cursor changed."""
    declared = declared_on_page("PAYMENTS")
    assert declared.source
    cursor = {name: changes.pop(name) for name in ("type", "zone") if name in changes}
    columns = tuple(replace(one, **cursor) if one.name == "last_update" else one for one in declared.columns)
    parts = changes.pop("parts", declared.parts)
    return replace(declared, parts=parts, columns=columns, source=replace(declared.source, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"parts": Whole()},
            "source: cursor='last_update' extracts new and changed rows only, and a file of Whole() has all rows. Decl",
        ),
        ({"cursor": ""}, "source: overlap=datetime.timedelta(seconds=3600) says how far an extract goes back behind "),
        ({"cursor": "updated"}, "source: cursor='updated' is no declared column. Use one of payment_id, amount, last_"),
        (
            {"type": "string"},
            "source: cursor='last_update' has the type string. Use a column of a type long, decimal, date, times",
        ),
        (
            {"type": "timestamptz", "zone": "Europe/Berlin"},
            "source: cursor='last_update' has the zone Europe/Berlin, whose clocks go back once a year. Use a column ",
        ),
        (
            {"overlap": 1},
            "source: overlap=1 does not fit 'last_update', a timestamp. Write timedelta(hours=1).",
        ),
        (
            {"overlap": timedelta(hours=1), "type": "date"},
            "source: overlap=datetime.timedelta(seconds=3600) does not fit 'last_update', a date. Write timedelta(days",
        ),
        (
            {"overlap": timedelta(hours=1), "type": "long"},
            "source: overlap=datetime.timedelta(seconds=3600) does not fit 'last_update', a long. Write a whole number",
        ),
        (
            {"overlap": Decimal("0.5"), "type": "long"},
            "source: overlap=Decimal('0.5') does not fit 'last_update', a long. Write a whole number.",
        ),
        (
            {"overlap": Decimal("NaN"), "type": "long"},
            "source: overlap=Decimal('NaN') does not fit 'last_update', a long. Write a whole number.",
        ),
        (
            {"overlap": Decimal("-Infinity"), "type": "decimal(12,2)"},
            "source: overlap=Decimal('-Infinity') does not fit 'last_update', a decimal(12,2). Write a number.",
        ),
        ({"overlap": -1, "type": "decimal(12,2)"}, "source: overlap=-1 is less than 0. Write how far an extract goes "),
        ({"overlap": timedelta(hours=-1)}, "source: overlap=datetime.timedelta(days=-1, seconds=82800) is less than 0"),
        ({"overlap": "1 hour"}, "source: overlap is of the type str. Write overlap=timedelta(hours=1), or a number."),
        ({"cursor": None}, 'source: cursor is of the type NoneType. Write cursor="…".'),
    ],
)
def test_a_cursor_that_breaks_a_rule_is_refused(changes: dict[str, Any], message: str) -> None:
    assert (problem(_payments(**changes)) or "").startswith(message)


@pytest.mark.parametrize(
    ("kind", "overlap"),
    [
        ("long", 5),
        ("decimal(12,2)", Decimal("0.5")),
        ("date", timedelta(days=2)),
        ("timestamptz", timedelta(hours=1)),
        ("timestamp", None),
    ],
)
def test_a_cursor_of_each_type_is_accepted(kind: str, overlap: Any) -> None:
    assert problem(_payments(type=kind, overlap=overlap)) is None


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Csv(thousands="  "), "format: thousands='  ' is not one sign. Write one sign, or leave thousands out."),
        (Csv(delimiter=";", quote=";"), "format: delimiter and quote are both ';'. Correct one of them."),
        (Csv(decimal=",", thousands=","), "format: decimal and thousands are both ','. Correct one of them."),
        (Csv(decimal='"'), "format: decimal and quote are both '\"'. Correct one of them."),
        (Csv(quote="", decimal=","), "format: delimiter and decimal are both ','. Correct one of them."),
        (Csv(quote="", thousands=","), "format: delimiter and thousands are both ','. Correct one of them."),
        (Csv(footer_rows=-1), "format: footer_rows=-1 is less than 0. Write how many rows to leave out."),
        (Csv(nulls=("",)), "format: nulls has ''. An empty value is none anyway: remove it."),
        (Csv(nulls=("NA ",)), "format: nulls has 'NA '. Blanks around a word do not count: remove them."),
        (Csv(nulls=('"-"',)), "format: nulls has '\"-\"' with the quote '\"' in it. Write the word without quotes."),
        (
            Csv(quote="", nulls=("n,a",)),
            "format: nulls has 'n,a', and delimiter=',' cuts it into two values. Correct one of them.",
        ),
        (Csv(nulls=("NA", "n/a", "-", "n,a")), None),
        (Csv(decimal=",", thousands="."), None),
        (Csv(thousands=","), None),
        (Csv(quote="", delimiter=";", decimal=","), None),
    ],
)
def test_one_sign_of_a_csv_file_has_one_meaning(form: Csv, message: str | None) -> None:
    assert problem(replace(declared_on_page("ORDERS"), format=form)) == message


def test_a_whole_csv_dataset_needs_no_pickup_and_no_suffix() -> None:
    orders = replace(declared_on_page("ORDERS"), files="orders.txt", format=Csv(), key=())

    assert problem(orders) is None


def test_the_message_of_a_broken_rule_names_the_file(tmp_path: Path) -> None:
    asked = names(tmp_path, FHV.replace('"fhv"', '"FHV"'))

    assert error_of(asked) == (
        "datasets/fhv.py: the name 'FHV' is invalid. Use only lower-case letters, digits and underscores."
    )


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("title=", "titel=", "line 6, can't be imported. Correct it: TypeError: Dataset.__init__() got an unexpected "),
        ("Month(2015, 1)", "Mont(2015, 1)", "line 11, can't be imported. Correct it: NameError: name 'Mont' is not de"),
        ('"fhv",', '"fhv', "line 7, can't be imported. Correct it: SyntaxError: unterminated string literal"),
        ("Month(2015, 1)", 'Month.parse("2015")', "line 11, can't be imported. Correct it: '2015' is not a month."),
        ("import Monthly", "import Weekly", "line 4, can't be imported. Correct it: ImportError: cannot import name "),
    ],
)
def test_a_file_that_python_cannot_import_is_named(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    asked = names(tmp_path, FHV.replace(right, wrong))

    assert error_of(asked).startswith(f"datasets/fhv.py, {message}")


def test_a_broken_file_that_declarations_share_is_named_itself(tmp_path: Path) -> None:
    asked = names(tmp_path, "SHARE = no_such_name\n", "tlc.py")

    assert error_of(asked).startswith("datasets/tlc.py, line 1, can't be imported. Correct it: NameError: ")


@pytest.mark.parametrize("program", [(str(PROGRAM),), (sys.executable, "-m", "lakehouse")])
@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('"fhv"', '"[FHV]"', "datasets/fhv.py: the name '[FHV]' is invalid. Use only lower-case letters, digits and "),
        ("title=", "titel=", "datasets/fhv.py, line 6, can't be imported. Correct it: TypeError: Dataset.__init__() "),
    ],
)
def test_a_command_reports_a_wrong_declaration_in_one_line(
    tmp_path: Path, program: tuple[str, ...], right: str, wrong: str, message: str
) -> None:
    project = Project(tmp_path, {})
    file = project.root / "src" / "lakehouse" / "datasets" / "fhv.py"
    file.write_text(FHV.replace(right, wrong), encoding="utf-8")

    done = subprocess.run(
        [*program, "months"], env=project.environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {message}")
    assert line.endswith(" The command did not start.")


@pytest.mark.parametrize("arguments", [(), ("docs/data.md",)], ids=["print", "write"])
def test_the_tables_of_the_page_report_a_wrong_declaration_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    project = Project(tmp_path, {})
    file = project.root / "src" / "lakehouse" / "datasets" / "fhv.py"
    file.write_text(FHV.replace('"fhv"', '"FHV"'), encoding="utf-8")
    (project.root / "docs").mkdir(exist_ok=True)
    shutil.copy(project_dir() / "docs" / "data.md", project.root / "docs")

    printed = project.python("-m", "lakehouse.datasets.describe", *arguments, code=1)

    assert printed.strip().startswith("error: datasets/fhv.py: the name 'FHV' is invalid. ")
    assert len(printed.splitlines()) == 1


def test_dagster_reports_a_wrong_declaration_without_our_imports(tmp_path: Path) -> None:
    project = Project(tmp_path, {})
    file = project.root / "src" / "lakehouse" / "datasets" / "fhv.py"
    file.write_text(FHV.replace('"fhv"', '"FHV"'), encoding="utf-8")

    printed = project.python("-m", "dagster", "definitions", "validate", "-m", "lakehouse.definitions", code=1)

    assert printed.count("lakehouse.errors.DeclarationError: datasets/fhv.py: the name 'FHV' is invalid. ") == 1
    assert "registry.py" not in printed
