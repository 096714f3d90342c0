"""What of the log a command shows: the project's own warnings. A library's are for Dagster's logs and for tests.

PyIceberg logs each commit that it retries, botocore each credential that it finds. Python prints what nobody handles
on stderr, where it looks as if the command had failed. What matters of it reaches the user as an error.
"""

from __future__ import annotations

import io
import logging
import sys


class _ToStderr(logging.Handler):
    """Prints a record as one line; a progress bar on the terminal stays whole."""

    def emit(self, record: logging.LogRecord) -> None:
        from lakehouse.cli.terminal import err  # noqa: PLC0415 - slow to import, and seldom needed

        err.print(f"{record.levelname.lower()}: {record.getMessage()}", markup=False, soft_wrap=True)


def show_own_only() -> None:
    """Print this project's warnings on stderr; keep the log lines and Python warnings of libraries off it."""
    ours = logging.getLogger("lakehouse")
    if any(isinstance(handler, _ToStderr) for handler in ours.handlers):
        return
    ours.addHandler(_ToStderr(logging.WARNING))
    # A handler at the root, so that Python doesn't print what has none.
    logging.getLogger().addHandler(logging.NullHandler())
    logging.captureWarnings(True)


def print_anything() -> None:
    """Let stdout take every character: what its encoding lacks is written as its code, and is no error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
