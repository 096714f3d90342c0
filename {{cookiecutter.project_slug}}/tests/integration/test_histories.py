"""The same histories as on `embedded`, against the same model, on REST catalog, object store and Trino."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test
from tests.integration.lake import Lake
from tests.lake import Lake as PlainLake
from tests.property.profiles import settings_of
from tests.property.test_history_model import Histories
from tests.property.test_merge_model import Merges


class OnTheStack:
    """What a model's history needs to happen on the stack, which is emptied before each."""

    stack: ClassVar[Lake]
    folder: Path
    lake: PlainLake

    def empty_lake(self) -> PlainLake:
        self.stack.empty()
        return PlainLake(self.stack.settings, self.folder / "files")

    def teardown(self) -> None:
        self.lake.engine.close()
        super().teardown()  # type: ignore[misc]


class HistoriesOnTheStack(OnTheStack, Histories): ...


class MergesOnTheStack(OnTheStack, Merges): ...


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "long"), [(HistoriesOnTheStack, (30, 30)), (MergesOnTheStack, (100, 12))], ids=["months", "merges"]
)
def test_every_version_reads_as_the_model_says_on_the_stack(
    lake: Lake, model: type[HistoriesOnTheStack | MergesOnTheStack], long: tuple[int, int]
) -> None:
    model.stack = lake

    run_state_machine_as_test(model, settings=settings_of(examples=3, steps=8, long=long))
