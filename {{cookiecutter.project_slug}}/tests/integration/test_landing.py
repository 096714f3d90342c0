"""Landing the same month at once, in a bucket, which has no lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.integration.lake import Lake

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.errors import LandingError

JANUARY = Month(2023, 1)


def test_a_month_that_many_land_at_once_is_whole_or_refused(lake: Lake, tmp_path: Path) -> None:
    whole = [bytes([n]) * 300_000 for n in range(6)]
    files = [tmp_path / f"file-{n}" for n in range(6)]
    for file, content in zip(files, whole, strict=True):
        file.write_bytes(content)
    landing = lake.landing

    for _ in range(5):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda file: landing.put(DatasetFile("green", JANUARY), file, file.name), files))
        found = landing.find(DatasetFile("green", JANUARY))
        assert found is not None
        # A mixture of two is noticed by its hash, and never handed out.
        with suppress(LandingError), landing.local(found) as path:
            assert path.read_bytes() in whole

    last = landing.put(DatasetFile("green", JANUARY), files[3], "o")
    with landing.local(last) as path:
        assert path.read_bytes() == whole[3]
