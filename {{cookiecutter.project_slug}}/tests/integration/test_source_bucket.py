"""A bucket of the object store as the source: what the sensor finds there is landed, loaded, and not loaded twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.lake import Lake
from tests.pages import declaration_of
from tests.unit.dagster_project import NEW_FILES, PROJECT, Project

from lakehouse.s3 import client

BUCKET = "inbox"
ROW = "Sold at;Region;Amount\n2024-01-0{day} 10:00;north;{amount}\n"
RUN = """
with dg.DagsterInstance.get() as instance:
    first = tick(instance)
    for asked in first.run_requests or []:
        run(instance, asked)
    after, cleared = tick(instance, first.cursor), tick(instance)
print(json.dumps([[one.run_key.rpartition(":")[0] for one in tick.run_requests or []]
                  for tick in (first, after, cleared)]))
"""


def root_of(lake: Lake) -> tuple[str, str]:
    """Name and secret of the store's root user.

    Skips the test where the stack is somebody else's.
    """
    known = lake.stack.environment
    if "MINIO_ROOT_PASSWORD" not in known:
        pytest.skip("the stack is only borrowed: its root user is not known")
    return known["MINIO_ROOT_USER"], known["MINIO_ROOT_PASSWORD"]


@pytest.mark.slow
def test_what_comes_into_a_bucket_is_loaded_once(lake: Lake, tmp_path: Path) -> None:
    """The loader may not read this bucket; the source has a user of its own."""
    user, secret = root_of(lake)
    s3 = client(lake.settings.s3_url, lake.settings.s3_region, user, secret)
    s3.create_bucket(Bucket=BUCKET)
    keys = [f"in/2024/sales_2024010{day}.csv" for day in (5, 6)]
    source = {"TLC_SOURCE": f"s3://{BUCKET}/in", "LAKEHOUSE_FIRST_MONTH": "2024-01"}
    project = Project(tmp_path, lake.stack.environment | source)
    page = (PROJECT / "docs" / "your-own-dataset.md").read_text(encoding="utf-8")
    declared = project.root / "src" / "lakehouse" / "datasets" / "sales.py"
    declared.write_text(declaration_of("SALES", page), encoding="utf-8")
    try:
        for day, key in zip((5, 6), keys, strict=True):
            s3.put_object(Bucket=BUCKET, Key=key, Body=ROW.format(day=day, amount=day).encode())

        refused = project.python("-m", "lakehouse", "load", "sales", "2024-01-05", code=1)
        project.variables |= {"SOURCE_S3_ACCESS_KEY": user, "SOURCE_S3_SECRET_KEY": secret}
        found = project.ask(NEW_FILES + RUN, warnings="default")
        landed = json.loads(project.python("-m", "lakehouse", "landed", "--json"))
        s3.put_object(Bucket=BUCKET, Key=keys[0], Body=ROW.format(day=5, amount=7).encode())
        changed = project.ask(NEW_FILES + RUN, warnings="default")
    finally:
        for key in keys:
            s3.delete_object(Bucket=BUCKET, Key=key)
        s3.delete_bucket(Bucket=BUCKET)

    assert f"refuses the user '{lake.settings.s3_access_key}' at the bucket 'inbox'" in " ".join(refused.split())
    assert found == [["sales:2024-01-05:2024-01-06"], [], []]
    assert [one["origin"] for one in landed] == [f"s3://{BUCKET}/{key}" for key in keys]
    assert changed == [["sales:2024-01-05"], [], []]
    assert lake.sql("select amount from raw.sales order by 1") == [(6,), (7,)]
