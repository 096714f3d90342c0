"""How long a download waits for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long to wait for what. Seconds, unless said."""

    connect: float = 5.0
    silence: float = 30.0
    """The longest wait for the next bytes."""
    slow_for: float = 60.0
    """How long a download may stay below 1 KB a second."""
    first_wait: float = 0.5
    longest_wait: float = 30.0
    """Bounds the growing waits, and what a Retry-After may ask for."""
    tries: int = 6
    """Attempts in a row that bring nothing worth while."""
    connect_tries: int = 3
    """Attempts in a row that do not even connect."""
    other_process: float = 1800.0
    """How long to wait for another process that fetches the same file."""


PATIENCE = Patience()
