"""What Dagster does about a run whose process is gone, and which runs wait for each other."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import grpc  # type: ignore[import-untyped]
import pytest
from dagster._core.events import EngineEventData, JobFailureData, RunFailureReason
from dagster._core.launcher import WorkerStatus
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.storage.dagster_run import RunOpConcurrency
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._daemon.auto_run_reexecution import auto_run_reexecution
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.monitoring.run_monitoring import monitor_started_run
from dagster._grpc.__generated__ import dagster_api_pb2
from dagster._grpc.__generated__.dagster_api_pb2_grpc import DagsterApiServicer, add_DagsterApiServicer_to_server
from dagster._grpc.types import CanCancelExecutionResult
from dagster_shared.serdes import serialize_value
from tests.unit.servers import webhook

from lakehouse.dagster_home import prepare
from lakehouse.datasets.registry import DATASETS
from lakehouse.defs.automation.missed_retries import CURSOR, LOST, missed_retries, read_again
from lakehouse.defs.pools import BUILD_POOL
from lakehouse.defs.run_launcher import LakehouseRunLauncher, process_tag
from lakehouse.processes import has_ended, is_running

# Outside of Dagster's own loading, which keeps quiet about it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parameter `backfill_policy`"),
    pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated"),  # of a logger, by Dagster's daemon
]
LOCAL = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": "/somewhere"})}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance as the project has it, in a home of its own."""
    prepare(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)  # noqa: PLW1510


@dg.job
def nothing() -> None:
    pass


def started(instance: dg.DagsterInstance, tags: dict[str, str], *pids: int) -> dg.DagsterRun:
    """A run that has started, and that named its process, and later others."""

    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=tags)
    for pid in pids:
        instance.report_engine_event("Started process", run, EngineEventData.in_process(pid))
    return run


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    launcher = instance.run_launcher
    assert isinstance(launcher, LakehouseRunLauncher)
    assert launcher.supports_check_run_worker_health
    return launcher.check_run_worker_health(run).status


def test_a_run_is_dead_when_its_process_is_whoever_launched_it(instance: dg.DagsterInstance, ended: int) -> None:
    here = os.getpid()
    elsewhere = {"lakehouse/process": f"{ended}@another-host"}

    assert status(instance, started(instance, LOCAL, here)) == WorkerStatus.RUNNING
    assert status(instance, started(instance, LOCAL, ended)) == WorkerStatus.NOT_FOUND
    assert status(instance, started(instance, LOCAL, here, ended)) == WorkerStatus.RUNNING  # a step's own process
    assert status(instance, started(instance, LOCAL)) == WorkerStatus.RUNNING
    assert status(instance, started(instance, {}, ended)) == WorkerStatus.NOT_FOUND
    assert status(instance, started(instance, process_tag())) == WorkerStatus.RUNNING
    assert status(instance, started(instance, {"lakehouse/process": f"{ended}@{socket.gethostname()}"})) == (
        WorkerStatus.NOT_FOUND
    )
    assert status(instance, started(instance, elsewhere)) == WorkerStatus.RUNNING
    assert status(instance, started(instance, LOCAL | elsewhere, ended)) == WorkerStatus.NOT_FOUND


def test_a_dead_run_is_marked_as_failed_and_will_run_again(instance: dg.DagsterInstance, ended: int) -> None:
    run = started(instance, LOCAL, ended)
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None

    monitor_started_run(instance, None, record, dg.get_dagster_logger())  # type: ignore[arg-type]

    (failed,) = instance.get_runs()
    assert failed.status == dg.DagsterRunStatus.FAILURE
    assert failed.tags["dagster/will_retry"] == "true"


class OtherMachine(DagsterApiServicer):
    """A code server elsewhere that knows one run."""

    run_id = ""

    def CanCancelExecution(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
        asked = json.loads(request.serialized_can_cancel_execution_request)["run_id"]
        result = serialize_value(CanCancelExecutionResult(can_cancel=asked == self.run_id))
        return dagster_api_pb2.CanCancelExecutionReply(serialized_can_cancel_execution_result=result)


def test_a_run_on_another_machine_is_what_its_code_server_says(
    instance: dg.DagsterInstance, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.defs.run_launcher._LOCAL", ())
    servicer, server = OtherMachine(), grpc.server(futures.ThreadPoolExecutor(1))
    add_DagsterApiServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    remote = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})}
    server.start()

    known, unknown = started(instance, remote, ended), started(instance, remote, ended)
    servicer.run_id = known.run_id

    assert status(instance, known) == WorkerStatus.RUNNING
    assert status(instance, unknown) == WorkerStatus.NOT_FOUND
    server.stop(None).wait()
    assert status(instance, unknown) == WorkerStatus.RUNNING  # until the server is back


def test_a_number_that_another_process_has_got_is_noticed(ended: int) -> None:
    assert is_running(os.getpid(), time.time())
    assert not is_running(os.getpid(), 0.0)
    assert not is_running(ended, time.time())
    assert has_ended(ended)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no zombies")
def test_a_zombie_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        deadline = time.monotonic() + 30
        while is_running(process.pid, time.time()) and time.monotonic() < deadline:
            time.sleep(0.05)

        assert not is_running(process.pid, time.time())
        assert not has_ended(process.pid)


def test_who_writes_a_table_or_builds_is_in_its_pool() -> None:
    from lakehouse.defs.dbt.assets import dbt_models
    from lakehouse.defs.published.assets import published_gold
    from lakehouse.defs.raw.assets import raw_assets

    assert dbt_models.op.pool == published_gold.op.pool == BUILD_POOL
    assert {asset.op.pool for asset in raw_assets} == {dataset.table for dataset in DATASETS.values()}


def test_a_pool_has_its_limit_before_its_first_run_is_queued(instance: dg.DagsterInstance) -> None:
    instance.event_log_storage.set_concurrency_slots("raw.set_by_hand", 3)
    queued = RunOpConcurrency(
        root_key_counts={}, all_pools={"raw.new", "raw.set_by_hand"}, has_unconstrained_root_nodes=True
    )
    run = started(instance, LOCAL)._replace(run_op_concurrency=queued)

    instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]

    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    assert limits == {"raw.new": 1, "raw.set_by_hand": 3}


class Daemon:
    """The part of Dagster's daemon that starts failed runs again, with a note in place of each start."""

    def __init__(self, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        self.instance, self.reader = instance, EventLogConsumerDaemon()
        self.repeated: list[str] = []
        self.reaches_code = True
        monkeypatch.setattr(auto_run_reexecution, "retry_run", self._repeat)
        self.read()  # what was there before Dagster's first start is none of its business

    def _repeat(self, run: dg.DagsterRun, _context: Any) -> None:
        if not self.reaches_code:
            raise ConnectionError("the code server does not answer")
        if "dagster/auto_retry_run_id" in run.tags:
            return  # as Dagster's own
        self.repeated.append(run.run_id)
        self.instance.add_run_tags(run.run_id, {"dagster/auto_retry_run_id": "another"})

    def read(self) -> None:
        """Read the events that are new."""
        context: Any = SimpleNamespace(instance=self.instance)
        deque(self.reader.run_iteration(context), maxlen=0)


@pytest.fixture
def reading(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return Daemon(instance, monkeypatch)


def missed(instance: dg.DagsterInstance, reading: Daemon, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterRun:
    """A run whose failure the daemon has read too early."""
    marked = instance.run_storage.handle_run_event

    def read_before_it_is_marked(*event: Any) -> None:
        reading.read()
        marked(*event)

    run = started(instance, LOCAL)
    with monkeypatch.context() as early:
        early.setattr(instance.run_storage, "handle_run_event", read_before_it_is_marked)
        instance.report_run_failed(run)
    return run


def test_a_run_whose_failure_was_read_too_early_is_repeated(
    instance: dg.DagsterInstance, reading: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon reads the event of the failure before the run is marked as failed, and takes it to be in progress."""
    run, other = missed(instance, reading, monkeypatch), started(instance, LOCAL)
    instance.report_run_failed(other)
    reading.read()
    assert reading.repeated == [other.run_id]

    now = datetime.now(UTC)
    assert read_again(instance, now, {}) == {}  # the daemon may be about to do it
    assert read_again(instance, now + timedelta(minutes=1), {}) == {run.run_id: 1}
    reading.read()

    assert reading.repeated == [other.run_id, run.run_id]
    assert read_again(instance, now + timedelta(minutes=1), {run.run_id: 1}) == {}


def test_a_run_is_repeated_once_a_code_server_answers(instance: dg.DagsterInstance, reading: Daemon) -> None:
    run = started(instance, LOCAL)
    later = datetime.now(UTC) + timedelta(minutes=1)
    reading.reaches_code = False

    instance.report_run_failed(run)
    asked: dict[str, int] = {}
    for number in range(2):
        reading.read()
        asked = read_again(instance, later, asked)
        assert asked == {run.run_id: number + 1}
    reading.reaches_code = True
    reading.read()

    assert reading.repeated == [run.run_id]
    assert read_again(instance, later, asked) == {}


def child(instance: dg.DagsterInstance, run: dg.DagsterRun, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    """A run that was made in place of another."""

    return instance.create_run_for_job(
        nothing,
        status=status,
        parent_run_id=run.run_id,
        root_run_id=run.run_id,
        tags={"dagster/parent_run_id": run.run_id, "dagster/root_run_id": run.run_id} | tags,
    )


def test_a_run_that_a_person_has_started_again_is_left(
    instance: dg.DagsterInstance, reading: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = datetime.now(UTC) + timedelta(minutes=1)
    by_hand = missed(instance, reading, monkeypatch)
    child(instance, by_hand, dg.DagsterRunStatus.SUCCESS)

    assert read_again(instance, later, {}) == {}

    another = missed(instance, reading, monkeypatch)  # for which the daemon reads once more, the first one too
    instance.daemon_cursor_storage.set_cursor_values({CURSOR: "0"})
    assert read_again(instance, later, {}) == {another.run_id: 0}  # the daemon has not read so far
    reading.read()
    assert reading.repeated == [another.run_id]


def test_a_retry_that_was_made_and_not_queued_is_asked_for(
    instance: dg.DagsterInstance, reading: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon then queues the run that is there."""
    run = missed(instance, reading, monkeypatch)
    made = child(instance, run, dg.DagsterRunStatus.NOT_STARTED, **{"dagster/retry_number": "1"})
    instance.add_run_tags(run.run_id, {"dagster/auto_retry_run_id": made.run_id, "dagster/will_retry": "false"})
    instance.report_engine_event("Failed to retry run", run)
    later = datetime.now(UTC) + timedelta(minutes=1)

    assert read_again(instance, later, {}) == {run.run_id: 1}

    again = instance.get_run_by_id(run.run_id)
    assert again is not None
    assert again.tags["dagster/will_retry"] == "true"


def test_a_run_whose_step_failed_is_not_repeated(instance: dg.DagsterInstance, reading: Daemon) -> None:
    run = started(instance, LOCAL)
    reading.reaches_code = False

    instance.report_run_failed(run, job_failure_data=JobFailureData(None, RunFailureReason.STEP_FAILURE))
    reading.read()

    assert read_again(instance, datetime.now(UTC) + timedelta(minutes=1), {}) == {}


def test_the_daemon_is_not_asked_for_ever(instance: dg.DagsterInstance, reading: Daemon) -> None:
    """A run that it gives up each time is in the page as failed, and its log does not grow any more."""
    run = started(instance, LOCAL)
    later = datetime.now(UTC) + timedelta(minutes=1)
    reading.reaches_code = False
    instance.report_run_failed(run)
    asked: dict[str, int] = {}

    for _ in range(8):
        reading.read()
        asked = read_again(instance, later, asked)

    assert asked == {run.run_id: 5}
    refusals = [event for event in instance.all_logs(run.run_id) if event.message == "Failed to retry run"]
    assert len(refusals) == 6  # the first, and the answers to five questions


def test_the_sensor_remembers_how_often_it_has_asked(
    instance: dg.DagsterInstance, reading: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(instance, LOCAL)
    reading.reaches_code = False
    instance.report_run_failed(run)
    reading.read()
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)

    first = missed_retries.evaluate_tick(dg.build_sensor_context(instance=instance))
    reading.read()
    second = missed_retries.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=first.cursor))

    assert json.loads(first.cursor or "") == {run.run_id: 1}
    assert json.loads(second.cursor or "") == {run.run_id: 2}
    assert second.skip_message == f"The daemon was asked to look again at {run.run_id[:8]}."


def test_a_run_that_stays_undone_is_told_once(
    instance: dg.DagsterInstance, reading: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(instance, LOCAL | {"dagster/partition": "2024-01-01"})
    reading.reaches_code = False
    instance.report_run_failed(run)
    later, cursor = time.time() + 60, None
    monkeypatch.setattr(time, "time", lambda: later)

    with webhook() as (address, told, _):
        monkeypatch.setenv("LAKEHOUSE_WEBHOOK", address)
        counts = []
        for _ in range(8):
            reading.read()
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            cursor = missed_retries.evaluate_tick(context).cursor
            counts.append(len(told))

    assert counts == [0, 0, 0, 0, 0, 1, 1, 1]
    assert json.loads(cursor or "") == {run.run_id: 6}
    assert f"the run nothing of 2024-01-01 failed. {LOST} Its log" in told[0]["text"]
