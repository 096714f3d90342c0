"""The same histories as on `embedded`, against the same model, on REST catalog, object store and Trino."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test
from tests.integration.lake import Lake
from tests.lake import Lake as PlainLake
from tests.property.profiles import settings_of
from tests.property.test_history_model import Histories
from tests.property.test_merge_model import Merges


class OnTheStack(Histories):
    """Emptied before each history."""

    stack: ClassVar[Lake]

    def empty_lake(self) -> PlainLake:
        self.stack.empty()
        return PlainLake(self.stack.settings, self.folder / "files")

    def teardown(self) -> None:
        self.lake.engine.close()
        super().teardown()


@pytest.mark.slow
def test_every_version_reads_as_it_was_on_the_stack(lake: Lake) -> None:
    OnTheStack.stack = lake

    run_state_machine_as_test(OnTheStack, settings=settings_of(examples=3, steps=8, long=(30, 30)))


class MergesOnTheStack(Merges):
    """Emptied before each history."""

    stack: ClassVar[Lake]

    def empty_lake(self) -> PlainLake:
        self.stack.empty()
        return PlainLake(self.stack.settings, self.folder / "files")

    def teardown(self) -> None:
        self.lake.engine.close()
        super().teardown()


@pytest.mark.slow
def test_merges_hold_what_the_model_says_on_the_stack(lake: Lake) -> None:
    MergesOnTheStack.stack = lake

    run_state_machine_as_test(MergesOnTheStack, settings=settings_of(examples=3, steps=8, long=(100, 12)))
