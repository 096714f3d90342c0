"""Which versions a site has: asked seldom, politely, and for all files in turn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit import misbehaving_publisher as bad
from tests.unit.misbehaving_publisher import Publisher

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import parse_months
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import SourceError, UnreachableError
from lakehouse.sources.patience import Patience
from lakehouse.sources.versions import AGAIN, MOST, NEWEST, files_to_ask, versions

JANUARY, FEBRUARY = DatasetFile("green", Month(2024, 1)), DatasetFile("green", Month(2024, 2))
ZONES = DatasetFile("zones")
QUICK = Patience(first_wait=0.01, longest_wait=0.5)
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with bad.running() as running:
        running.publish(JANUARY.path, b"january")
        yield running


def asked_of(publisher: Publisher, *files: DatasetFile, known: str = "") -> dict[DatasetFile, str | None]:
    return dict(versions(publisher.url, files, dict.fromkeys(files, known) if known else None, QUICK))


def test_a_version_is_the_etag_and_another_one_once_published_again(publisher: Publisher) -> None:
    first = asked_of(publisher, JANUARY, FEBRUARY, ZONES)
    publisher.publish(JANUARY.path, b"january, restated")

    assert first == {JANUARY: bad.PublishedBytes(b"january").etag, FEBRUARY: None, ZONES: None}
    assert asked_of(publisher, JANUARY)[JANUARY] not in (first[JANUARY], None)
    assert publisher.asked("GET") == []


def test_a_known_version_is_asked_for_by_a_condition(publisher: Publisher) -> None:
    etag = asked_of(publisher, JANUARY)[JANUARY] or ""

    assert asked_of(publisher, JANUARY, known=etag) == {JANUARY: etag}
    assert publisher.requests[-1].headers["if-none-match"] == etag


def test_a_server_that_is_busy_is_asked_again_after_the_pause_it_wants(publisher: Publisher) -> None:
    publisher.heads += [bad.status(503, Retry_After="0"), bad.status(429)]

    assert asked_of(publisher, JANUARY)[JANUARY]
    assert len(publisher.requests) == 3


def test_a_server_that_wants_a_long_pause_is_left_alone(publisher: Publisher) -> None:
    publisher.publish(FEBRUARY.path, b"february")
    publisher.heads += [bad.serve, bad.status(429, Retry_After="3600")]
    answers = versions(publisher.url, [JANUARY, FEBRUARY], patience=QUICK)

    assert next(answers)[0] == JANUARY
    with pytest.raises(UnreachableError, match=r"asked for green 2024-02: the server answers 429 .* overloaded"):
        next(answers)
    assert len(publisher.requests) == 2


def test_a_site_that_does_not_answer_is_asked_three_times(publisher: Publisher) -> None:
    publisher.heads += [bad.hang_up()] * 5

    with pytest.raises(UnreachableError, match="no connection"):
        asked_of(publisher, JANUARY)

    assert len(publisher.requests) == 3


def test_a_site_that_can_never_answer_is_named(publisher: Publisher) -> None:
    publisher.heads += [bad.status(302, Location="/" + JANUARY.path)] * 30
    with pytest.raises(UnreachableError, match="is redirected in a circle"):
        asked_of(publisher, JANUARY)

    with pytest.raises(UnreachableError, match=r"http://tlc\.\.example/.* could not be asked"):
        dict(versions("http://tlc..example", [JANUARY], None, QUICK))


def test_a_login_page_is_no_version(publisher: Publisher) -> None:
    publisher.heads.append(bad.web_page())

    with pytest.raises(SourceError, match="a login page answers"):
        asked_of(publisher, JANUARY)


def test_without_marks_the_bytes_are_the_version(publisher: Publisher) -> None:
    publisher.heads.append(bad.status(200))
    publisher.always[JANUARY.path] = bad.status(200, b"january")

    version = asked_of(publisher, JANUARY)[JANUARY] or ""

    assert version.startswith("sha256:")


def test_a_server_without_head_is_asked_for_the_marks_alone(publisher: Publisher) -> None:
    publisher.heads.append(bad.status(405))

    assert asked_of(publisher, JANUARY) == {JANUARY: bad.PublishedBytes(b"january").etag}


def test_all_files_are_asked_for_within_a_week_and_the_newest_each_time() -> None:
    files = [DatasetFile("yellow", month) for month in parse_months(["2009-01..2025-12"])]
    asked: dict[DatasetFile, datetime] = {}
    counts = []
    for look in range(28 * 4):  # four weeks, a look each six hours
        now = START + timedelta(hours=6 * look)
        chosen = files_to_ask(files, asked, now)
        counts.append(len(chosen))
        assert set(files[-NEWEST:]) <= set(chosen)
        asked |= dict.fromkeys(chosen, now)
        if look >= 28:
            assert now - min(asked[file] for file in files) <= timedelta(weeks=1)

    assert len(asked) == len(files)
    assert max(counts) <= NEWEST + MOST
    # No older file is asked for more than five times in four weeks.
    assert sum(counts) <= NEWEST * len(counts) + 5 * len(files)
    assert timedelta(weeks=1) - AGAIN >= timedelta(hours=24)


def test_a_month_cannot_exist_before_its_lag_has_passed() -> None:
    green = DATASETS["green"]

    assert not green.can_exist(Month(2024, 3), datetime(2024, 5, 20, tzinfo=UTC).date())
    assert green.can_exist(Month(2024, 3), datetime(2024, 5, 21, tzinfo=UTC).date())
    assert not green.can_exist(Month(2013, 7), datetime(2024, 5, 21, tzinfo=UTC).date())
