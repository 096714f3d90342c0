"""Who may what: least rights in the object store, TLS and passwords in front of Trino, no secret in any log."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import SecretStr
from tests.integration.lake import Lake
from tests.integration.stack import SECRETS, SECURE_SECRETS, Stack, docker_client, image, started
from tests.unit.dagster_project import Project

from lakehouse.datasets.months import Month
from lakehouse.engines.trino import TrinoEngine
from lakehouse.errors import LakehouseError, QueryError, ServiceError, SettingsError
from lakehouse.settings import Settings
from lakehouse.synthetic.generate import write_month
from lakehouse.transform import build

LANDED = "raw_data/green_trips/green_tripdata_2023-01.parquet"
DATA = "iceberg/raw/green_trips/data/file_month=2023-01-01/x.parquet"
# Trino's own words.
NO_PLAIN = "Authentication over HTTP is not enabled"
METADATA = "iceberg/raw/green_trips/metadata/x.json"


def may(lake: Lake, user: str, call: str, **arguments: object) -> bool:
    """Whether a user of the object store may do it."""
    prefix = {"loader": "S3", "catalog": "CATALOG_S3", "trino": "TRINO_S3"}[user]
    client = boto3.client(
        "s3",
        endpoint_url=lake.settings.s3_url,
        region_name="us-east-1",
        aws_access_key_id=lake.stack.environment[f"{prefix}_ACCESS_KEY"],
        aws_secret_access_key=lake.stack.environment[f"{prefix}_SECRET_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        getattr(client, call)(Bucket="warehouse", **arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDenied":
            return False
        raise
    finally:
        client.close()
    return True


def logs(stack: Stack) -> list[str]:
    """All that its services said, and what set up the users of the object store."""
    assert "loader is set up" in stack.setup_log
    return [stack.setup_log, *(stack.logs(service) for service in stack.containers)]


def secrets_in(stack: Stack, texts: list[str]) -> list[str]:
    """Which secrets of the stack are to be read there."""
    return [name for name, secret in stack.secrets.items() if any(secret in text for text in texts)]


@pytest.fixture
def ours(lake: Lake) -> Lake:
    if not lake.stack.containers:
        pytest.skip("the stack is only borrowed: its users are not ours to try")
    for key in (LANDED, DATA, METADATA):
        lake.s3.put_object(Bucket="warehouse", Key=key, Body=b"x")
    return lake


@pytest.mark.parametrize(
    ("user", "key", "rights"),
    [
        ("loader", LANDED, "read write delete"),
        ("loader", DATA, "read write delete"),
        ("loader", METADATA, "read write delete"),
        ("loader", "elsewhere/x", ""),
        ("catalog", LANDED, ""),
        ("catalog", DATA, "delete"),  # a table dropped with its files
        ("catalog", METADATA, "read write delete"),
        ("trino", LANDED, ""),
        ("trino", DATA, "read write delete"),
        ("trino", METADATA, "read write delete"),
    ],
)
def test_each_user_of_the_object_store_may_do_its_work_and_no_more(
    ours: Lake, user: str, key: str, rights: str
) -> None:
    allowed = {
        "read": may(ours, user, "get_object", Key=key),
        "write": may(ours, user, "put_object", Key=key, Body=b"y"),
        "delete": may(ours, user, "delete_object", Key=key),
    }

    assert " ".join(right for right, given in allowed.items() if given) == rights


def test_nobody_lists_what_is_not_theirs(ours: Lake) -> None:
    assert may(ours, "loader", "list_objects_v2", Prefix="raw_data/")
    assert may(ours, "trino", "list_objects_v2", Prefix="iceberg/raw/")
    assert not may(ours, "trino", "list_objects_v2", Prefix="raw_data/")
    assert not may(ours, "catalog", "list_objects_v2", Prefix="iceberg/")
    assert not any(may(ours, user, "delete_bucket") for user in ("loader", "catalog", "trino"))


def test_no_secret_is_in_a_log_or_an_error(ours: Lake) -> None:
    ours.load("green", "2023-01", 300)
    said = [repr(ours.settings), repr(ours.engine), str(ours.catalog)]
    for settings in (ours.stack.settings(ours.folder, S3_SECRET_KEY="not-the-secret"), ours.settings):
        try:
            TrinoEngine(settings).query("select * from raw.nope")
        except LakehouseError as error:
            said.append(str(error))
    said += logs(ours.stack)

    assert set(ours.stack.secrets) == set(SECRETS)
    assert secrets_in(ours.stack, said) == []


def test_no_secret_is_in_an_image(running_stack: Stack) -> None:
    for service in running_stack.containers:
        container = running_stack.container(service)
        made_of = [json.dumps(container.image.attrs), json.dumps(container.image.history())]

        assert secrets_in(running_stack, [json.dumps(container.attrs)]) != []  # where they belong, and are found
        assert secrets_in(running_stack, made_of) == [], service


@pytest.mark.slow
def test_no_secret_is_in_what_dagster_keeps_of_a_failed_run(ours: Lake, tmp_path: Path) -> None:
    write_month(tmp_path / "green_tripdata_2023-01.parquet", "green", Month(2023, 1), 100)
    wrong = secrets.token_hex(20)
    variables = ours.stack.environment | {"TLC_SOURCE": str(tmp_path), "S3_SECRET_KEY": wrong}
    project = Project(tmp_path / "dagster", variables)
    asset = ["--select", "landing/green_trips", "--partition", "2023-01-01"]

    printed = project.python("-m", "dagster", "asset", "materialize", "-m", "lakehouse.definitions", *asset, code=1)

    home = project.folder / "dagster"
    kept = [file.read_bytes().decode(errors="replace") for file in home.rglob("*") if file.is_file()]
    assert any("STEP_FAILURE" in text and "refuses the user" in text for text in kept)
    assert secrets_in(ours.stack, [printed, *kept]) == []
    assert not any(wrong in text for text in [printed, *kept])


def test_ports_are_on_loopback_only(running_stack: Stack) -> None:
    for service in running_stack.containers:
        published = running_stack.container(service).attrs["NetworkSettings"]["Ports"]
        assert {b["HostIp"] for bindings in published.values() for b in bindings or ()} <= {"127.0.0.1"}


@pytest.mark.parametrize("word", ["it's", "'; drop table raw.green_trips; --", 'a"b', "100%", "ü\n?", "\\"])
def test_parameters_are_bound_and_never_read_as_sql(lake: Lake, word: str) -> None:
    assert lake.sql("select ?, ? = ?", word, word, word) == [(word, True)]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(secure=tmp_path_factory.mktemp("secure") / "local") as stack:
        yield stack


def changed(stack: Stack, folder: Path, **changes: object) -> Settings:
    return stack.settings(folder).model_copy(update=changes)


@pytest.mark.slow
def test_the_right_password_over_tls_does_everything(secure: Stack, tmp_path: Path) -> None:
    lake = Lake(secure, tmp_path)
    lake.empty()
    lake.load("zones", None)
    result = lake.load("green", "2023-01", 300)
    built = build(lake.settings)

    assert "gold.fct_monthly_quality" in built.models
    assert lake.value("select sum(trips) from gold.fct_monthly_quality") == 300
    assert secure.environment["TRINO_URL"].startswith("https://")
    assert lake.value("select count(*) from raw.green_trips") == 300
    assert lake.value("select current_user") == "analyst"
    assert lake.engine.timeline("raw.green_trips").current == result.snapshot_id
    lake.close()


@pytest.mark.slow
@pytest.mark.parametrize("password", [SecretStr("wrong"), None])
def test_a_wrong_password_or_none_is_refused(secure: Stack, tmp_path: Path, password: SecretStr | None) -> None:
    settings = changed(secure, tmp_path, trino_password=password)
    engine = TrinoEngine(settings)

    with pytest.raises(ServiceError, match="refuses the request of 'analyst'") as refused:
        engine.query("select 1")
    with pytest.raises(ServiceError, match="refuses the request of 'analyst'"):
        build(settings)

    assert secure.environment["TRINO_PASSWORD"] not in str(refused.value)
    engine.close()


@pytest.mark.slow
def test_another_authoritys_certificate_is_not_trusted(secure: Stack, tmp_path: Path) -> None:
    engine = TrinoEngine(changed(secure, tmp_path, trino_ca_file=None))

    with pytest.raises(ServiceError, match=r"(?i)certificate"):
        engine.query("select 1")
    engine.close()


@pytest.mark.slow
def test_no_plain_way_leads_in_beside_it(secure: Stack, tmp_path: Path) -> None:
    container = secure.container("trino")
    published = {port for port, bindings in container.attrs["NetworkSettings"]["Ports"].items() if bindings}
    plain = secure.environment["TRINO_URL"].replace("https", "http")
    engine = TrinoEngine(changed(secure, tmp_path, trino_url=plain, trino_password=None))

    inside = container.exec_run(client("http://localhost:8080"))
    beside = docker_client().containers.create(
        image("TRINO_IMAGE"),
        client("http://trino:8080"),
        entrypoint=[],
        network=secure.network,
        labels=container.labels,
    )
    try:
        beside.start()
        beside.wait(timeout=60)
        said = beside.logs().decode()
    finally:
        beside.remove(force=True)

    assert published == {"8443/tcp"}
    for text in (inside.output.decode(), said):
        assert NO_PLAIN in text
    with pytest.raises((ServiceError, QueryError)):
        engine.query("select 1")
    engine.close()
    with pytest.raises(SettingsError, match="only sent over https"):
        TrinoEngine(changed(secure, tmp_path, trino_url="http://127.0.0.1:1"))


def client(server: str) -> list[str]:
    """Trino's own client, which is in its image."""
    return ["trino", "--server", server, "--user", "analyst", "--execute", "select 1"]


@pytest.mark.slow
def test_no_password_is_in_a_log(secure: Stack) -> None:
    assert set(secure.secrets) == {*SECRETS, *SECURE_SECRETS}
    assert secrets_in(secure, logs(secure)) == []
