"""`lakehouse reproduce` on the stack: Trino reads the tagged raw snapshots, and the scratch schemas are gone."""

from __future__ import annotations

from tests.integration.lake import Lake

from lakehouse.history.publish import publish
from lakehouse.history.reproduce import reproduce


def test_an_old_publication_reproduces_after_a_restatement(lake: Lake) -> None:
    lake.load("zones", None)
    lake.load("green", "2023-01", 400)
    name = publish(lake.settings).name
    lake.load("green", "2023-01", 380, 1)  # restated
    lake.load("yellow", "2023-01", 300)  # had no rows then

    found = reproduce(lake.settings, name)

    assert found.equal, found
    assert found.tables
    assert all(one.rows for one in found.tables)
    assert not [space for space in lake.catalog.list_namespaces() if "scratch" in space[0]]
    assert not [key for key in lake.keys("iceberg") if "scratch" in key]
