"""Runs that were to run again, and that Dagster's daemon has missed.

The daemon starts a run again when it reads the event of its failure. Dagster writes that event before it marks the run
as failed. A daemon that reads the event in between holds the run to be in progress, and never looks at it again. One
that can't reach the code server at that moment gives the run up for ever. The months of the run would not be loaded,
and no alarm would say so. So this sensor lets the daemon read the event once more. A run that was started again already
is not started twice.
"""

# No postponed annotations here: Dagster reads them while it decorates.

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, RUN_FAILURE_REASON_TAG, WILL_RETRY_TAG

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
    if wanted:
        since = dg.RunStatusChangeRecordsFilter(
            dg.DagsterEventType.RUN_FAILURE, after_timestamp=(at - LOOKS_BACK).timestamp()
        )
        changes = instance.fetch_run_status_changes(since, limit=MOST).records
        if events := [one.storage_id for one in changes if one.run_id in wanted and one.storage_id <= int(known)]:
            cursors.set_cursor_values({CURSOR: str(min(events) - 1)})
    return {run: times + (run in wanted) for run, times in counts.items()}


def _missed(instance: dg.DagsterInstance, at: datetime, asked: Mapping[str, int]) -> Iterator[str]:
    """The runs that were to run again, for long enough. One that was given up is marked again as one of them."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=at - LOOKS_BACK)
    for record in instance.get_run_records(failed, limit=MOST):
        run, ended = record.dagster_run, record.end_time or at.timestamp()
        if AUTO_RETRY_RUN_ID_TAG in run.tags or at.timestamp() - ended <= GRACE.total_seconds():
            continue
        if run.tags.get(WILL_RETRY_TAG) == "true":
            yield run.run_id
        elif run.tags.get(RUN_FAILURE_REASON_TAG) != RunFailureReason.STEP_FAILURE.value:
            events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            if any(event.message == GIVEN_UP for event in events):
                if asked.get(run.run_id, 0) < ATTEMPTS:
                    instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "true"})
                yield run.run_id


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
    for run_id, times in asked.items():
        if times == before.get(run_id) == ATTEMPTS:  # a minute after the last question
            _tell(context, run_id)
            asked[run_id] += 1  # once
    context.update_cursor(json.dumps(asked))
    if asked:
        return dg.SkipReason(f"The daemon was asked to look again at {', '.join(run[:8] for run in asked)}.")
    return dg.SkipReason("Each run that was to run again did.")
