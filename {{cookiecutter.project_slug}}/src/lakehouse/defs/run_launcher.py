"""Launches runs as Dagster does, and also knows whether the process of a run is still there.

Dagster's own launcher can't say it. So a run whose process and code server were killed together would be in progress
for ever, and its pools full. `run_monitoring` in deploy/dagster/dagster.yaml asks this one.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster_shared.serdes import deserialize_value

from lakehouse.processes import is_running

# `lakehouse run` executes its run itself, and says here in which process.
PROCESS_TAG = "lakehouse/process"
_ANSWER_SECONDS = 10
_LOCAL = ("localhost", "127.0.0.1", "::1")


class LakehouseRunLauncher(DefaultRunLauncher):
    """Dagster's launcher, with an answer to `run_monitoring`."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether the launcher can say if a run's process is there."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Say whether the process of a started run is there. Where nothing says so for sure, the run is left alone."""
        server: dict[str, Any] = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
        host = server.get("host") or "localhost"
        if not server.get("socket") and host not in (*_LOCAL, socket.gethostname()):
            return _ask_server(run.run_id, server)
        return self._ask_system(run)

    def _ask_system(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """By the process that the run named when it began. The steps of a run may name others, later."""
        # A run that was started again in the page has a copy of the tags.
        if GRPC_INFO_TAG not in run.tags and (tag := run.tags.get(PROCESS_TAG)):
            pid, _, machine = tag.partition("@")
            record = self._instance.get_run_record_by_id(run.run_id)
            at = record.create_timestamp.timestamp() if record else 0.0
            if machine != socket.gethostname():
                return CheckRunHealthResult(WorkerStatus.RUNNING, f"process {pid} is on host {machine}")
            return _health(int(pid), at)
        for entry in self._instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            metadata = entry.get_dagster_event().engine_event_data.metadata
            if "pid" in metadata:
                return _health(int(str(metadata["pid"].value)), entry.timestamp)
        return CheckRunHealthResult(WorkerStatus.RUNNING, "the run has not named its process")


def process_tag() -> dict[str, str]:
    """The tag of a run that this process executes itself."""
    return {PROCESS_TAG: f"{os.getpid()}@{socket.gethostname()}"}


def _health(pid: int, at: float) -> CheckRunHealthResult:
    if is_running(pid, at):
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"process {pid} of the run has ended without a word")


def _ask_server(run_id: str, server: dict[str, Any]) -> CheckRunHealthResult:
    """Ask the code server that started the run; its processes are not of this machine.

    A server that does not answer is being started again, and then says that it does not know the run.
    """
    client = DagsterGrpcClient(port=server.get("port"), host=server["host"], use_ssl=bool(server.get("use_ssl")))
    try:
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=_ANSWER_SECONDS)
    except DagsterUserCodeUnreachableError:
        return CheckRunHealthResult(WorkerStatus.RUNNING, f"the code server on {server['host']} does not answer")
    if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"the code server on {server['host']} has no such run")
