"""The message that a webhook gets of a failed run."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info
from tests.unit.dagster_project import Project
from tests.unit.servers import webhook

from lakehouse.defs.automation import alarms
from lakehouse.errors import RefusedError, ServiceError, SettingsError
from lakehouse.settings import settings_with

SENTENCE = "green_tripdata_2024-01.parquet has 0 rows. Nothing of this file was loaded."


@pytest.fixture
def posted() -> Iterator[tuple[str, list[dict[str, str]], list[int]]]:
    with webhook() as found:
        yield found


def failed_run(error: Exception, tags: dict[str, str]) -> str:
    """The message of a run that ended so."""

    @dg.op
    def raw__green_trips() -> None:
        raise error

    @dg.job(tags=tags)
    def bronze_months() -> None:
        raw__green_trips()

    with dg.DagsterInstance.ephemeral() as instance:
        result = bronze_months.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            "failed_runs",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        )
        return alarms.message(context.for_run_failure())


@pytest.mark.parametrize("error", [dg.Failure(SENTENCE, allow_retries=False), RefusedError(SENTENCE)], ids=type)
def test_a_message_names_run_part_and_step_and_has_the_sentence(error: Exception) -> None:
    said = failed_run(error, {"dagster/partition": "2024-01-01"})

    assert f"the run bronze_months of 2024-01-01 failed. raw__green_trips: {SENTENCE} Its log is" in said
    assert "\n" not in said


def test_a_message_names_the_span_of_a_run_over_many_months() -> None:
    span = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-03-01"}

    assert "of 2024-01-01 to 2024-03-01 failed" in failed_run(RefusedError(SENTENCE), span)


def test_an_error_of_any_length_fits_into_a_message() -> None:
    assert len(failed_run(RefusedError("long " * 5000), {})) < 1000


def test_a_webhook_that_is_busy_is_asked_again(posted: tuple[str, list[dict[str, str]], list[int]]) -> None:
    address, texts, answers = posted
    answers += [503, 429]

    alarms.send(address, SENTENCE, "0a1b2c3d")

    assert texts == [{"text": SENTENCE}] * 3


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (503, 3)])
def test_a_webhook_that_refuses_is_an_error_of_the_tick(
    posted: tuple[str, list[dict[str, str]], list[int]], status: int, asked: int
) -> None:
    address, texts, answers = posted
    answers += [status] * asked

    with pytest.raises(ServiceError) as caught:
        alarms.send(address, SENTENCE, "0a1b2c3d")

    assert str(caught.value).startswith(
        f"The failed run 0a1b2c3d was not reported: the webhook of LAKEHOUSE_WEBHOOK answered {status}. "
    )
    assert len(texts) == asked


def test_a_webhook_that_does_not_answer_is_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}/T000/secret"
    tick = None

    try:
        alarms.send(nobody, SENTENCE, "0a1b2c3d")
    except ServiceError:
        tick = serializable_error_info_from_exc_info(sys.exc_info())  # what Dagster keeps of a tick that failed

    assert tick
    assert "LAKEHOUSE_WEBHOOK did not answer (ConnectionError). " in tick.message
    assert "secret" not in f"{tick}{caplog.text}"


@pytest.mark.slow
def test_the_sensor_tells_of_runs_that_are_not_tried_again(
    tmp_path: Path, posted: tuple[str, list[dict[str, str]], list[int]]
) -> None:
    address, texts, _ = posted
    ask = """
import json, dagster as dg
from lakehouse.definitions import defs
from lakehouse.defs.automation import alarms
sensor = next((s for s in defs().sensors or () if s.name == "failed_runs"), None)
for tags in ({}, {"dagster/will_retry": "true"}) if sensor else ():
    @dg.op
    def step():
        raise dg.Failure("SENTENCE", allow_retries=False)
    @dg.job(tags=tags)
    def one():
        step()
    with dg.DagsterInstance.ephemeral() as instance:
        result = one.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            "failed_runs", result.get_run_failure_event(), instance, result.dagster_run
        )
        sensor(context.for_run_failure())
print(json.dumps(sensor and sensor.default_status.value))
""".replace("SENTENCE", SENTENCE)

    without = Project(tmp_path / "without", {}).ask(ask, warnings="ignore")
    started = Project(tmp_path / "with", {"LAKEHOUSE_WEBHOOK": address}).ask(ask, warnings="ignore")

    assert (without, started) == (None, "RUNNING")
    (told,) = texts
    assert SENTENCE in told["text"]


def test_the_address_of_a_webhook_is_a_secret() -> None:
    settings = settings_with({"LAKEHOUSE_WEBHOOK": "https://hooks.example.com/T000/token"})

    assert "token" not in repr(settings)


def test_a_wrong_address_of_a_webhook_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="LAKEHOUSE_WEBHOOK: this is no address on the web") as caught:
        settings_with({"LAKEHOUSE_WEBHOOK": "hooks.example.com/T000/secret"})

    assert "secret" not in str(caught.value)
