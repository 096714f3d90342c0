"""Marks of tests that take minutes: `make long` runs them, and so every night does."""

from __future__ import annotations

import os

import pytest

takes_minutes = pytest.mark.skipif(
    not os.environ.get("LAKEHOUSE_TEST_LONG"), reason="takes minutes: LAKEHOUSE_TEST_LONG=1 runs it, as every night"
)
