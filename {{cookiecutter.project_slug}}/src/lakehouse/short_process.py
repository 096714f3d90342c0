"""Programs that are short: what Python does at their beginning and at their end for long ones is left out."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from collections.abc import Callable

_NEW_OBJECTS = 100_000  # Python's own number is 700


def run_short(program: Callable[[], object]) -> None:
    """Run a program, look for garbage rarely meanwhile, and end the process at once with its exit code.

    Imports make a million objects that stay. To look through them again and again takes a tenth of the imports' time,
    and to take them apart at the end up to half a second. Only circles of objects wait for it; all other memory is free
    at once, as always.

    Threads are waited for and what was registered for the end is called first, as always. After an error that nobody
    caught, Python ends as it does without this.
    """
    gc.set_threshold(_NEW_OBJECTS)
    ending = _Ending()
    atexit.register(ending.now)  # the first that is registered is the last that is called
    try:
        program()
        ending.code = 0
    except SystemExit as error:
        ending.code = (error.code if isinstance(error.code, int) else 1) if error.code is not None else 0
        raise


class _Ending:
    """The end of this process, once its exit code is known."""

    def __init__(self) -> None:
        self.code: int | None = None

    def now(self) -> None:
        if self.code is None:
            return
        try:
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                if stream:
                    stream.flush()
        except (OSError, ValueError):  # nobody reads any more: Python says it in its way
            return
        os._exit(self.code)
