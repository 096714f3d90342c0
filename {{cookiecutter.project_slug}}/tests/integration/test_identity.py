"""The boundaries of a lakehouse on the stack: bucket and catalog know that they belong together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from tests.integration.lake import GREEN, Lake

from lakehouse.cli.doctor import examine
from lakehouse.errors import BoundaryError
from lakehouse.history import adopt as adopting
from lakehouse.history.adopt import adopt
from lakehouse.history.maintenance import maintain
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.identity import FILE, ID, NAMESPACE, in_catalog
from lakehouse.iceberg.refs import tag
from lakehouse.landing import bucket_objects
from lakehouse.settings import Settings
from lakehouse.transform import build

KEY = f"iceberg/{FILE}"
WRITES: dict[str, Callable[[Lake], object]] = {
    "load": lambda lake: lake.reload("green", "2023-01", again=True),
    "build": lambda lake: build(lake.settings),
    "tag": lambda lake: tag(lake.catalog, GREEN, "mine"),
    "maintain": lambda lake: maintain(lake.settings),
}


@pytest.fixture
def loaded(lake: Lake) -> Iterator[Lake]:
    """A month; afterwards the stack's own identity is as it was."""
    lake.load("green", "2023-01", 100)
    yield lake
    adopt(lake.settings)


def put(lake: Lake, content: bytes) -> None:
    lake.s3.put_object(Bucket=lake.settings.s3_bucket, Key=KEY, Body=content)


def test_the_first_load_writes_one_identity_on_both_sides(loaded: Lake) -> None:
    kept = in_catalog(loaded.catalog)

    found = json.loads(loaded.s3.get_object(Bucket=loaded.settings.s3_bucket, Key=KEY)["Body"].read())

    assert kept is not None
    assert found == {"id": kept.id, "place": f"s3://{loaded.settings.s3_bucket}"}


@pytest.mark.parametrize("way", WRITES)
def test_another_lakehouse_s_bucket_is_never_written(loaded: Lake, way: str) -> None:
    put(loaded, json.dumps({"id": "another", "place": f"s3://{loaded.settings.s3_bucket}"}).encode())
    before = loaded.keys("iceberg/")

    with pytest.raises(BoundaryError, match=r"are not of one lakehouse \(catalog: .*, files: another\)"):
        WRITES[way](loaded)

    assert loaded.keys("iceberg/") == before


def test_a_catalog_of_another_bucket_is_refused_by_name(loaded: Lake) -> None:
    other = loaded.settings.model_copy(update={"s3_bucket": "another-bucket"})

    with pytest.raises(
        BoundaryError, match=r"keeps its files in s3://.*outside this lakehouse \(s3://another-bucket\)"
    ):
        open_catalog(other).load_table(GREEN)


def test_an_emptied_bucket_is_refused_and_a_whole_one_adopted(loaded: Lake) -> None:
    loaded.s3.delete_object(Bucket=loaded.settings.s3_bucket, Key=KEY)
    with pytest.raises(BoundaryError, match="files: none"):
        WRITES["load"](loaded)

    done = adopt(loaded.settings)

    assert done.tables >= 1
    assert WRITES["load"](loaded)


def test_a_damaged_identity_beside_the_files_is_written_again(loaded: Lake) -> None:
    loaded.s3.put_object(Bucket=loaded.settings.s3_bucket, Key=KEY, Body=b"{")
    with pytest.raises(BoundaryError, match="is damaged"):
        WRITES["load"](loaded)

    adopt(loaded.settings)

    assert WRITES["load"](loaded)


def test_a_bucket_that_lacks_a_file_is_not_adopted(loaded: Lake) -> None:
    gone = next(key for key in loaded.keys("iceberg/") if key.endswith(".parquet"))
    loaded.s3.delete_object(Bucket=loaded.settings.s3_bucket, Key=gone)

    with pytest.raises(BoundaryError, match=rf"{gone} is missing, which the table {GREEN} needs.*from one backup"):
        adopt(loaded.settings)

    loaded.empty()


def test_a_file_that_is_loaded_during_adoption_is_not_missing(loaded: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load between the listing of the bucket and the look at the tables."""

    def then_a_load(settings: Settings, prefix: str) -> list[str]:
        found = bucket_objects(settings, prefix)
        if prefix == "iceberg/":
            WRITES["load"](loaded)
        return found

    monkeypatch.setattr(adopting, "bucket_objects", then_a_load)

    assert adopt(loaded.settings).tables >= 1


def test_a_catalog_that_was_emptied_alone_is_not_adopted(loaded: Lake) -> None:
    loaded.catalog.drop_table(GREEN)
    for name in loaded.catalog.list_tables("raw"):
        loaded.catalog.drop_table(name)

    with pytest.raises(BoundaryError, match="The catalog names no table, but the bucket"):
        adopt(loaded.settings)

    loaded.empty()


def test_doctor_says_that_bucket_and_catalog_differ(loaded: Lake) -> None:
    (whole,) = [finding for finding in examine(loaded.settings) if finding.what == "lakehouse"]
    loaded.catalog.update_namespace_properties(NAMESPACE, updates={ID: "another"})
    (apart,) = [finding for finding in examine(loaded.settings) if finding.what == "lakehouse"]

    assert whole.state == "ok"
    assert (apart.state, "lakehouse adopt" in apart.way_out) == ("missing", True)
    put(loaded, json.dumps({"id": "another", "place": f"s3://{loaded.settings.s3_bucket}"}).encode())
