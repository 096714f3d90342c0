"""Settings: paths count from the project's root, and an invalid value is reported with its variable's name."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from tests.conftest import OURS

from lakehouse.datasets.months import Month
from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, load_settings, project_dir


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    return load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("LAKEHOUSE_FIRST_MONTH", "junk", "'junk' is not a month"),
        ("LAKEHOUSE_FIRST_MONTH", "0000-01", "'0000-01' is not a month"),
        ("LAKEHOUSE_FIRST_MONTH", "9999-12", "'9999-12' is not a month"),
        ("LAKEHOUSE_AUTOMATION", "maybe", "write it as on or off .*'maybe'"),
        (
            "LAKEHOUSE_HOME",
            "~nobody-is-called-this/lake",
            "'~nobody-is-called-this' can't be resolved: no such user on",
        ),
        ("TLC_SOURCE", "~nobody-is-called-this/taxi", "no such user on this machine"),
        ("TLC_SOURCE", "https://", "write it as https://host"),
        ("TLC_SOURCE", "http://[::1", "Invalid IPv6 URL"),
        ("TLC_SOURCE", "https://tlc.example:port", "Port could not be cast"),
        ("S3_URL", "127.0.0.1:9000", r"http://host:port .*'127.0.0.1:9000'"),
        ("REST_URL", "http://", r"http://host:port .*'http://'"),
        ("TRINO_URL", "http://127.0.0.1:80a", "Port could not be cast .*'http://127.0.0.1:80a'"),
        ("TRINO_URL", "trino://127.0.0.1:8080", "http://host:port"),
        ("LAKEHOUSE_HOME", "s3://bucket/lake", "this is an address; write the path of a folder"),
        ("LAKEHOUSE_HOME", "file:///data/lake", "this is an address"),
        ("TRINO_CA_FILE", "https://host/ca.pem", "this is an address"),
        ("TLC_SOURCE", "gs://bucket/taxi", "write it as https://host, as s3://bucket/folder, or as the path of a"),
        ("TLC_SOURCE", "s3://My_Bucket/taxi", "must be 3 to 63 lowercase letters.*write it as s3://bucket/folder"),
        ("TLC_SOURCE", "s3:///taxi", "must be 3 to 63 lowercase letters"),
        ("SOURCE_S3_URL", "s3.example.com", "http://host:port"),
        ("S3_URL", "http://my_minio:9000", "the name 'my_minio' can't be used for an object store"),
        ("SOURCE_S3_URL", f"http://{'a' * 64}.example", "write a name of letters, digits and '-'"),
        ("S3_REGION", "us east", "this is no name of a region.*'us east'"),
        ("SOURCE_S3_REGION", "1", "this is no name of a region"),
        ("S3_BUCKET", "My_Bücket", "must be 3 to 63 lowercase letters.*'My_Bücket'"),
        ("REST_PORT", "99999", "less than or equal to 65535.*'99999'"),
        ("TRINO_PORT", "0", "greater than or equal to 1"),
        ("LAKEHOUSE_KEEP_DAYS", "1e12", "less than or equal to 36500"),
        ("LAKEHOUSE_UNREFERENCED_DAYS", "nan", "finite number"),
        ("DUCKDB_MEMORY_LIMIT", "lots", "write it as 2GB or 500MB.*'lots'"),
        ("S3_BUCKET", "lake-", "start and end with a letter or digit"),
        ("LAKEHOUSE_HOME", "/data/lake#1", "'#'"),
        ("LAKEHOUSE_HOME", "/data/really?/lake", r"'\?'"),
        ("LAKEHOUSE_HOME", "/data/my%20lake", "'%20'"),
    ],
)
def test_a_value_that_cannot_be_meant_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    with pytest.raises(SettingsError, match=rf"can't be used: {variable}: .*{says}"):
        settings(monkeypatch, **{variable: value})


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="there, a loop is an error only when it is opened")
def test_a_home_that_is_a_loop_of_links_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    with pytest.raises(
        SettingsError, match=r"LAKEHOUSE_HOME: .*loop.lake can't be followed, because its links form a loop"
    ):
        settings(monkeypatch, LAKEHOUSE_HOME=str(tmp_path / "loop" / "lake"))


def test_a_home_of_services_may_have_any_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "lake#1 100%20?"

    assert settings(monkeypatch, LAKEHOUSE_TARGET="trino", LAKEHOUSE_HOME=str(home)).home == home


def test_the_project_itself_may_lie_where_no_lakehouse_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path / "c#"))
    monkeypatch.delenv("LAKEHOUSE_HOME")

    with pytest.raises(SettingsError, match=r"LAKEHOUSE_HOME: .*c#.data contains '#'"):
        settings(monkeypatch)


def test_relative_paths_count_from_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "taxi").mkdir()
    monkeypatch.chdir(tmp_path)

    found = settings(monkeypatch, LAKEHOUSE_HOME="lake", TLC_SOURCE="taxi", TRINO_CA_FILE="ours.pem")

    root = project_dir()
    assert (found.home, found.tlc_source, found.trino_ca_file) == (root / "lake", str(root / "taxi"), root / "ours.pem")


@pytest.mark.parametrize("source", ["https://tlc.example/data", "http://127.0.0.1:8000", "file:///data/taxi"])
def test_an_address_of_the_publisher_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    assert settings(monkeypatch, TLC_SOURCE=source).tlc_source == source


@pytest.mark.skipif(os.name == "nt", reason="HOME is no variable of this system")
def test_the_tilde_is_the_home_of_whoever_runs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = settings(monkeypatch, HOME=str(tmp_path), LAKEHOUSE_HOME="~/my lake", TLC_SOURCE="~/taxi")

    assert (found.home, found.tlc_source) == (tmp_path / "my lake", str(tmp_path / "taxi"))


def test_addresses_of_services_stay_and_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"TRINO_URL": "https://trino.example", "S3_URL": "http://[::1]:9000/", "S3_BUCKET": "my.lake-1"}

    found = settings(monkeypatch, REST_PORT="8282", **given)

    assert (found.trino_url, found.s3_url, found.s3_bucket) == tuple(given.values())
    assert found.rest_url == "http://127.0.0.1:8282"


def test_the_first_month_is_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, LAKEHOUSE_FIRST_MONTH="2023-05").first_month == Month(2023, 5)


def test_an_env_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path))
    (tmp_path / ".env").write_bytes(b"LAKEHOUSE_TARGET=embedded # \xff\n")

    with pytest.raises(SettingsError, match=r"\.env can't be read: it is not text in UTF-8"):
        settings(monkeypatch)


def test_the_example_names_every_setting_and_variable_of_services() -> None:
    example = (project_dir() / ".env.example").read_text("utf-8")
    services = "".join(file.read_text("utf-8") for file in (project_dir() / "deploy").glob("*.yaml"))
    named = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))

    ours = {field.alias for field in Settings.model_fields.values()}
    theirs = set(re.findall(r"(?<!\$)\$\{([A-Z][A-Z0-9_]*)", services))
    images = set(re.findall(r"\b([A-Z0-9_]+_IMAGE)\b", (project_dir() / "images.env").read_text("utf-8")))

    assert ours <= named
    assert len(theirs) > 10
    assert theirs - images - {"PIP_INDEX_URL", "PIP_CERT"} <= named  # pip's own


def test_no_setting_of_this_machine_reaches_a_test() -> None:
    assert [f.alias for f in Settings.model_fields.values() if not str(f.alias).startswith(OURS)] == []
