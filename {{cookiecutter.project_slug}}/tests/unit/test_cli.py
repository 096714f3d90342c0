"""The command line as a person and a program meet it: words, JSON, exit codes, one message for an error."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.lake import Lake

from lakehouse.__main__ import main
from lakehouse.settings import LONGEST_DAYS, load_settings
from lakehouse.synthetic.generate import write_zones


@dataclass
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """`lakehouse …` in this process, with `TLC_SOURCE` at a folder of generated files."""

    def __init__(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.set("LAKEHOUSE_TARGET", "embedded")
        self.set("LAKEHOUSE_HOME", str(lake.settings.home))
        self.set("TLC_SOURCE", str(lake.scratch))

    def set(self, name: str, value: str) -> None:
        self.monkeypatch.setenv(name, value)

    def run(self, *words: str) -> Done:
        load_settings.cache_clear()
        self.monkeypatch.setattr(sys, "argv", ["lakehouse", *words])
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main()
        return Done(int(left.value.code or 0), out.getvalue(), err.getvalue())

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shell(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Shell:
    lake.scratch.mkdir(parents=True)
    return Shell(lake, monkeypatch)


def test_the_installed_program_exits_with_the_code(tmp_path: Path) -> None:
    environment = {**os.environ, "LAKEHOUSE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "lakehouse", "history", "raw.nothing"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: There is no table raw.nothing.")
    assert "Traceback" not in done.stderr


def test_load_then_look(lake: Lake, shell: Shell) -> None:
    lake.generate("green", "2024-01", 500)
    lake.generate("green", "2024-02", 300)

    loaded = shell.json("load", "green", "2024-01..2024-02")
    again = shell.run("load", "green", "2024-01")
    months = shell.json("months")
    history = shell.json("history", "raw.green_trips")

    assert [(r["month"], r["action"], r["rows"]) for r in loaded] == [
        ("2024-01", "loaded", 500),
        ("2024-02", "loaded", 300),
    ]
    assert (again.returncode, "green 2024-01  unchanged  500 rows  no new snapshot" in again.stdout) == (0, True)
    assert [(m["dataset"], m["month"], m["rows"]) for m in months] == [
        ("green", "2024-01", 500),
        ("green", "2024-02", 300),
    ]
    assert [m["snapshot_id"] for m in months] == [h["snapshot_id"] for h in history]
    assert {
        "committed_at",
        "operation",
        "total_rows",
        "added_rows",
        "deleted_rows",
        "file_month",
        "source_sha256",
    } <= set(history[0])


@pytest.mark.slow
def test_a_load_that_builds_brings_the_zones_first_and_says_both(lake: Lake, shell: Shell) -> None:
    lake.generate("green", "2024-01", 500)
    write_zones(lake.scratch / "taxi_zone_lookup.csv")
    lake.give_parse()

    done = shell.json("load", "green", "2024-01", "--build")
    again = shell.run("load", "green", "2024-01", "--build")
    (row,) = lake.rows("select cast(sum(trips) as bigint) as n from gold.fct_monthly_quality")

    assert [(r["dataset"], r["action"]) for r in done["loads"]] == [("zones", "loaded"), ("green", "loaded")]
    assert "gold.fct_daily_trips" in done["build"]["models"]
    assert done["build"]["tests"]
    assert row["n"] == 500
    assert again.returncode == 0, again.stderr
    assert "zones" not in again.stdout
    assert "Nothing new since the build of" in again.stdout


def test_a_load_that_fails_builds_nothing(lake: Lake, shell: Shell) -> None:
    lake.generate("green", "2024-01", 500)
    write_zones(lake.scratch / "taxi_zone_lookup.csv")

    failed = shell.run("load", "green", "2024-01..2024-02", "--build", "--json")

    said = json.loads(failed.stdout)
    assert failed.returncode == 1
    assert "2024-02" in failed.stderr
    assert [r["dataset"] for r in said["loads"]] == ["zones", "green"]
    assert said["build"] is None
    assert lake.table("raw.green_trips").current_snapshot() is not None
    assert not lake.catalog.table_exists("gold.fct_daily_trips")


def test_landed_says_from_where_when_and_which_bytes(lake: Lake, shell: Shell) -> None:
    files = [lake.generate("green", "2024-01", rows) for rows in (500, 501)]
    old, new = (lake.land("green", "2024-01", file, origin=file.as_uri()) for file in files)

    (row,) = shell.json("landed")
    versions = shell.json("landed", "--versions")
    printed = shell.run("landed", "--versions").stdout

    assert row["origin"] == files[1].as_uri()
    assert (row["dataset"], row["month"], row["size"]) == ("green", "2024-01", files[1].stat().st_size)
    assert row["landed_at"] == new.landed_at.isoformat()
    assert [(v["sha256"], v["current"]) for v in versions] == [(old.sha256, False), (new.sha256, True)]
    assert f"{old.sha256[:8]} replaced" in printed
    assert "No file is landed yet" not in printed


def test_months_are_loaded_in_the_order_given(lake: Lake, shell: Shell) -> None:
    for month in ("2023-12", "2024-01", "2024-02"):
        lake.generate("green", month, 50)

    loaded = shell.json("load", "green", "2024-02", "2023-12..2024-01")

    assert [r["month"] for r in loaded] == ["2024-02", "2023-12", "2024-01"]
    assert [r["file_month"] for r in shell.json("history", "raw.green_trips")] == ["2024-02", "2023-12", "2024-01"]


def test_sql_now_and_as_of_each_version(lake: Lake, shell: Shell) -> None:
    first = lake.load("green", "2024-01", lake.generate("green", "2024-01", 500))
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 300))
    count = "select count(*) as n from raw.green_trips"

    assert shell.json("sql", count) == [{"n": 800}]
    assert shell.json("sql", count, "--as-of", f"raw.green_trips@{first.snapshot_id}") == [{"n": 500}]
    assert shell.run("sql", count).stdout.split()[-1] == "800"


def test_sql_shows_values_as_they_are(shell: Shell) -> None:
    """No year with a comma, and no time that has lost its fraction."""
    times = "timestamp '2024-03-05 12:30:01.25' as at, timestamptz '2024-03-05 12:30:01+00' as seen"

    said = shell.run("sql", f"select 2024 as year, 1234567 as number, {times}").stdout

    values = "2024 1234567 2024-03-05 12:30:01.25 2024-03-05 12:30:01+00:00"
    assert said.split()[-6:] == values.split()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("history", "raw.nothing"), 1, "There is no table raw.nothing"),
        (("sql", "select nonsense"), 1, "nonsense"),
        (("sql", "select 1; select 2"), 1, "one statement"),
        (("sql", "select count(*) from raw.green_trips", "--as-of", "published"), 1, "is not published yet"),
        (("load", "green", "2099-01"), 1, "green"),
        (("load", "purple", "2024-01"), 2, "no dataset 'purple'"),
        (("load", "green"), 2, "no month is given"),
        (("load", "green", ""), 2, "no month is given"),
        (("load", "green", ","), 2, "no month is given"),
        (("load", "green", "2024-13"), 2, "2024-13"),
        (("load", "green", "2024-03..2024-01"), 2, "ends before it begins"),
        (
            ("load", "green", "2024-03.."),
            2,
            "needs a month on both sides of `..`, without blanks. Write it as 2024-01..2024-06.",
        ),
        (("tag", "raw.green_trips", "before", "1", "--remove"), 2, "--remove takes no version; leave the version out."),
        (("load", "green", "2012-01"), 2, "begins with 2013-08"),
        (("load", "zones", "2024-01"), 2, "no months"),
        (("frobnicate",), 2, "frobnicate"),
        *(
            (
                (command, "yellow", *words),
                1,
                "'yellow' is no table's name. Write it with its schema, as raw.yellow_trips",
            )
            for command, *words in (
                ("history",),
                ("tree",),
                ("diff", "main", "main"),
                ("tag", "mine"),
                ("rollback", "main"),
            )
        ),
        (("tree", "raw.green"), 1, "The tables are: raw."),
        (("sql", "select timestamp '290000-01-01' as late"), 1, "a value that can't be shown"),
    ],
)
def test_what_goes_wrong_is_one_message_and_an_exit_code(
    lake: Lake, shell: Shell, words: tuple[str, ...], code: int, says: str
) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))

    done = shell.run(*words)

    assert done.returncode == code, done.stderr
    said = " ".join(done.stderr.replace("│", " ").split())
    assert says in said
    # typer's own words of an unknown command can't say it
    assert code == 1 or words == ("frobnicate",) or said.count("Nothing was done.") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_lakehouse_without_tables_may_be_the_one_of_another_target(shell: Shell) -> None:
    said = shell.run("history", "raw.green_trips").stderr

    assert "The tables are: none yet; `lakehouse load` makes them. If you expect some, check the setting LAKEH" in said


def test_a_wrong_setting_is_named(shell: Shell) -> None:
    shell.set("LAKEHOUSE_TARGET", "spark")

    done = shell.run("months")

    assert done.returncode == 1
    assert "LAKEHOUSE_TARGET" in done.stderr


def test_a_refused_file_is_told_on_stderr_and_nothing_is_loaded(lake: Lake, shell: Shell) -> None:
    (lake.scratch / "green_tripdata_2024-01.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")

    done = shell.run("load", "green", "2024-01")

    assert done.returncode == 1
    assert "green_tripdata_2024-01.parquet" in done.stderr
    assert shell.json("months") == []


def test_months_loaded_before_one_that_failed_are_told_to_programs_too(lake: Lake, shell: Shell) -> None:
    lake.generate("green", "2024-01", 50)

    done = shell.run("load", "green", "2024-01", "2024-02", "--json")

    assert done.returncode == 1
    assert "green 2024-02 is not in" in done.stderr
    assert [(loaded["month"], loaded["action"]) for loaded in json.loads(done.stdout)] == [("2024-01", "loaded")]


@pytest.mark.parametrize("command", [("tree",), ("diff", "main", "main"), ("rollback", "main"), ("tag", "mine")])
def test_a_table_whose_files_are_gone_is_one_message_that_names_the_home(
    lake: Lake, shell: Shell, command: tuple[str, ...]
) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    for file in (lake.settings.warehouse_dir / "raw" / "green_trips" / "metadata").iterdir():
        file.unlink()

    done = shell.run(command[0], "raw.green_trips", *command[1:])

    assert (done.returncode, done.stdout) == (1, "")
    assert f"The lakehouse in {lake.settings.home} is incomplete" in done.stderr


def on_a_full_disk(lake: Lake, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `lakehouse WORDS`, which may write no file of more than 4 kB."""
    environment = {**os.environ, "LAKEHOUSE_HOME": str(lake.settings.home)}
    command = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    command += f"import sys; sys.argv = {['lakehouse', *words]}; from lakehouse.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


no_limit = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no limit on the size of files")


@no_limit
def test_a_tag_that_finds_no_room_is_one_message(lake: Lake, shell: Shell) -> None:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))

    done = on_a_full_disk(lake, "tag", "raw.green_trips", "mine")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "What this command had finished before stays. Its last change was made whole or not at all." in done.stderr
    assert shell.json("history", "raw.green_trips")[0]["refs"] == ["main"]


@no_limit
def test_reports_that_find_no_room_leave_the_last_ones(
    lake: Lake, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path / "project"))
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 50))
    assert shell.run("report").returncode == 0
    reports = tmp_path / "project" / "reports"
    before = {page.name: page.read_bytes() for page in reports.iterdir()}

    done = on_a_full_disk(lake, "report")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "See that the disk has room" in done.stderr
    assert before.keys() == {"dashboard.html", "snapshots.html"}
    assert {page.name: page.read_bytes() for page in reports.iterdir()} == before


def test_an_undeclared_column_is_a_warning(lake: Lake, shell: Shell) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(lake.generate("green", "2024-01", 50)).append_column("mood", pa.array(["fine"] * 50))
    for path in lake.scratch.rglob("*.parquet"):
        path.unlink()
    lake.write("green", "2024-01", table)

    done = shell.run("load", "green", "2024-01")

    assert (done.returncode, "'mood'" in done.stderr) == (0, True)


def test_doctor_says_what_is_there_and_what_is_not(shell: Shell, tmp_path: Path) -> None:
    shell.set("DAGSTER_HOME", str(tmp_path / "gone"))
    (load_settings().home.parent / "scratch" / "green_tripdata_2024-01.parquet").touch()

    done = shell.run("doctor", "--json")

    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["Python"]["state"] == "ok"
    assert found["TLC_SOURCE"]["state"] == "ok"
    assert found["DAGSTER_HOME"]["state"] == "missing"
    assert "The project may have been moved" in found["DAGSTER_HOME"]["found"]


def test_doctor_names_a_home_that_is_a_file_and_a_lost_yaml(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shell.set("DAGSTER_HOME", str(tmp_path))
    shell.set("LAKEHOUSE_HOME", str(tmp_path / "file"))

    found = {finding["what"]: finding for finding in json.loads(shell.run("doctor", "--json").stdout)}

    assert found["LAKEHOUSE_HOME"]["found"] == f"{tmp_path / 'file'} is a file"
    assert found["DAGSTER_HOME"]["found"] == f"{tmp_path / 'dagster.yaml'} is missing"
    assert "`make dev`" in found["DAGSTER_HOME"]["way_out"]


def test_the_help_of_every_command_has_a_sentence(shell: Shell) -> None:
    from lakehouse.cli import app

    for command in app.registered_commands:
        assert command.callback is not None
        assert (command.callback.__doc__ or "").strip().endswith(".")


def test_json_has_every_digit_and_is_json(shell: Shell) -> None:
    exact = "123456789012345678.12::decimal(20,2) as exact, 5::decimal(5,0) as whole, [1.50::decimal(3,2)] as many"
    floats = "'nan'::double as nan, [-'inf'::double] as inf, 0.5::double as half"

    done = shell.run("sql", f"select {exact}, {floats}", "--json")

    (row,) = json.loads(done.stdout, parse_float=Decimal, parse_constant=pytest.fail)
    assert row == {
        "exact": Decimal("123456789012345678.12"),
        "whole": 5,
        "many": [Decimal("1.50")],
        "nan": None,
        "inf": [None],
        "half": Decimal("0.5"),
    }


def test_days_that_are_no_number_are_refused(shell: Shell) -> None:
    done = shell.run("maintain", "--keep-days", "nan")

    assert done.returncode == 2
    assert str(LONGEST_DAYS) in done.stderr


def test_history_says_rolled_back_of_nothing_else(lake: Lake, shell: Shell) -> None:
    for seed in range(4):
        lake.load("green", "2024-01", lake.generate("green", "2024-01", 50 + seed, seed=seed))
    first, _, third, fourth = (row["snapshot_id"] for row in shell.json("history", "raw.green_trips"))
    shell.json("tag", "raw.green_trips", "first", str(first))
    shell.json("tag", "raw.green_trips", "fourth", str(fourth))
    shell.json("rollback", "raw.green_trips", str(third))
    shell.json("maintain", "--keep-days", "0")

    lines = shell.run("history", "raw.green_trips").stdout.splitlines()
    said = {words[0]: "rolled back" in line for line in lines if (words := line.split()) and words[0].isdigit()}

    assert said == {str(first): False, str(third): False, str(fourth): True}


def test_generated_months_are_marked_when_their_snapshots_have_expired(lake: Lake, shell: Shell) -> None:
    lake.land("green", "2024-01", lake.generate("green", "2024-01", 50), origin="generated://green")
    lake.load("green", "2024-01")
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 50))

    shell.json("maintain", "--keep-days", "0")

    assert [(m["snapshot_id"] is None, m["synthetic"]) for m in shell.json("months")] == [(True, True), (False, True)]
    assert shell.json("report")["synthetic"]
