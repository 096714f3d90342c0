"""The program `lakehouse`, also as `python -m lakehouse`: how it starts, and how it reports an error."""

from __future__ import annotations

import sys
from typing import NoReturn

from lakehouse.errors import DeclarationError, LakehouseError
from lakehouse.short_process import run_short

# What is slow to import is imported where it is needed.
# ruff: noqa: PLC0415


def program() -> None:
    """Run the command line, and end the process."""
    run_short(main)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 refused or failed (one message on stderr), 2 usage."""
    try:
        from lakehouse.cli import app
        from lakehouse.cli.logs import print_anything, show_own_only

        print_anything()
        show_own_only()
        app()
    except DeclarationError as error:
        _fail(f"{error} The command did not start.")
    except LakehouseError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno is None:  # no word of the system's: a client's own error
            raise
        from lakehouse.filesystem import described

        _fail(described(error, "The command stopped there."))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> NoReturn:
    # Not by lakehouse.cli.terminal, which imports more than one line needs.
    from rich.console import Console
    from rich.markup import escape

    err = Console(stderr=True, highlight=False)
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    program()
