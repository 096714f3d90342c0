"""How the project's errors look in Dagster: one message, and another attempt only where it can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from lakehouse.errors import LakehouseError, NotPublishedError, ServiceError, SourceError

ATTEMPTS = 4
FIRST_WAIT_SECONDS = 5


@dataclass(frozen=True)
class Attempt:
    """What `failures` asks of a context, for an IO manager, whose contexts know it by other names."""

    log: dg.DagsterLogManager
    retry_number: int


@contextmanager
def failures(context: dg.AssetExecutionContext | dg.OpExecutionContext | Attempt) -> Iterator[None]:
    """Within it, an error of the project ends the step with its message.

    After a ServiceError or a SourceError the step is repeated, with waits of 5, 10 and 20 seconds: a service did not
    answer, or the source did not give the file, and may the next time. A month that is not published, and every other
    error, ends the step at once: the same file would be refused again.
    """
    try:
        yield
    except (ServiceError, SourceError) as error:
        if not isinstance(error, NotPublishedError):
            wait = FIRST_WAIT_SECONDS * 2**context.retry_number
            context.log.warning(f"{error} (attempt {context.retry_number + 1} of {ATTEMPTS})")
            raise dg.RetryRequested(max_retries=ATTEMPTS - 1, seconds_to_wait=wait) from error
        raise dg.Failure(str(error), allow_retries=False) from error
    except LakehouseError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
