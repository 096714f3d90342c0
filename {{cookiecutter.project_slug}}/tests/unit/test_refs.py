"""Rollback and tags on `embedded`: what a plain query reads moves when it is meant to, names never do."""

from __future__ import annotations

from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from tests.lake import Lake

from lakehouse.errors import CommitError, QueryError
from lakehouse.iceberg.refs import rollback, snapshot_at, tag, untag
from lakehouse.iceberg.versions import parse_as_of

TABLE = "raw.green_trips"


@pytest.fixture
def versions(lake: Lake) -> list[int]:
    """A month, then a restatement of it: two snapshots."""
    for seed in range(2):
        lake.load("green", "2024-01", lake.generate("green", "2024-01", 100 + seed, seed=seed))
    return [row.snapshot_id for row in lake.history(TABLE)]


def rows(lake: Lake) -> int:
    return lake.table(TABLE).scan().to_arrow().num_rows


def test_a_rollback_is_undone_by_another_and_no_snapshot_is_made_or_lost(lake: Lake, versions: list[int]) -> None:
    first, second = versions

    rollback(lake.catalog, TABLE, first, expect=second)
    assert rows(lake) == 100

    rollback(lake.catalog, TABLE, second, expect=first)
    assert rows(lake) == 101
    assert [row.snapshot_id for row in lake.history(TABLE)] == versions


def test_a_rollback_of_what_someone_else_changed_is_refused(lake: Lake, versions: list[int]) -> None:
    first, second = versions

    with pytest.raises(CommitError, match=f"is at snapshot {second}, not at {first} as expected"):
        rollback(lake.catalog, TABLE, first, expect=first)

    assert rows(lake) == 101


def test_what_is_not_published_yet_says_so(lake: Lake, versions: list[int]) -> None:
    del versions
    with pytest.raises(QueryError, match=r"is not published yet\. Run `lakehouse publish`"):
        snapshot_at(lake.table(TABLE), parse_as_of("published"))


def test_a_tag_does_not_move(lake: Lake, versions: list[int]) -> None:
    first, second = versions
    tag(lake.catalog, TABLE, "audited", first)

    assert tag(lake.catalog, TABLE, "audited", first) == first
    with pytest.raises(QueryError, match=f"already has a tag 'audited', at snapshot {first}. Nothing was tagged"):
        tag(lake.catalog, TABLE, "audited", second)
    lake.table(TABLE).manage_snapshots().create_branch(second, "theirs").commit()
    with pytest.raises(QueryError, match=f"already has a branch 'theirs', at snapshot {second}"):
        tag(lake.catalog, TABLE, "theirs", first)

    assert lake.table(TABLE).metadata.refs["audited"].snapshot_id == first


def test_a_tag_whose_name_someone_takes_at_the_same_moment_is_one_message(
    lake: Lake, versions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions
    real: Any = SqlCatalog.commit_table
    others = [second]

    def commit_table(*arguments: Any) -> Any:
        if others:
            tag(lake.catalog, TABLE, "audited", others.pop())
        return real(*arguments)

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)

    with pytest.raises(CommitError, match=r"Another process changed .* meanwhile"):
        tag(lake.catalog, TABLE, "audited", first)

    assert lake.table(TABLE).metadata.refs["audited"].snapshot_id == second


@pytest.mark.parametrize("name", ["", " ", "7", "2024-01-31", "2024-13-01", "before fix", " audited", "raw.a@7", "a;b"])
def test_a_tag_that_nothing_could_ask_for_is_refused(lake: Lake, versions: list[int], name: str) -> None:
    with pytest.raises(QueryError, match="A tag can't be called"):
        tag(lake.catalog, TABLE, name, versions[0])

    assert set(lake.table(TABLE).metadata.refs) == {"main"}


@pytest.mark.parametrize("name", ["audited-2024", "2024-q1", "a/b.c_d"])
def test_a_tag_is_read_by_its_name(lake: Lake, versions: list[int], name: str) -> None:
    tag(lake.catalog, TABLE, name, versions[0])

    assert lake.rows(f"select count(*) as n from {TABLE}", as_of=name) == [{"n": 100}]


@pytest.mark.parametrize("name", ["main", "published", "publication-2020-audit", "publication-20240101T000000Z"])
def test_a_name_that_the_project_itself_gives_is_refused(lake: Lake, versions: list[int], name: str) -> None:
    with pytest.raises(QueryError, match=f"A tag of yours can't be called '{name}'"):
        tag(lake.catalog, TABLE, name, versions[0])

    assert set(lake.table(TABLE).metadata.refs) == {"main"}


def test_a_tag_can_be_taken_away_but_no_branch_or_publication(lake: Lake, versions: list[int]) -> None:
    own = "publication-20240101T000000Z"
    tag(lake.catalog, TABLE, "audited", versions[0])
    lake.table(TABLE).manage_snapshots().create_tag(versions[0], own).commit()

    assert untag(lake.catalog, TABLE, "audited") == versions[0]

    for name, said in (("audited", "has no tag"), ("main", "has no tag 'main'"), (own, "is the tag of a publication")):
        with pytest.raises(QueryError, match=said):
            untag(lake.catalog, TABLE, name)
    assert set(lake.table(TABLE).metadata.refs) == {"main", own}
