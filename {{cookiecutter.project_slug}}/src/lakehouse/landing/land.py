"""Landing: bring a published file into the landing zone, or say why not."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Parquet
from lakehouse.datasets.months import Month
from lakehouse.datasets.registry import dataset_named
from lakehouse.datasets.sources import Since
from lakehouse.errors import LandingError, SourceError, UnreachableError
from lakehouse.filesystem import sha256_of, write_fix
from lakehouse.landing.record import GENERATED, SUFFIX, Landed, from_json, is_generated
from lakehouse.landing.zone import Landing
from lakehouse.locks import held
from lakehouse.progress import Progress
from lakehouse.sources.copying import reading
from lakehouse.sources.patience import PATIENCE, Patience
from lakehouse.sources.site import Source, Version, open_source
from lakehouse.synthetic.generate import is_synthetic

LOCK_SUFFIX = ".lock"


def land(
    landing: Landing,
    source: str,
    file: DatasetFile,
    *,
    refresh: bool = False,
    when_unreachable: Callable[[Landed], object] | None = None,
    since: Since | None = None,
    together: Collection[DatasetFile] = (),
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> Landed:
    """Land a file of a dataset if it isn't landed.

    Any number of processes may land the same file at once: one fetches it, the others wait for that one.

    Args:
        landing: where to.
        source: where from: `TLC_SOURCE`, a base URL, a bucket or a folder. A dataset that declares a source has its
            own.
        file: which file.
        refresh: ask the source even if the file is landed: published files are replaced in place at times.
        when_unreachable: called with the generated file that is landed, where the source can't be asked: that file is
            good enough then. Without this it is an error.
        since: where the rows of a declared database begin, if its dataset has a cursor; all rows if None. The table
            must have the rows before. See `since` of loading/cursor.py.
        together: files that the caller lands in the same go; a generated month among them gives way, like this one.
        progress: called with bytes done and bytes in all (0 where that is not known).
        patience: how long to wait for what; the default is fit for an unattended load.

    Returns:
        What is landed now. A generated file counts as not landed: it gives way to the published one. `is_generated`
        says whether it could not.

    Raises:
        NotPublishedError: the source does not have it (yet).
        UnreachableError: the source can't be asked.
        SourceError: what the source gave is not the file.
        LandingError: the landing zone did not take it, or holds generated months that would stay beside it.
        SettingsError: a declared database is not set, or its driver is not installed.
        LockedError: another process still fetches the same file, after half an hour unless `patience` says less.
    """
    if not refresh and (found := _published(landing, file)):
        return found
    try:
        landing.staging.mkdir(parents=True, exist_ok=True)
        lock = landing.staging / f"{file.name}{LOCK_SUFFIX}"
        with held(lock, f"The download of {file.name}", wait=(patience or PATIENCE).other_process):
            if not refresh and (found := _published(landing, file)):
                return found
            try:
                return _fetch(
                    landing, source, file, together, refresh=refresh, since=since, progress=progress, patience=patience
                )
            except UnreachableError:
                if when_unreachable and not refresh and (made := landing.find(file)):
                    when_unreachable(made)
                    return made
                raise
    except OSError as error:
        raise LandingError(
            f"{file.name} can't be copied to {landing.staging}: {error.strerror or error}. Nothing of it was landed. "
            f"{write_fix(error)}, then run the same command again."
        ) from error


def notice_of_generated(landed: Landed, *, unreachable: bool) -> str | None:
    """What to say of a generated file that `land` gave; None of a published one."""
    if not is_generated(landed):
        return None
    why = ": the publisher can't be reached, so it could not be replaced" if unreachable else ""
    return f"{landed.file.label} is a generated file{why}."


def generated(landing: Landing) -> list[Landed]:
    """What is landed and was never published: the demo's generated months and zones."""
    return [landed for landed in landing.listing() if is_generated(landed)]


def _refuse_to_mix(landing: Landing, file: DatasetFile, origin: str, together: Collection[DatasetFile]) -> None:
    """Refuse a published month while a generated one would stay beside it, and the other way round.

    Raises:
        LandingError: the message says how to replace them.
    """
    if not is_trips(file):
        return
    # A record that can't be read says nothing of its month, and must not keep the others out: the month itself is
    # refused until it is landed again.
    listed = landing.listing(skip_broken=True)
    others = [x for x in listed if is_trips(x.file) and x.file not in {file, *together}]
    made = origin.startswith(GENERATED)
    stays = ", ".join(x.file.label for x in others if is_generated(x) != made)
    if stays and made:
        raise LandingError(
            f"{file.label} is a generated month ({origin}), and this lakehouse holds published months ({stays}). The "
            f"two kinds are never mixed, so nothing of {file.label} was landed. Load the published month. Generated "
            "months need a lakehouse of their own: on `embedded`, set LAKEHOUSE_HOME to another folder."
        )
    if stays:
        raise LandingError(
            f"{file.label} is a published month, and this lakehouse holds generated months ({stays}). The two kinds "
            f"are never mixed, so nothing of {file.label} was landed. Run `make demo` again: as soon as all of these "
            "months can be downloaded, it replaces the generated ones together."
        )


def is_trips(file: DatasetFile) -> bool:
    """Whether it is a month of trips: only such months are generated."""
    return isinstance(file.part, Month) and dataset_named(file.dataset).is_trips


def _published(landing: Landing, file: DatasetFile) -> Landed | None:
    found = landing.find(file)
    return found if found and not is_generated(found) else None


def _fetch(
    landing: Landing,
    source: str,
    file: DatasetFile,
    together: Collection[DatasetFile],
    *,
    refresh: bool,
    since: Since | None,
    progress: Progress | None,
    patience: Patience | None,
) -> Landed:
    """Ask the source; put what it gives. The caller holds the lock on the staged file."""
    known = _known(landing, file) if refresh else None
    target = landing.staging / file.name
    try:
        version = _source_of(file, source, since, patience).fetch(
            file, target, Version(known.origin, known.etag, known.last_modified) if known else None, progress
        )
        if version is None:
            if known is None:
                raise SourceError(
                    f"{source} answered that {file.label} has not changed, but it was never landed here. Nothing of "
                    "it was landed. Run the same command again."
                )
            return known
        version = _generated_or_not(_carried(version, target), file, target)
        _refuse_to_mix(landing, file, version.origin, together)
        return landing.put(
            file,
            target,
            version.origin,
            etag=version.etag,
            last_modified=version.last_modified,
            since=version.since,
        )
    finally:
        target.unlink(missing_ok=True)


def _source_of(file: DatasetFile, source: str, since: Since | None, patience: Patience | None) -> Source:
    """The database that the dataset declares, or what `TLC_SOURCE` names."""
    dataset = dataset_named(file.dataset)
    if dataset.source is None:
        return open_source(source, patience)
    from lakehouse.sources.query import QuerySource  # noqa: PLC0415 - SQLAlchemy is slow to import

    return QuerySource(dataset, dataset.source, since)


def _known(landing: Landing, file: DatasetFile) -> Landed | None:
    """What is landed and whole: only such a file may be left alone because the publisher still has the same."""
    try:
        found = _published(landing, file)
        if found is None:
            return None
        with landing.local(found) as path:
            return found if sha256_of(path) == found.sha256 else None
    except (LandingError, OSError):
        return None


def _carried(version: Version, copy: Path) -> Version:
    """Where a file from a folder or bucket really came from, if that is a landing zone.

    Raises:
        SourceError: the file is not the one that was landed there, or what was noted of it can't be read.
    """
    found = version.found
    record = found.with_name(f"{found.name}{SUFFIX}") if found else None
    if found is None or record is None:
        return version
    with reading(found):
        if not record.is_file():
            return version
    try:
        with record.open("rb") as content:
            landed = from_json(content.read(), str(found))
    except (LandingError, OSError) as error:
        raise SourceError(
            f"{record} can't be read as the record of where {found.name} came from ({error.__cause__ or error!r}). "
            "Nothing of it was landed. If it is a file of your own, rename it. If it is a record, restore it, or move "
            "it away to accept the file as it is."
        ) from error
    if landed.sha256 != sha256_of(copy):
        raise SourceError(
            f"{found} was changed after it was landed there: its SHA-256 is not {landed.sha256[:12]}…, which its "
            f"record beside it, {record.name}, has. Nothing of it was landed. Restore the file, or remove the record "
            "to accept the file as it is. If the folder is the landing zone of a lakehouse, that lakehouse then "
            "fetches the file again."
        )
    return Version(landed.origin, landed.etag, landed.last_modified)


def _generated_or_not(version: Version, file: DatasetFile, copy: Path) -> Version:
    """A month that says of itself that it was generated is a generated one, from any source."""
    dataset = dataset_named(file.dataset)
    of_parquet = isinstance(dataset.format, Parquet) and not dataset.bundled
    if file.part is None or not of_parquet or version.origin.startswith(GENERATED):
        return version
    try:
        made = is_synthetic(copy)
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return version  # what can't be read says nothing; loading it will be refused
    return replace(version, origin=f"{GENERATED}{file.path}") if made else version
