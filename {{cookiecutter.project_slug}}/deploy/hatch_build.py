"""Puts lakehouse.pth into the environment that the project is installed in: see src/lakehouse/env_file.py."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "deploy/lakehouse.pth"


class Hook(BuildHookInterface[Any]):
    """Adds the file to the wheel, also to one that installs the project in place."""

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Name the file, and where it goes: beside the packages."""
        for kind in ("force_include", "force_include_editable"):
            build_data[kind][FILE] = "lakehouse.pth"
