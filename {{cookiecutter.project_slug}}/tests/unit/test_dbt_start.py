"""dbt is started early: it parses meanwhile, sees what changes after that, and ends if nobody needs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.waiting import until

from lakehouse import dbt_environment
from lakehouse.dbt_environment import build_environment, build_lock, target_path
from lakehouse.dbt_process import WHAT
from lakehouse.dbt_start import Dbt
from lakehouse.locks import Lock
from lakehouse.settings import Settings

NOTHING_PARSED = "Unable to do partial parsing"
SECONDS = 120.0


@pytest.fixture
def home(tmp_path: Path) -> Callable[[str], Settings]:
    """Make a lakehouse's folder by its name."""

    def make(name: str) -> Settings:
        settings = Settings.model_validate({"LAKEHOUSE_TARGET": "embedded", "LAKEHOUSE_HOME": tmp_path / name})
        target_path(settings).mkdir(parents=True)
        return settings

    return make


def lists(settings: Settings, dbt: Dbt) -> str:
    """Tell dbt to list its models, and give all that it says."""
    arguments = ["--no-use-colors", "list", "--resource-type", "model", "--target-path", str(target_path(settings))]
    process = dbt.tell(arguments, build_environment(settings))
    said = process.communicate(timeout=SECONDS)[0]
    assert process.returncode == 0, said
    return said


def has_parsed(settings: Settings) -> bool:
    """Whether a dbt that waits has parsed: it imports what models are written with after that."""
    return (target_path(settings) / "ahead" / "partial_parse.msgpack").exists()


def test_dbt_has_parsed_when_it_is_told_and_sees_what_changed_since(
    own_project: Path, home: Callable[[str], Settings]
) -> None:
    settings, new = home("one"), home("two")
    with Dbt(settings) as dbt:
        dbt.start()
        until(lambda: has_parsed(settings), SECONDS)
        model = own_project / "models" / "marts" / "dim_zones.sql"
        shutil.copyfile(model, model.with_name("dim_places.sql"))
        said = lists(settings, dbt)
    with Dbt(new) as dbt:
        also = lists(new, dbt)

    assert NOTHING_PARSED not in said
    assert "dim_places" in said
    assert NOTHING_PARSED not in also, "another lakehouse of the project parses all again"
    assert "dim_places" in also


def test_what_the_project_has_parsed_may_be_half(own_project: Path, home: Callable[[str], Settings]) -> None:
    first, second = home("one"), home("two")
    with Dbt(first) as dbt:
        lists(first, dbt)
    kept = own_project / "target" / "embedded.msgpack"
    kept.write_bytes(kept.read_bytes()[:100_000])

    with Dbt(second) as dbt:
        said = lists(second, dbt)

    assert "dim_zones" in said


@pytest.mark.usefixtures("own_project")
def test_two_that_wait_and_one_that_runs_do_not_disturb_each_other(home: Callable[[str], Settings]) -> None:
    settings = home("one")
    with Dbt(settings) as one, Dbt(settings) as other:
        one.start()
        other.start()
        until(lambda: has_parsed(settings), SECONDS)
        said = lists(settings, other), lists(settings, one)

    assert all("dim_zones" in text for text in said)


def test_a_dbt_that_waits_holds_no_lock_of_a_build(home: Callable[[str], Settings]) -> None:
    settings = home("one")
    with Dbt(settings) as dbt:
        dbt.start()
        until((target_path(settings) / "ahead.lock").exists, SECONDS)
        lock = Lock(build_lock(settings), WHAT)
        lock.acquire()
        lock.release()


def test_a_dbt_that_nobody_needs_ends(home: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []

    class Noted(subprocess.Popen[str]):
        def __init__(self, *words: object, **options: object) -> None:
            super().__init__(*words, **options)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    with Dbt(home("one")) as dbt:
        dbt.start()
        dbt.start()

    [process] = started
    assert process.returncode is not None

    left = Dbt(home("two"))
    left.start()
    started[1].communicate("", timeout=SECONDS)  # as if the command had been killed: nothing comes any more

    assert started[1].returncode == 0


def test_dbt_starts_early_only_if_something_may_be_new(
    own_project: Path, home: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home("one")
    notes = dbt_environment.tested_file(settings)
    starts: list[bool] = []
    monkeypatch.setattr(Dbt, "start", lambda _: starts.append(True))

    def starts_early() -> bool:
        starts.clear()
        Dbt(settings).start_if_likely()
        return bool(starts)

    def touch(file: Path, seconds: float) -> None:
        file.touch()
        os.utime(file, (time.time() + seconds,) * 2)

    assert starts_early(), "nothing was built yet"
    touch(settings.catalog_file, 0)
    touch(notes, 10)
    assert not starts_early()
    touch(settings.catalog_file, 20)
    assert starts_early()
    touch(notes, 30)
    assert not starts_early()
    touch(own_project / "models" / "marts" / "dim_zones.sql", 40)
    assert starts_early()
