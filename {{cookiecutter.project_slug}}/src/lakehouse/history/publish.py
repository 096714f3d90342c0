"""Publishing: gold's `main` is a candidate; the branch `published` is what readers see, once its checks are green.

Every table gets the branch (nobody writes it) and a tag with the publication's name. So `--as-of published` moves the
whole lakehouse, raw tables included, and a tag brings back any of the last publications. On `trino` all tables move in
one commit of the catalog; on `embedded` one by one, and views of schema `published` follow a manifest that is replaced
in one step.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.rest.response import _handle_non_200_response
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, RESTError
from pyiceberg.table import CommitTableRequest, Namespace, Table, TableIdentifier
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePropertiesUpdate,
    RemoveSnapshotRefUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
)
from requests import HTTPError

from lakehouse.datasets.registry import monthly
from lakehouse.dbt_start import Dbt
from lakehouse.engines import Engine, open_engine
from lakehouse.errors import CommitError, OvertakenError, QueryError, ServiceError, TransformError
from lakehouse.iceberg.catalog import commits_together, open_catalog, service_errors, table_names
from lakehouse.iceberg.commit import commit_refused, lost_answer, reloaded
from lakehouse.iceberg.identity import LAYERS
from lakehouse.iceberg.publication import BRANCH, KEPT, TAG, TAG_PREFIX, version_property, write_manifest
from lakehouse.s3_users import refused_user, s3_refuses
from lakehouse.settings import Settings
from lakehouse.tested import Untested, holds, model_versions, untested
from lakehouse.transform import BUILD_WAIT_SECONDS, Tell, build, only_build, repeated


@dataclass(frozen=True)
class Publication:
    """What was published: its tag, when, and the snapshot of every table."""

    name: str
    at: str
    snapshots: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def publish(
    settings: Settings, *, wait: bool = False, progress: Tell | None = None, dbt: Dbt | None = None
) -> Publication:
    """Build, test, and show the result to readers: the branch `published` of every table moves to what was tested.

    Args:
        settings: of the target.
        wait: wait for another build of this lakehouse, up to two hours, instead of failing.
        progress: called with a line for each model and test that is done.
        dbt: one that may have been started already.

    Raises:
        TransformError: a model or test failed or did not run, or gold does not count raw's rows; readers see what they
            saw before.
        OvertakenError: raw tables, or the candidate, moved during each of three builds; readers see what they saw
            before.
        CommitError: somebody changed silver or gold after the build, or the catalog did not confirm.
        ServiceError: the catalog or Trino does not answer.
    """

    def once() -> Publication:
        build_to_publish(settings, wait=wait, progress=progress, dbt=dbt)
        return publish_tested(settings)

    return repeated(once)


def build_to_publish(
    settings: Settings, *, wait: bool = False, progress: Tell | None = None, dbt: Dbt | None = None
) -> None:
    """Build and test all of silver and gold.

    Raises:
        OvertakenError: raw tables changed during the build.
        TransformError, ServiceError: as `publish`.
    """
    done = build(settings, wait=wait, progress=progress, dbt=dbt)
    for warning in done.warnings:
        logging.getLogger(__name__).warning("%s", warning)
    if done.raw_moved:
        raise OvertakenError(
            f"{', '.join(done.raw_moved)} changed during the build, so the tests may have seen a mixture of old and "
            "new rows. Nothing was published.",
            "Run `lakehouse publish` again when no load is running.",
        )


def publish_tested(settings: Settings, built: Mapping[str, int] | None = None) -> Publication:
    """Show readers the state that is there, if its models are built and tested as they are. Nothing is built.

    Tests that did not run on this state are run now: dbt tests its sources too, and a load may have left that out.

    Args:
        settings: of the target.
        built: snapshots of tables, `schema.table`, that must still be there: what one run has built.

    Raises:
        TransformError: a test failed, or gold does not count raw's rows; readers see what they saw before.
        OvertakenError: raw tables changed since the build, another build was quicker, or a table moved meanwhile;
            readers see what they saw before.
        CommitError: somebody changed silver or gold, or a model is not built and tested as it is now; readers see what
            they saw before. Or the catalog did not confirm.
        ServiceError: the catalog or Trino does not answer.
    """
    catalog = open_catalog(settings)
    with service_errors(catalog):
        tables = _tables_with_rows(catalog)
        missing = untested(settings, tables)
        if missing and missing.tests and not missing.models:
            build(settings, " ".join(missing.tests), wait=True)
            tables = _tables_with_rows(catalog)
            missing = untested(settings, tables)
        if missing and missing.changed:  # another build may be half way
            with only_build(settings, BUILD_WAIT_SECONDS):
                tables = _tables_with_rows(catalog)
                missing = untested(settings, tables)
        if missing:
            overtaken = missing.changed and all(name.startswith("raw.") for name in missing.changed)
            found, what_next = _what_is_missing(missing)
            raise OvertakenError(found, what_next) if overtaken else CommitError(f"{found} {what_next}")
        by_name = {_name(table): table for table in tables}
        if moved := [name for name, snapshot in (built or {}).items() if not holds(by_name.get(name), snapshot)]:
            raise OvertakenError(
                f"{', '.join(sorted(moved))} changed after this run built it. Nothing was published.",
                "Run `lakehouse publish`, or the job `publish`.",
            )
        return _publish(settings, catalog, tables)


def _tables_with_rows(catalog: Catalog) -> list[Table]:
    tables = [catalog.load_table(name) for name in table_names(catalog) if name.partition(".")[0] in LAYERS]
    return [table for table in tables if table.metadata.current_snapshot_id is not None]


def _what_is_missing(missing: Untested) -> tuple[str, str]:
    """What was found, and what to do next."""
    if missing.changed:
        found = f"{', '.join(missing.changed)} changed after the build."
    elif missing.models:
        found = f"The tables of {', '.join(missing.models)} are not built and tested as their models are now."
    elif missing.tests:
        found = f"These tests did not run on what is there now: {', '.join(missing.tests)}."
    else:
        found = "Silver and gold are not built and tested yet."
    what_next = "Run `lakehouse publish`, or the job `publish`: they build and test first."
    return f"{found} Nothing was published.", what_next


def _refuse_miscounted(engine: Engine) -> None:
    """Refuse gold that does not count each row of raw: empty marts pass every test of their rows.

    Raises:
        TransformError: names the first month that differs, with both counts.
    """
    counted = engine.query(
        "select service_type, file_month, sum(trips) as trips from gold.fct_monthly_quality group by 1, 2"
    )
    gold = {(row["service_type"], row["file_month"]): int(row["trips"]) for row in counted.to_pylist()}
    raw = {
        (dataset.name, month.first_day): month.rows
        for dataset in monthly()
        if dataset.is_trips
        for month in engine.part_files(dataset.table)
        if month.rows
    }
    for name, month in sorted(raw.keys() | gold.keys()):
        rows, trips = raw.get((name, month), 0), gold.get((name, month), 0)
        if rows != trips:
            raise TransformError(
                f"gold.fct_monthly_quality counts {trips:,} trips of {name} {month:%Y-%m}, but the raw table has "
                f"{rows:,} rows of that month. Nothing was published. If a load is running, wait until it ends. Then "
                "run `lakehouse build --full-refresh --select +fct_monthly_quality`, and publish again. If the numbers "
                f"still differ, a model leaves rows out, or `services` in dbt_project.yml lacks {name}."
            )


def _publish(settings: Settings, catalog: Catalog, tables: list[Table]) -> Publication:
    with closing(open_engine(settings)) as engine:
        try:
            _refuse_miscounted(engine)
        except TransformError as error:
            before = {_name(table): _current(table) for table in tables}
            newest = {_name(table): table for table in _tables_with_rows(catalog)}
            names = sorted(before.keys() | newest.keys())
            if moved := [name for name in names if not holds(newest.get(name), before.get(name))]:
                raise OvertakenError(
                    f"{', '.join(moved)} changed while it was being published. Readers still see what was published "
                    "before.",
                    "Run `lakehouse publish` again.",
                ) from error
            raise
    _refuse_taken_names(tables)
    now = datetime.now(UTC)
    publication = Publication(
        name=f"{TAG_PREFIX}{now:%Y%m%dT%H%M%S}Z",
        at=now.isoformat(timespec="seconds"),
        snapshots={_name(table): _current(table) for table in tables},
    )
    versions = model_versions(settings)
    changes = [(table, *_changes(table, publication.name, versions.get(_name(table)))) for table in tables]
    try:
        if commits_together(catalog):
            _commit_all(catalog, changes, publication)
            _make_views(settings, publication)
        else:
            _commit_one_by_one(settings, catalog, changes, publication)
    except CommitFailedException as error:
        raise OvertakenError(
            f"Another command changed a table while it was being published ({error}). Readers still see what was "
            "published before.",
            "Run `lakehouse publish` again.",
        ) from error
    return publication


def _make_views(settings: Settings, publication: Publication) -> None:
    """The views of what is published already.

    Raises:
        ServiceError, QueryError: they could not all be made.
    """
    try:
        make_views(settings, publication)
    except (ServiceError, QueryError) as error:  # the first may pass, so Dagster repeats the step
        raise type(error)(
            f"{publication.name} was published, and views that were there before show it. Its views could not all be "
            f"made: {error} Then run `lakehouse publish` again, which makes those that lack."
        ) from error


def _refuse_taken_names(tables: list[Table]) -> None:
    """Refuse to make a branch of a tag that somebody gave: readers would see it move.

    Raises:
        CommitError: names the tables.
    """
    taken = [_name(t) for t in tables if _is_tag(t, BRANCH)]
    if taken:
        raise CommitError(
            f"{', '.join(taken)} has a tag called {BRANCH!r}, and publishing needs this name for its branch. Nothing "
            f"was published. If you need the tag, first give its snapshot another one (`lakehouse tag {taken[0]} NAME "
            f"{BRANCH}`). Then run `lakehouse tag {taken[0]} {BRANCH} --remove`, and publish again."
        )


def _is_tag(table: Table, name: str) -> bool:
    ref = table.metadata.refs.get(name)
    return ref is not None and ref.snapshot_ref_type == SnapshotRefType.TAG


def _name(table: Table) -> str:
    return ".".join(table.name())


def _current(table: Table) -> int:
    snapshot_id = table.metadata.current_snapshot_id
    assert snapshot_id is not None  # noqa: S101 - tables without a snapshot are left out
    return snapshot_id


RefChange = tuple[Table, tuple[TableRequirement, ...], tuple[TableUpdate, ...]]


def _changes(
    table: Table, tag: str, model_version: str | None
) -> tuple[tuple[TableRequirement, ...], tuple[TableUpdate, ...]]:
    """Move the branch, add the tag, drop tags beyond the last few publications; only if nothing moved meanwhile.

    A table of a model also keeps, for each publication, the version of the model.
    """
    refs, snapshot_id = table.metadata.refs, _current(table)
    before = refs[BRANCH].snapshot_id if BRANCH in refs else None
    requirements: tuple[TableRequirement, ...] = (
        AssertTableUUID(uuid=table.metadata.table_uuid),
        AssertRefSnapshotId(ref="main", snapshot_id=snapshot_id),  # type: ignore[call-arg]
        AssertRefSnapshotId(ref=BRANCH, snapshot_id=before),  # type: ignore[call-arg]
    )
    own = (name for name, ref in refs.items() if ref.snapshot_ref_type == SnapshotRefType.TAG and TAG.fullmatch(name))
    old = sorted(own)[: -(KEPT - 1)]
    updates: tuple[TableUpdate, ...] = (
        _set(BRANCH, SnapshotRefType.BRANCH, snapshot_id),
        _set(tag, SnapshotRefType.TAG, snapshot_id),
        *(RemoveSnapshotRefUpdate(ref_name=name) for name in old),  # type: ignore[call-arg]
    )
    if model_version:
        updates += (SetPropertiesUpdate(updates={version_property(tag): model_version}),)
    if gone := [name for name in map(version_property, old) if name in table.properties]:
        updates += (RemovePropertiesUpdate(removals=gone),)
    return requirements, updates


def _set(name: str, kind: SnapshotRefType, snapshot_id: int) -> SetSnapshotRefUpdate:
    return SetSnapshotRefUpdate(ref_name=name, type=kind, snapshot_id=snapshot_id)  # type: ignore[call-arg]


def _commit_all(catalog: RestCatalog, changes: list[RefChange], publication: Publication) -> None:
    """The catalog's own multi-table commit, for which PyIceberg has no call: all tables move, or none.

    Raises:
        CommitFailedException: a table changed meanwhile.
        CommitError: the catalog refused it for another reason, or the answer is lost and not every table moved.
    """
    requests = [
        CommitTableRequest(
            identifier=TableIdentifier(namespace=Namespace(list(table.name()[:-1])), name=table.name()[-1]),
            requirements=requirements,
            updates=updates,
        )
        for table, requirements, updates in changes
    ]
    body = {"table-changes": [json.loads(request.model_dump_json()) for request in requests]}
    try:
        # its session has the login and the timeouts
        answer = catalog._session.post(catalog.url("transactions/commit"), json=body)  # noqa: SLF001
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            answer.raise_for_status()
    except lost_answer() as error:
        _look_for(catalog, publication, error)
        return
    try:
        answer.raise_for_status()
    except HTTPError as error:
        try:
            _handle_non_200_response(error, {409: CommitFailedException, 404: NoSuchTableError})
        except (RESTError, NoSuchTableError) as refusal:
            raise _refused(refusal) from refusal


def _refused(reason: Exception) -> CommitError:
    """What to say, and to advise, of a publication that the catalog refused for another reason than a change."""
    words = str(reason)
    if s3_refuses(words):
        what_next = refused_user("catalog")
    elif turned_away := commit_refused(reason):
        what_next = turned_away
    elif isinstance(reason, NoSuchTableError) and "NoSuchTable" in words:
        what_next = "A table was dropped meanwhile. Publish again."
    elif isinstance(reason, NoSuchTableError):
        what_next = (
            "It seems unable to commit several tables at once (POST …/transactions/commit), which publishing needs. "
            "Set REST_URL to a catalog that can do so; `lakehouse doctor` shows which services answer."
        )
    else:
        what_next = "Look at the catalog's log for the cause, and publish again."
    return CommitError(
        f"The catalog refused the publication ({type(reason).__name__}: {words}). Nothing was published. {what_next}"
    )


def _look_for(catalog: RestCatalog, publication: Publication, reason: Exception) -> None:
    """See whether a commit was made that nobody confirmed.

    Raises:
        CommitError: not in every table, or that can't be seen.
    """
    try:
        if all(publication.name in reloaded(catalog, name).metadata.refs for name in publication.snapshots):
            return
    except lost_answer():
        pass  # the first reason says more
    raise CommitError(
        f"The catalog did not confirm the publication {publication.name} ({reason}), so it may be made or not. Check "
        "that the catalog is running, then run `lakehouse publish` again: it makes a new publication of all tables."
    ) from reason


def make_views(settings: Settings, publication: Publication) -> None:
    """One view per gold table, as of the branch: made once, it follows the branch."""
    engine = open_engine(settings)
    try:
        engine.query("create schema if not exists iceberg.published")
        for view in _published_views(publication):
            engine.query(
                f"create or replace view iceberg.published.{view} security invoker as "
                f"select * from iceberg.gold.{view} for version as of '{BRANCH}'"
            )
        _drop_views_without_table(engine, publication)
    finally:
        engine.close()


def _published_views(publication: Publication) -> Iterator[str]:
    return (name.removeprefix("gold.") for name in publication.snapshots if name.startswith("gold."))


def _drop_views_without_table(engine: Engine, publication: Publication) -> None:
    views = engine.query("select table_name from iceberg.information_schema.tables where table_schema = 'published'")
    for view in set(views["table_name"].to_pylist()) - set(_published_views(publication)):
        engine.query(f"drop view iceberg.published.{view}")


def _commit_one_by_one(
    settings: Settings, catalog: Catalog, changes: list[RefChange], publication: Publication
) -> None:
    """Refs first, so that the snapshots are held; then the manifest, in one step: readers see all or nothing of it."""
    for table, _, _ in changes:  # before the first ref: a publication that is given up should leave none
        if _current(catalog.load_table(table.name())) != _current(table):
            raise CommitFailedException(f"{_name(table)} has another snapshot by now")
    for table, requirements, updates in changes:
        catalog.commit_table(table, requirements, updates)
    write_manifest(settings, json.dumps(publication.as_dict(), indent=2) + "\n")
