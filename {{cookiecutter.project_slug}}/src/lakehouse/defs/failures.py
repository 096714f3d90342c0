"""How the project's errors look in Dagster: one message, and another attempt only where it can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from dagster._core.errors import DagsterUserCodeProcessError
from dagster_shared.error import SerializableErrorInfo

from lakehouse.errors import (
    ChangedError,
    LakehouseError,
    LockedError,
    OvertakenError,
    ServiceError,
    UnconfirmedError,
    UnreachableError,
)
from lakehouse.filesystem import described

ATTEMPTS = 4
FIRST_WAIT_SECONDS = 5
# What may pass by itself. A file that is damaged or missing, or rows that are refused, are the same the next time.
_PASSING = (ServiceError, UnconfirmedError, UnreachableError, ChangedError, LockedError, OvertakenError)


def passes(error: LakehouseError) -> bool:
    """Whether the same step may succeed a moment later."""
    return isinstance(error, _PASSING)


@dataclass(frozen=True)
class Attempt:
    """What `failures` asks of a context, for an IO manager, whose contexts know it by other names."""

    log: dg.DagsterLogManager
    retry_number: int


class StepFailedError(DagsterUserCodeProcessError, dg.Failure):
    """A failure that the page and the logs show as its message, without Dagster's frames below it.

    An error that came from another process carries what is to be shown. Dagster shows that, and so it does here.
    """

    def __init__(self, message: str) -> None:
        shown = SerializableErrorInfo(message, stack=[], cls_name=None)
        super().__init__(  # type: ignore[no-untyped-call]
            message, allow_retries=False, user_code_process_error_infos=[shown]
        )


@contextmanager
def failures(
    context: dg.AssetExecutionContext | dg.OpExecutionContext | Attempt, *, looks_first: bool = True
) -> Iterator[None]:
    """Within it, an error of the project ends the step with its message.

    After an error that may pass the step is repeated, with waits of 5, 10 and 20 seconds: a service or the publisher
    did not answer, the answer to a commit was lost, another process held a lock, or a file or table changed meanwhile.
    Every other error ends the step at once, a month that is not published too.

    `looks_first`: whether the step, run again, finds out that its commit was made. One that does not would replace what
    others have written since, so it is not repeated after a lost answer.
    """
    try:
        yield
    except LakehouseError as error:
        again = passes(error) and (looks_first or not isinstance(error, UnconfirmedError))
        if again and context.retry_number < ATTEMPTS - 1:
            wait = FIRST_WAIT_SECONDS * 2**context.retry_number
            context.log.warning(f"{error} (attempt {context.retry_number + 1} of {ATTEMPTS})")
            raise dg.RetryRequested(max_retries=ATTEMPTS - 1, seconds_to_wait=wait) from dg.Failure(str(error))
        raise StepFailedError(str(error)) from None
    except OSError as error:
        # Without a number it is a client's own error; and what gives a frame's rows may have failed in its own way.
        if error.errno is None or not looks_first:
            raise
        raise StepFailedError(described(error, "The step stopped there.")) from None
