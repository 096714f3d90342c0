"""How long the property tests look: a short look at every run, a long one with HYPOTHESIS_PROFILE=long."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def settings_of(*, examples: int, steps: int = 50, long: tuple[int, int]) -> settings:
    """Derandomised in the short look, so that a run in CI says the same twice."""
    at_length = os.environ.get("HYPOTHESIS_PROFILE") == "long"
    most, count = long if at_length else (examples, steps)
    return settings(
        max_examples=most,
        stateful_step_count=count,
        derandomize=not at_length,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
