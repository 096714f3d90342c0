"""Backup and restore on `embedded`: one moment's state of all tables, every snapshot of it, and the landed files."""

from __future__ import annotations

import errno
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from tests.lake import Lake

from lakehouse.errors import BackupError, BoundaryError
from lakehouse.history import backup as backing_up
from lakehouse.history.backup import INDEX, Backup, _Copying, backup, restore
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.catalog import table_names
from lakehouse.iceberg.publication import manifest_file, published_snapshots, write_manifest
from lakehouse.iceberg.refs import rollback, tag

GREEN, YELLOW = "raw.green_trips", "raw.yellow_trips"
NOW = timedelta(0)


def load(lake: Lake, dataset: str, month: str, rows: int, seed: int = 0) -> None:
    lake.load(dataset, month, lake.generate(dataset, month, rows, seed=seed))


@pytest.fixture
def full(lake: Lake) -> Lake:
    """Two tables; a month restated, a tag, a rollback, and something published."""
    load(lake, "green", "2024-01", 60)
    load(lake, "green", "2024-01", 61, seed=1)
    load(lake, "green", "2024-02", 40)
    load(lake, "yellow", "2024-01", 50)
    first = lake.history(GREEN)[0].snapshot_id
    tag(lake.catalog, GREEN, "kept", first)
    rollback(lake.catalog, YELLOW, lake.history(YELLOW)[-1].snapshot_id)
    write_manifest(lake.settings, json.dumps({"name": "p", "at": "", "snapshots": {GREEN: first}}))
    return lake


def contents(lake: Lake) -> dict[str, Any]:
    """Every table at every snapshot, as the engine reads it, with names, landed files and what is published."""
    found: dict[str, Any] = {"published": published_snapshots(lake.settings)}
    for name in table_names(lake.catalog):
        table = lake.table(name)
        found[name] = (table.metadata.table_uuid, table.metadata.current_snapshot_id, dict(table.metadata.refs))
        for snapshot in table.snapshots():
            version = f"{name}@{snapshot.snapshot_id}"
            rows = lake.engine.query(f"select * from {name} order by file_month, file_row", as_of=version)
            found[version] = rows.to_pylist()
    for landed in lake.landing.listing():
        found[landed.file.key] = [(one.sha256, one.origin) for one in lake.landing.versions(landed.file)]
        with lake.landing.local(landed) as path:
            found[f"{landed.file.key} bytes"] = path.read_bytes()
    return found


def lose(lake: Lake) -> None:
    """The lakehouse is gone: its folder has another name now."""
    lake.engine.close()
    lake.settings.home.rename(lake.settings.home.with_name("lost"))
    lake.__dict__.pop("engine", None)


def test_a_restored_lakehouse_answers_at_every_snapshot_as_before(full: Lake, tmp_path: Path) -> None:
    before = contents(full)

    made = backup(full.settings, tmp_path / "backup")
    lose(full)
    restored = restore(full.settings, tmp_path / "backup")

    assert contents(full) == before
    assert sum("@" in name for name in before) == made.snapshots == restored.snapshots == 4
    assert (made.tables, made.landed_files) == (len(table_names(full.catalog)), 3)
    load(full, "green", "2024-03", 10)  # it goes on, as the same lakehouse
    assert full.history(GREEN)[-1].total_rows == 111


def test_another_backup_copies_only_what_is_new_and_drops_what_has_gone(full: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    first = backup(full.settings, folder)
    again = backup(full.settings, folder)
    load(full, "green", "2024-03", 10)
    maintain(full.settings, [GREEN], keep=NOW, unreferenced=NOW)
    before = contents(full)

    third = backup(full.settings, folder)

    assert first.copied_files == first.files
    # Without a load, only the records of landed files are read again.
    assert again.copied_files <= 3 + sum(path.suffix == ".json" for path in (folder / "landed").rglob("*"))
    assert third.files < first.files + 12
    assert not list((folder / "files").rglob(".*"))
    lose(full)
    restore(full.settings, folder)
    assert contents(full) == before


def test_tables_are_of_one_moment_while_others_load(
    full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = backing_up._reading
    loaded: list[str] = []

    def with_a_load(*arguments: Any) -> Any:
        found = reading(*arguments)
        if not loaded:  # after the first reading
            loaded.append("green")
            load(full, "green", "2024-03", 10)
            load(full, "yellow", "2024-03", 11)
        return found

    monkeypatch.setattr(backing_up, "_reading", with_a_load)
    backup(full.settings, tmp_path / "backup")
    before = contents(full)
    lose(full)
    restore(full.settings, tmp_path / "backup")

    assert contents(full) == before


def test_what_is_loaded_after_the_moment_is_not_in_the_backup(
    full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, state = contents(full), backing_up._state

    def then_a_load(*arguments: Any) -> Any:
        found = state(*arguments)
        load(full, "green", "2024-03", 10)
        return found

    monkeypatch.setattr(backing_up, "_state", then_a_load)
    backup(full.settings, tmp_path / "backup")
    lose(full)
    restore(full.settings, tmp_path / "backup")

    assert {name: value for name, value in contents(full).items() if "2024-03" not in name} == before


def test_tables_that_change_at_every_reading_are_refused(
    full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, months = backing_up._reading, iter(["2024-03", "2024-04", "2024-05"])

    def with_a_load(*arguments: Any) -> Any:
        load(full, "green", next(months), 5)
        return reading(*arguments)

    monkeypatch.setattr(backing_up, "_reading", with_a_load)
    monkeypatch.setattr(backing_up, "READINGS", 2)

    with pytest.raises(BackupError, match="2 readings"):
        backup(full.settings, tmp_path / "backup")

    assert not (tmp_path / "backup").exists()


def test_a_file_that_expires_meanwhile_begins_the_backup_again(
    full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = backing_up._state
    expired: list[object] = []

    def then_expiry(*arguments: Any) -> Any:
        found = state(*arguments)
        if not expired:
            expired.append(maintain(full.settings, [GREEN], keep=NOW, unreferenced=NOW))
        return found

    monkeypatch.setattr(backing_up, "_state", then_expiry)
    made = backup(full.settings, tmp_path / "backup")
    before = contents(full)
    lose(full)
    restore(full.settings, tmp_path / "backup")

    assert contents(full) == before
    assert made.snapshots == 3


def test_a_landed_version_that_goes_meanwhile_begins_the_backup_again(
    full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = _Copying.landed
    gone: list[Path] = []

    def removed_first(self: _Copying, store: Any, key: str) -> Any:
        if "/versions/" in key and not gone:
            gone.append(full.settings.landing_dir / key)
            gone[0].unlink()
        return landed(self, store, key)

    monkeypatch.setattr(_Copying, "landed", removed_first)
    backup(full.settings, tmp_path / "backup")

    assert len(gone) == 1


def test_a_backup_that_finds_no_room_can_be_run_again(
    full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(Path, "replace", no_room)
        with pytest.raises(BackupError, match=r"No space left on device.* See that the disk has room, then run"):
            _Copying(tmp_path / "backup", {}).finish({"files": {}, "landed": {}})
    assert list((tmp_path / "backup").iterdir()) == []

    (tmp_path / "backup" / f".{INDEX}-killed").touch()
    assert backup(full.settings, tmp_path / "backup").tables == 3


def no_room(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_restore_that_finds_no_room_says_what_it_needs(
    full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(full.settings, tmp_path / "backup")
    lose(full)

    for fault in ("lakehouse.landing.folder._copy", "lakehouse.history.backup._restore_files"):
        with monkeypatch.context() as planted:
            planted.setattr(fault, no_room)
            with pytest.raises(
                BackupError, match=f"Free space on that disk, then run `lakehouse restore {tmp_path}"
            ) as error:
                restore(full.settings, tmp_path / "backup")
        assert "maintain" not in str(error.value)


def test_a_home_that_is_there_in_part_is_not_restored_into(full: Lake, tmp_path: Path) -> None:
    backup(full.settings, tmp_path / "backup")
    shutil.rmtree(full.settings.warehouse_dir)

    with pytest.raises(BoundaryError, match=r"is not empty, and incomplete: .* Nothing was restored\. Move LAKEHOUSE"):
        restore(full.settings, tmp_path / "backup")


def test_a_file_or_a_folder_without_rights_holds_no_backup(full: Lake, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "odd" / INDEX).mkdir(parents=True)

    with pytest.raises(BackupError, match=r"file is a file\. Nothing was written\. Name a folder"):
        backup(full.settings, tmp_path / "file")
    with pytest.raises(BackupError, match="See that you may read it"):
        backup(full.settings, tmp_path / "odd")


def test_a_missing_file_is_named_and_no_backup_is_made(
    full: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows when it went, so no warning says that it went during the backup."""
    data = next((full.settings.warehouse_dir / "raw" / "green_trips").rglob("*.parquet"))
    data.unlink()

    with pytest.raises(BoundaryError) as error:
        backup(full.settings, tmp_path / "backup")

    assert not (tmp_path / "backup" / INDEX).exists()
    warnings = [record.getMessage() for record in caplog.records]
    assert ["begins again (attempt 2 of 3)" in warnings[0], "(attempt 3 of 3)" in warnings[1]] == [True, True]
    assert all(data.name in text and "It may have been removed meanwhile." in text for text in warnings)
    said = f"{error.value}"
    assert f"lacks a file at each of 3 attempts ([Errno 2] Failed to open local file '{data}'" in said
    assert "No backup was made." in said
    assert "put it back, then run the same command again. Or move LAKEHOUSE_HOME away and run `lakehouse res" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [("[]", "can't be read as the index of a backup"), ('{"format": 2}', "is of another version of this project")],
)
def test_the_index_of_another_program_stops_both_commands(full: Lake, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / INDEX).write_text(text, encoding="utf-8")

    for command in (backup, restore):
        with pytest.raises(BackupError, match=rf"{said}.* Nothing was changed\. Name another folder"):
            command(full.settings, tmp_path)


def damage(folder: Path) -> None:
    file = next((folder / "files").rglob("*.parquet"))
    file.write_bytes(b"x" + file.read_bytes()[1:])


def shorten(folder: Path) -> None:
    next((folder / "files").rglob("*.avro")).unlink()


def hide(folder: Path) -> None:
    file = next((folder / "files").rglob("*.avro"))
    file.unlink()
    file.mkdir()


def forget(folder: Path) -> None:
    (folder / INDEX).unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damage, "is damaged"),
        (shorten, r"is incomplete: .*\.avro is missing\."),
        (hide, r"^/.*\.avro can't be read: Is a directory\. Nothing was changed\. See that you may read it"),
        (forget, "no backup"),
    ],
)
def test_a_backup_that_is_not_whole_restores_nothing(full: Lake, tmp_path: Path, harm: Any, said: str) -> None:
    backup(full.settings, tmp_path / "backup")
    lose(full)
    harm(tmp_path / "backup")

    with pytest.raises(BackupError, match=said):
        restore(full.settings, tmp_path / "backup")

    assert not full.settings.home.exists()


def test_a_restore_goes_to_its_own_place_and_only_where_nothing_is(full: Lake, tmp_path: Path) -> None:
    backup(full.settings, tmp_path / "backup")
    load(full, "green", "2024-03", 10)
    before = contents(full)
    elsewhere = full.settings.model_copy(update={"home": tmp_path / "elsewhere"})

    with pytest.raises(BoundaryError, match="goes back to its own place"):
        restore(elsewhere, tmp_path / "backup")
    with pytest.raises(
        BoundaryError, match=rf"is not empty: it has the table {GREEN}\..* Move LAKEHOUSE_HOME away\. README"
    ):
        restore(full.settings, tmp_path / "backup")

    assert contents(full) == before


@pytest.mark.parametrize(
    ("place", "target", "advice"),
    [
        ("/srv/lake", "embedded", "Set LAKEHOUSE_HOME to /srv/lake, then run the same command again. A home"),
        (
            "/srv/lake",
            "trino",
            "Set LAKEHOUSE_TARGET to embedded and LAKEHOUSE_HOME to /srv/lake, then run the same command again. A home",
        ),
        ("s3://lake", "trino", "Set S3_BUCKET to lake, then run the same command again."),
        (
            "s3://lake",
            "embedded",
            "Set LAKEHOUSE_TARGET to trino and S3_BUCKET to lake, then run the same command again.",
        ),
    ],
)
def test_a_restore_elsewhere_is_told_which_settings_to_set(
    full: Lake, tmp_path: Path, place: str, target: str, advice: str
) -> None:
    backup(full.settings, tmp_path / "backup")
    index = tmp_path / "backup" / INDEX
    index.write_text(json.dumps(json.loads(index.read_text(encoding="utf-8")) | {"place": place}), encoding="utf-8")

    with pytest.raises(BoundaryError) as error:
        restore(full.settings.model_copy(update={"target": target}), tmp_path / "backup")

    what_next = str(error.value).partition("Nothing was changed. ")[2]
    assert what_next.startswith(advice)
    assert ("lakehouse adopt" in what_next) == (place == "/srv/lake")


def test_landed_files_that_the_backup_lacks_are_not_overwritten(full: Lake, tmp_path: Path) -> None:
    backup(full.settings, tmp_path / "backup")
    lose(full)
    full.land("green", "2024-02", full.generate("green", "2024-02", 7, seed=9))

    with pytest.raises(BoundaryError, match="landing zone is not empty"):
        restore(full.settings, tmp_path / "backup")

    assert table_names_of(full) == []


def table_names_of(lake: Lake) -> list[str]:
    return table_names(lake.catalog)


def test_a_restore_that_was_killed_goes_on(full: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(full)
    backup(full.settings, tmp_path / "backup")
    lose(full)
    register = SqlCatalog.register_table
    registered: list[object] = []

    def killed(*arguments: Any) -> Any:
        if registered:
            raise KeyboardInterrupt
        registered.append(arguments)
        return register(*arguments)

    with monkeypatch.context() as planted:
        planted.setattr(SqlCatalog, "register_table", killed)
        with pytest.raises(KeyboardInterrupt):
            restore(full.settings, tmp_path / "backup")
    restore(full.settings, tmp_path / "backup")

    assert contents(full) == before


def test_a_folder_of_something_else_is_left_alone(full: Lake, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")

    with pytest.raises(BackupError, match="holds something else"):
        backup(full.settings, tmp_path / "mine")

    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_an_empty_lakehouse_has_a_backup_too(lake: Lake, tmp_path: Path) -> None:
    made: Backup = backup(lake.settings, tmp_path / "backup")

    assert (made.tables, made.files) == (0, 0)
    assert not manifest_file(lake.settings).exists()
