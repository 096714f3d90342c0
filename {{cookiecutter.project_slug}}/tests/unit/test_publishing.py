"""Publishing: readers of `published` see what was tested, all tables of one publication, and nothing in between."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from tests.lake import Lake
from tests.marks import takes_minutes
from tests.unit.servers import Quiet, serving

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv
from lakehouse.datasets.model import Column, Dataset
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Monthly
from lakehouse.datasets.registry import DATASETS
from lakehouse.errors import CommitError, OvertakenError, QueryError, ServiceError, TransformError
from lakehouse.history import publish as publishing
from lakehouse.history.publish import Publication, publish
from lakehouse.iceberg.catalog import open_catalog
from lakehouse.iceberg.refs import untag
from lakehouse.loading.load import load
from lakehouse.settings import Settings, project_dir
from lakehouse.synthetic.generate import write_zones
from lakehouse.transform import BuildResult, build

COUNT = "select sum(trips) as n from {}.fct_daily_trips"


@pytest.fixture
def built(lake: Lake, tmp_path: Path) -> Lake:
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 400))
    lake.landing.put(DatasetFile("zones"), write_zones(tmp_path / "taxi_zone_lookup.csv"), "test")
    load(lake.catalog, lake.landing, DatasetFile("zones"))
    lake.give_parse()
    return lake


@pytest.mark.slow
def test_readers_of_published_see_the_last_publication_until_the_next(
    built: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QueryError):
        built.rows(COUNT.format("published"))

    first = publish(built.settings)
    before = built.rows(COUNT.format("published"))
    built.load("green", "2024-02", built.generate("green", "2024-02", 300))

    assert before == built.rows(COUNT.format("gold"))
    assert built.rows("select count(*) as n from raw.green_trips", "published") == [{"n": 400}]

    with monkeypatch.context() as planted:
        planted.setattr(publishing, "build", _refused)
        with pytest.raises(TransformError):
            publish(built.settings)
    assert built.rows(COUNT.format("published")) == before

    second = publish(built.settings)

    assert built.rows(COUNT.format("published")) == built.rows(COUNT.format("gold")) != before
    assert built.rows("select count(*) as n from raw.green_trips", "published") == [{"n": 700}]
    assert built.rows(COUNT.format("gold"), first.name) == before
    assert first.name != second.name


def _refused(*_arguments: object, **_options: object) -> None:
    raise TransformError("dbt: 1 models, seeds or tests failed.")


def loads_before(lake: Lake, step: str, months: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Another process is quicker: it loads one of these months before each `step`. Gives those that it loaded."""
    real: Any = publishing.__dict__[step]
    loaded: list[str] = []

    def load_first(*arguments: object, **options: object) -> object:
        if months:
            loaded.append(months.pop(0))
            lake.load("green", loaded[-1], lake.generate("green", loaded[-1], 300))
        return real(*arguments, **options)

    monkeypatch.setattr(publishing, step, load_first)
    return loaded


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", ["publish_tested", pytest.param("_refuse_miscounted", marks=takes_minutes), "_refuse_taken_names"]
)
def test_what_a_quicker_load_brought_is_published_too(built: Lake, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loads_before(built, step, ["2024-02"], monkeypatch)

    publish(built.settings)

    assert loaded == ["2024-02"]
    assert built.rows("select count(*) as n from raw.green_trips", "published") == [{"n": 700}]
    assert built.rows(COUNT.format("published")) == built.rows(COUNT.format("gold"))


@pytest.mark.slow
@takes_minutes
def test_loads_that_are_quicker_each_time_end_the_publication(built: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loads_before(built, "publish_tested", ["2024-02", "2024-03", "2024-04", "2024-05"], monkeypatch)

    with pytest.raises(OvertakenError, match=r"raw\.green_trips changed after the build"):
        publish(built.settings)

    assert loaded == ["2024-02", "2024-03", "2024-04"]
    assert not [ref for ref in built.engine.timeline("gold.fct_daily_trips").refs if ref.name != "main"]


def test_nothing_is_published_while_a_test_of_the_data_is_red(
    built: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project_dir() / "dbt", copy / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    (copy / "dbt" / "tests" / "always_red.sql").write_text("select * from {{ ref('dim_zones') }}\n", "utf-8")
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(copy))

    with pytest.raises(TransformError, match=r"(?m)^always_red: "):
        publish(built.settings)

    assert built.rows("select count(*) as n from gold.dim_zones") == [{"n": 265}]
    assert not [
        ref for table in built.engine.tables() for ref in built.engine.timeline(table).refs if ref.name != "main"
    ]


def test_a_publication_that_stops_half_way_leaves_the_one_before(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two raw tables, the second of which someone changes while the first is being published."""
    lake.load("green", "2024-01", lake.generate("green", "2024-01", 400))
    lake.load("yellow", "2024-01", lake.generate("yellow", "2024-01", 300))
    monkeypatch.setattr(publishing, "build", lambda _, **__: _built(lake))
    monkeypatch.setattr(publishing, "_refuse_miscounted", lambda _: None)  # this build makes no gold
    monkeypatch.setattr(publishing, "untested", lambda *_: None)
    publish(lake.settings)
    lake.load("green", "2024-02", lake.generate("green", "2024-02", 50))
    real: Any = SqlCatalog.commit_table
    others = [lake.generate("yellow", "2024-02", 60)]

    def commit_table(*arguments: Any) -> Any:
        done = real(*arguments)
        if others:
            lake.load("yellow", "2024-02", others.pop())
        return done

    with monkeypatch.context() as planted:
        planted.setattr(SqlCatalog, "commit_table", commit_table)
        planted.setattr("lakehouse.transform.BUILDS", 1)  # else it is repeated, and made whole
        with pytest.raises(OvertakenError, match="changed a table while it was being published"):
            publish(lake.settings)

    count = "select count(*) as n from raw.{}_trips"
    assert lake.rows(count.format("green"), "published") == [{"n": 400}]
    assert lake.rows(count.format("yellow"), "published") == [{"n": 300}]


class Refusing(Quiet):
    """A REST catalog that can be opened, and answers `words` to a commit."""

    words: ClassVar[tuple[int, str]]

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        """Its configuration."""
        self.answer(200, {"defaults": {}, "overrides": {}})

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        """The refusal; as the specification has it if it names a kind of error, else as a page."""
        self.rfile.read(int(self.headers["Content-Length"]))
        code, kind = self.words
        if kind:
            self.answer(code, {"error": {"message": "why", "type": kind, "code": code}})
        else:
            self.send(code, "text/html", b"<!doctype html>")


@pytest.mark.parametrize(
    ("code", "kind", "error", "says"),
    [
        (409, "CommitFailedException", CommitFailedException, "CommitFailedException: why"),
        (403, "ForbiddenException", CommitError, r"Nothing was published\. The catalog does not let this user commit"),
        (401, "", CommitError, "does not let this user commit"),
        (429, "SlowDown", CommitError, "again in a minute"),
        (404, "NoSuchTableException", CommitError, "A table was dropped meanwhile"),
        (404, "", CommitError, "unable to commit several tables"),
        (400, "BadRequestException", CommitError, r"BadRequestException: why\)\. Nothing was published\. Look at"),
    ],
)
def test_a_refused_publication_says_why(
    tmp_path: Path, code: int, kind: str, error: type[Exception], says: str
) -> None:
    Refusing.words = code, kind
    with serving(Refusing) as url:
        catalog = open_catalog(Settings(LAKEHOUSE_TARGET="trino", LAKEHOUSE_HOME=tmp_path, REST_URL=url))
        assert isinstance(catalog, RestCatalog)

        with pytest.raises(error, match=says):
            publishing._commit_all(catalog, [], Publication("publication-1", "2024-01-01", {}))


def _built(lake: Lake) -> BuildResult:
    tables = [lake.table(name) for name in lake.engine.tables()]
    return BuildResult((), (), (), 0.0, {".".join(t.name()): t.metadata.current_snapshot_id for t in tables}, ())


@pytest.mark.parametrize("kind", [ServiceError, QueryError])
def test_views_that_fail_after_the_commit_hide_no_publication(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """The kind of error stays: Dagster repeats a step only for what may pass."""

    def fails(*_arguments: object) -> None:
        raise kind("Trino does not take it.")

    monkeypatch.setattr(publishing, "make_views", fails)
    with pytest.raises(kind, match=r"p1 was published.*: Trino does not take it\. Then run `lakehouse publish`"):
        publishing._make_views(lake.settings, Publication("p1", "", {}))


@pytest.mark.slow
def test_empty_marts_are_never_published(built: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(built.settings)
    before = built.rows(COUNT.format("published"))
    built.load("green", "2024-02", built.generate("green", "2024-02", 300))
    built.catalog.load_table("gold.fct_monthly_quality").delete()

    with pytest.raises(TransformError, match=r"counts 0 trips of green 2024-01, but the raw table has 400 rows"):
        publishing._refuse_miscounted(built.engine)

    assert built.rows(COUNT.format("published")) == before


@pytest.mark.slow
def test_a_new_beginning_beside_an_old_publication_is_built_and_published(built: Lake) -> None:
    """As the message of an incomplete home says, but `published.json` was left behind."""
    publish(built.settings)
    shutil.rmtree(built.settings.warehouse_dir)
    built.settings.catalog_file.unlink()
    built.load("green", "2024-01")
    load(built.catalog, built.landing, DatasetFile("zones"))

    publish(built.settings)

    assert built.rows(COUNT.format("published")) == built.rows(COUNT.format("gold")) != [{"n": None}]


@pytest.mark.slow
def test_gold_need_not_count_months_that_are_no_trips(built: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    sales = Dataset(
        name="sales",
        title="Sales",
        table="raw.sales",
        files="sales_{month}.csv",
        parts=Monthly(Month(2024, 1)),
        columns=(Column("price", "double"),),
        format=Csv(),
    )
    monkeypatch.setitem(DATASETS, "sales", sales)
    file = DatasetFile("sales", Month(2024, 1))
    (built.scratch / file.name).write_text("price\n1.5\n", encoding="utf-8")
    built.landing.put(file, built.scratch / file.name, "test")
    load(built.catalog, built.landing, file)

    published = publish(built.settings)

    assert "raw.sales" in published.snapshots


@pytest.mark.slow
def test_a_tag_of_ones_own_is_neither_moved_nor_pruned_by_publishing(
    built: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As an earlier version of the project, or another tool, may have given them."""
    table = built.table("raw.green_trips")
    snapshot = table.metadata.current_snapshot_id
    assert snapshot
    own = ["publication-2020-audit", "publication-1"]
    old = [f"publication-202001{day:02}T000000Z" for day in range(1, 15)]
    names = table.manage_snapshots()
    for name in ("published", *own, *old):
        names = names.create_tag(snapshot, name)
    names.commit()

    with pytest.raises(CommitError, match=r"raw.green_trips has a tag called 'published'.*--remove"):
        publish(built.settings)
    untag(built.catalog, "raw.green_trips", "published")
    monkeypatch.setattr(publishing, "build", lambda *a, **o: replace(build(*a, **o), warnings=("few rows",)))
    publication = publish(built.settings)

    assert "few rows" in [record.getMessage() for record in caplog.records]

    refs = built.table("raw.green_trips").metadata.refs
    assert set(refs) == {"main", "published", *own, *old[3:], publication.name}
    assert refs["published"].snapshot_ref_type == "branch"
