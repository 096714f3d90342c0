"""Posts each failed run to a webhook, in one message. Without the setting LAKEHOUSE_WEBHOOK there is no such sensor."""

# No postponed annotations here: Dagster reads them while it decorates.

from collections.abc import Mapping

import dagster as dg
import requests
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_attempt, wait_exponential

from lakehouse.errors import ServiceError
from lakehouse.settings import load_settings, project_dir

SECONDS = 30
_TIMEOUT_SECONDS = 10
_BUSY = frozenset({429, 502, 503, 504})
_LONGEST = 600  # characters of an error; Slack and others cut or refuse long texts
_WILL_RETRY = "dagster/will_retry"


def message(context: dg.RunFailureSensorContext) -> str:
    """The failed run, the step and the error, as one text for people."""
    failures = context.get_step_failure_events()
    errors = [f"{event.step_key}: {_sentence(event)}" for event in failures] or [context.failure_event.message or ""]
    return failed(context.dagster_run, " ".join(errors))


def failed(run: dg.DagsterRun, why: str) -> str:
    """What is said of a run that failed; `why` is one sentence or more."""
    part = " of " + _parts(run.tags) if _parts(run.tags) else ""
    return (
        f"{project_dir().name}: the run {run.job_name}{part} failed. {why} "
        f"Its log is in Dagster's page, under Runs, as {run.run_id[:8]}."
    )


def send(address: str, text: str, run_id: str) -> None:
    """Post `{"text": …}`, the form that Slack, Mattermost, Teams and others take; up to three attempts.

    Raises:
        ServiceError: nobody took it. The address is a secret, so the message leaves it out.
    """
    attempts = Retrying(
        retry=retry_if_exception_type((requests.ConnectionError, requests.Timeout))
        | retry_if_result(lambda answer: answer.status_code in _BUSY),
        stop=stop_after_attempt(3),
        wait=wait_exponential(0.5),
        retry_error_callback=lambda last: last.outcome and last.outcome.result(),
    )
    try:
        answer = attempts(requests.post, address, json={"text": text}, timeout=_TIMEOUT_SECONDS)
    except requests.RequestException as error:  # its text has the address
        found = f"did not answer ({type(error).__name__})"
    else:
        if answer.ok:
            return
        found = f"answered {answer.status_code}"
    raise ServiceError(
        f"The failed run {run_id} was not reported: the webhook of LAKEHOUSE_WEBHOOK {found}. It is not reported "
        "again: look at it in Dagster's page, under Runs. See that the webhook is there and takes messages, or "
        "correct LAKEHOUSE_WEBHOOK and start Dagster again."
    )


def _parts(tags: Mapping[str, str]) -> str:
    """The months or days of a run: `2024-01-01`, or a span of them."""
    if key := tags.get("dagster/partition"):
        return key
    first, last = (tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end"))
    return first if first == last else f"{first} to {last}"


def _sentence(event: dg.DagsterEvent) -> str:
    """The error that a step ended with: the first cause, without names of classes and without frames."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        text = data.user_failure_data.description
    elif error := data.error:
        while error.cause:
            error = error.cause
        name, _, rest = error.message.partition(": ")
        text = rest if error.cls_name and name.endswith(error.cls_name) else error.message
    else:
        text = event.message or "no error was recorded."
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


if webhook := load_settings().webhook:
    address = webhook.get_secret_value()

    @dg.run_failure_sensor(
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the webhook of LAKEHOUSE_WEBHOOK of each run that failed and is not tried again.",
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        """Tell of one failed run."""
        if context.dagster_run.tags.get(_WILL_RETRY) == "true":
            return dg.SkipReason("The run is tried again.")
        send(address, message(context), context.dagster_run.run_id[:8])
        return None
