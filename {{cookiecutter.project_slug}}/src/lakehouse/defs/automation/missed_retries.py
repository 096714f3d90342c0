"""Runs that were to run again, and that Dagster's daemon has missed.

The daemon starts a run again when it reads the event of its failure. Dagster writes that event before it marks the run
as failed. A daemon that reads the event in between holds the run to be in progress, and never looks at it again. One
that can't reach the code server at that moment gives the run up for ever. The months of the run would not be loaded,
and no alarm would say so. So this sensor lets the daemon read the event once more. What the daemon or a person has
started again already is not started twice.
"""

# No postponed annotations here: Dagster reads them while it decorates.

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    PARENT_RUN_ID_TAG,
    RETRY_NUMBER_TAG,
    RUN_FAILURE_REASON_TAG,
    WILL_RETRY_TAG,
)

from lakehouse.defs.automation.alarms import failed, send
from lakehouse.errors import ServiceError
from lakehouse.settings import load_settings

SECONDS = 60
# The daemon reads events every five seconds.
GRACE = timedelta(seconds=30)
LOOKS_BACK = timedelta(days=7)
MOST = 1000  # failures of a week
# Of asking for one run, a minute apart. The daemon may refuse for good, as with a run of a backfill that has ended.
ATTEMPTS = 5
GIVEN_UP = "Failed to retry run"  # as the daemon says it in the run's log. Dagster's version is pinned.
LOST = "Its process was gone, and Dagster did not start it again. Start it by hand: Re-execute, on the page of the run."
# Where the daemon keeps how far it has read.
CURSOR = f"EVENT_LOG_CONSUMER_CURSOR-{dg.DagsterEventType.RUN_FAILURE.value}"


def read_again(instance: dg.DagsterInstance, at: datetime, asked: Mapping[str, int]) -> dict[str, int]:
    """Let the daemon read the failures of missed runs again.

    Args:
        instance: of Dagster.
        at: the time, in UTC.
        asked: what the last call gave.

    Returns:
        The ids of missed runs, and how often the daemon was asked for each.
    """
    cursors = instance.daemon_cursor_storage
    known = cursors.get_cursor_values({CURSOR}).get(CURSOR)
    if known is None:
        return {}
    counts = {run: asked.get(run, 0) for run in _missed(instance, at, asked)}
    wanted = {run for run, times in counts.items() if times < ATTEMPTS}
    read: dict[str, int] = {}
    if wanted:
        since = dg.RunStatusChangeRecordsFilter(
            dg.DagsterEventType.RUN_FAILURE, after_timestamp=(at - LOOKS_BACK).timestamp()
        )
        changes = instance.fetch_run_status_changes(since, limit=MOST).records
        read = {one.run_id: one.storage_id for one in changes if one.run_id in wanted and one.storage_id <= int(known)}
        if read:
            cursors.set_cursor_values({CURSOR: str(min(read.values()) - 1)})
    return {run: times + (run in read) for run, times in counts.items()}


def _missed(instance: dg.DagsterInstance, at: datetime, asked: Mapping[str, int]) -> Iterator[str]:
    """The runs that were to run again, for long enough. One that was given up is marked again as one of them."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=at - LOOKS_BACK)
    for record in instance.get_run_records(failed, limit=MOST):
        run, ended = record.dagster_run, record.end_time or at.timestamp()
        will_retry = run.tags.get(WILL_RETRY_TAG) == "true"
        if at.timestamp() - ended <= GRACE.total_seconds() or not (will_retry or _was_given_up(instance, run)):
            continue
        again = _again(instance, run)
        by_daemon = again is not None and RETRY_NUMBER_TAG in again.tags
        # made by the daemon, which then could not put it into the queue
        waits = again is not None and by_daemon and again.status == dg.DagsterRunStatus.NOT_STARTED
        if waits or (again is None and AUTO_RETRY_RUN_ID_TAG not in run.tags):
            if not will_retry and asked.get(run.run_id, 0) < ATTEMPTS:
                instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "true"})
            yield run.run_id
        elif will_retry and not by_daemon:
            # A person has started it again, or removed its retry: the daemon, which reads once more, would do it again.
            instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "false"})


def _again(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun | None:
    """The run that was made in place of this one, if it is there."""
    if made := run.tags.get(AUTO_RETRY_RUN_ID_TAG):
        return instance.get_run_by_id(made)
    return next(iter(instance.get_runs(dg.RunsFilter(tags={PARENT_RUN_ID_TAG: run.run_id}))), None)


def _was_given_up(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    if run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.STEP_FAILURE.value:
        return False
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return any(event.message == GIVEN_UP for event in events)


def _tell(context: dg.SensorEvaluationContext, run_id: str) -> None:
    """Say that a run is lost: in the sensor's log, and to the webhook, if there is one."""
    run = context.instance.get_run_by_id(run_id)
    if not run:
        return  # removed meanwhile
    text = failed(run, LOST)
    context.log.error(text)
    if webhook := load_settings().webhook:
        try:
            send(webhook.get_secret_value(), text, run_id[:8])
        except ServiceError as error:  # as a failure of the tick it would have forgotten whom it asked
            context.log.warning(str(error))


@dg.sensor(
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Lets the daemon look again at a run whose process is gone, and that it has not started again.",
)
def missed_retries(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look for such runs."""
    before = json.loads(context.cursor or "{}")
    asked = read_again(context.instance, datetime.fromtimestamp(time.time(), UTC), before)
    now = [run_id for run_id, times in asked.items() if times > before.get(run_id, 0)]
    # Stays undone a minute after the last question. One a tick: a webhook that hangs takes half of its time.
    lost = next((run_id for run_id, times in asked.items() if times == before.get(run_id) == ATTEMPTS), None)
    if lost:
        _tell(context, lost)
        asked[lost] += 1  # once
    context.update_cursor(json.dumps(asked))
    if now:
        return dg.SkipReason(f"The daemon was asked to look again at {', '.join(run_id[:8] for run_id in now)}.")
    if asked:
        return dg.SkipReason(f"These runs stay undone: {', '.join(run_id[:8] for run_id in asked)}.")
    return dg.SkipReason("Each run that was to run again did.")
