"""How often Python looks for garbage: rarely, in processes that are short."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 100_000  # Python's own number is 700


def collect_rarely() -> None:
    """Let imports alone: they make a million objects that stay, and looking through them takes a tenth of their time.

    Only circles of objects wait for it. All other memory is free at once, as always.
    """
    gc.set_threshold(_NEW_OBJECTS)
