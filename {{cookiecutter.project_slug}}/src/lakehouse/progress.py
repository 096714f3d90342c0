"""How far a download or a load is, for the part that shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with what is done and what there is: bytes of a download, rows of a load."""
