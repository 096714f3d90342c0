"""The command line `lakehouse`. Each file of commands adds its own to the application."""

from lakehouse.cli import load, new, look, keep, machine, pipeline  # noqa: I001 - the order of `lakehouse --help`
from lakehouse.cli.app import app

__all__ = ["app", "keep", "load", "look", "machine", "new", "pipeline"]
