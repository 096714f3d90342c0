"""The command line `lakehouse`. Each file of commands adds its own to the application."""

from lakehouse.cli import keep, load, look, machine, pipeline
from lakehouse.cli.app import app, main

__all__ = ["app", "keep", "load", "look", "machine", "main", "pipeline"]
