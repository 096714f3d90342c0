"""Branches, tags and rollback: names for snapshots, and the one that a plain query reads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType

from lakehouse.errors import CommitError, QueryError
from lakehouse.iceberg.catalog import settings_of, table_names
from lakehouse.iceberg.commit import lost_answer, reloaded
from lakehouse.iceberg.identity import LAYERS, check_pair
from lakehouse.iceberg.names import has_schema, no_table
from lakehouse.iceberg.publication import BRANCH, KEPT, TAG, TAG_PREFIX, published_snapshots
from lakehouse.iceberg.timeline import current_at
from lakehouse.iceberg.transaction import MAIN
from lakehouse.iceberg.versions import AsOf, parse_as_of


def load_table(catalog: Catalog, name: str) -> Table:
    """A fresh handle.

    Raises:
        QueryError: no such table; names those that exist.
    """
    if has_schema(name):
        with suppress(NoSuchTableError, NoSuchNamespaceError):
            return catalog.load_table(name)
    raise no_table(name, table_names(catalog))


def snapshot_at(table: Table, version: AsOf | int) -> int:
    """The snapshot that a version means for this table: an id, a branch or tag, or what was current at a time.

    Raises:
        QueryError: the table has no such version; says what it has.
    """
    name = ".".join(table.name())
    value = version if isinstance(version, int) else version.value
    if isinstance(value, int):
        if table.snapshot_by_id(value) is None:
            raise QueryError(f"{name} has no snapshot {value}. `lakehouse history {name}` lists those that exist.")
        return value
    if isinstance(value, datetime):
        return current_at(table, value)
    if value == BRANCH and BRANCH not in table.metadata.refs and table.name()[0] in LAYERS:
        raise QueryError(f"{name} is not published yet. Run `lakehouse publish`, or leave the version out.")
    if value not in table.metadata.refs:
        known = ", ".join(sorted(table.metadata.refs)) or "none yet"
        raise QueryError(
            f"{name} has no branch or tag {value!r}. It has: {known}. Name one of these, or a snapshot that "
            f"`lakehouse history {name}` lists."
        )
    return table.metadata.refs[value].snapshot_id


def shown_at(table: Table, version: AsOf | int) -> int:
    """As `snapshot_at`, but `published` is what readers are shown.

    On `embedded` the manifest says it, of all tables at once: the branches of that name move one by one, and a
    publication may have stopped between two of them.
    """
    settings = settings_of(table.catalog)
    if settings.target == "embedded" and version == AsOf("ref", BRANCH):
        shown = published_snapshots(settings).get(".".join(table.name()))
        if shown is not None:
            return shown
    return snapshot_at(table, version)


def version_of(table: Table, text: str) -> int:
    """The snapshot that a person's words mean for this table.

    The words: `1234567890`, `published`, `2024-03-01T12:00` (UTC), or `raw.green_trips@1234567890`.

    Raises:
        QueryError: none of these, or the table has no such version.
    """
    if text.strip().isdigit():
        return snapshot_at(table, int(text))
    wanted, name = parse_as_of(text), ".".join(table.name())
    if wanted.table not in (None, name):
        raise QueryError(
            f"{text} is a version of {wanted.table}, not of {name}. Nothing was changed. Give a version of {name}; "
            f"`lakehouse history {name}` lists them."
        )
    return snapshot_at(table, wanted)


def rollback(catalog: Catalog, name: str, version: AsOf | int | str, *, expect: int | None = None) -> int:
    """Make an older version (or, to undo, a newer one) what a plain query reads. No snapshot is made or lost.

    Args:
        catalog: where the table is.
        name: `schema.table`.
        version: see `version_of`.
        expect: refuse unless this snapshot is the current one: what the caller looked at.

    Returns:
        The id of the snapshot that is current now.

    Raises:
        QueryError: no such table or version.
        CommitError: the table moved meanwhile.
    """
    table = load_table(catalog, name)
    current = table.metadata.current_snapshot_id
    if expect is not None and current != expect:
        raise CommitError(
            f"{name} is at snapshot {current}, not at {expect} as expected: it was changed meanwhile. Nothing was "
            f"rolled back. Look at it again with `lakehouse history {name}`."
        )
    target = _snapshot_named(table, version)
    if target == current:
        return target
    change = table.manage_snapshots().set_current_snapshot(snapshot_id=target)
    _commit(catalog, name, change.commit, lambda found: found.metadata.current_snapshot_id == target)
    return target


def _commit(catalog: Catalog, name: str, change: Callable[[], object], is_made: Callable[[Table], bool]) -> None:
    """Commit a change of names; where its answer is lost, look whether it was made.

    Raises:
        CommitError: the table moved meanwhile, or nobody can say what became of the change.
    """
    check_pair(settings_of(catalog), catalog)
    try:
        change()
    except CommitFailedException as error:
        raise CommitError(
            f"Another process changed {name} meanwhile, so this command changed nothing. See what changed with "
            f"`lakehouse history {name}`. If you still want this change, run the same command again."
        ) from error
    except lost_answer() as error:
        try:
            if is_made(reloaded(catalog, name)):
                return
        except lost_answer():
            pass  # the first error says more
        raise CommitError(
            f"The catalog did not confirm the change of {name} ({error}). It was made completely or not at all. "
            f"See `lakehouse history {name}`, or run the same command again."
        ) from error


def _snapshot_named(table: Table, version: AsOf | int | str) -> int:
    return version_of(table, version) if isinstance(version, str) else snapshot_at(table, version)


def tag(catalog: Catalog, name: str, tag_name: str, version: AsOf | int | str | None = None) -> int:
    """Name a snapshot (the current one unless given). A tag keeps its snapshot from expiry; it never moves.

    Returns:
        The snapshot's id.

    Raises:
        QueryError: no such table or snapshot, the name is taken by another snapshot, or nothing could ask for it.
        CommitError: the table moved meanwhile.
    """
    table = load_table(catalog, name)
    target = _snapshot_named(table, version) if version is not None else table.metadata.current_snapshot_id
    if target is None:
        raise QueryError(f"{name} has no snapshot yet, so there is nothing to tag. Load or build the table first.")
    _check_tag_name(tag_name)
    # creating a tag whose name exists would move it
    if (taken := table.metadata.refs.get(tag_name)) is not None:
        if taken.snapshot_id == target:
            return target
        raise QueryError(
            f"{name} already has a {taken.snapshot_ref_type.value} {tag_name!r}, at snapshot {taken.snapshot_id}. "
            "Nothing was tagged. Choose another name."
        )
    change = table.manage_snapshots().create_tag(target, tag_name)
    _commit(catalog, name, change.commit, lambda found: tag_name in found.metadata.refs)
    return target


def untag(catalog: Catalog, name: str, tag_name: str) -> int:
    """Take a tag away. Publications' tags stay: publishing removes them in time.

    Returns:
        The id of the snapshot that it named.

    Raises:
        QueryError: no such table or tag, or it is a publication's.
        CommitError: the table moved meanwhile.
    """
    table = load_table(catalog, name)
    ref = table.metadata.refs.get(tag_name)
    if ref is None or ref.snapshot_ref_type != SnapshotRefType.TAG:
        tags = [n for n, r in table.metadata.refs.items() if r.snapshot_ref_type == SnapshotRefType.TAG]
        raise QueryError(
            f"{name} has no tag {tag_name!r}, so nothing was removed. Its tags: {', '.join(sorted(tags)) or 'none'}."
        )
    if TAG.fullmatch(tag_name):
        raise QueryError(
            f"{tag_name!r} is the tag of a publication, so it was not removed. `lakehouse publish` keeps the last "
            f"{KEPT} of them, and removes older ones by itself."
        )
    change = table.manage_snapshots().remove_tag(tag_name)
    _commit(catalog, name, change.commit, lambda found: tag_name not in found.metadata.refs)
    return ref.snapshot_id


def _check_tag_name(name: str) -> None:
    """Refuse a name that `--as-of` would take for something else, or for nothing, and those that publishing gives.

    Raises:
        QueryError: says what a name looks like.
    """
    if name in (MAIN, BRANCH) or name.startswith(TAG_PREFIX):
        raise QueryError(
            f"A tag of yours can't be called {name!r}: the project uses {MAIN!r} for what a plain query reads, and "
            f"{BRANCH!r} and {TAG_PREFIX}… for what `lakehouse publish` makes. Nothing was tagged. Choose another "
            "name, such as audited-2024."
        )
    try:
        found = parse_as_of(name)
    except QueryError:
        found = None
    if found != AsOf("ref", name):
        raise QueryError(
            f"A tag can't be called {name!r}: a number would be read as a snapshot, a day as a time. Nothing was "
            "tagged. Choose a name of letters, digits, '.', '_', '-' and '/', such as audited-2024."
        )
