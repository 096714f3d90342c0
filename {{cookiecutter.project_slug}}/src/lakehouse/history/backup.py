"""`lakehouse backup` and `lakehouse restore`: the whole lakehouse as it was at one moment, in a folder.

The catalog is read twice. Each commit makes a new metadata file, and no name comes twice. So two equal readings
prove that all tables were in this state together, at a moment between them. Files of Iceberg never change, so those
that this state needs are copied afterwards, while loads go on. If `maintain` removes one meanwhile, the backup begins
again.

Of landed files, the records are copied first, then the data, then earlier versions: the landing zone writes in the
opposite order, so the copy is one that it can read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.table import StaticTable

from lakehouse.errors import BackupError, BoundaryError, LandingError
from lakehouse.filesystem import sha256_of, write_fix
from lakehouse.history.publish import Publication, make_views
from lakehouse.iceberg.catalog import commits_together, is_full, open_catalog, service_errors, table_names
from lakehouse.iceberg.files import referenced
from lakehouse.iceberg.identity import (
    LAYERS,
    after_loss,
    in_catalog,
    path_within,
    place_of,
    to_another_place,
    to_empty,
    write_beside_files,
)
from lakehouse.iceberg.publication import BRANCH, manifest_file, write_manifest
from lakehouse.landing import open_landing
from lakehouse.landing.record import SUFFIX, VERSIONS

if TYPE_CHECKING:
    from lakehouse.landing.store import Store
    from lakehouse.settings import Settings

INDEX = "backup.json"
FORMAT = 1
FILES, LANDED = "files", "landed"  # folders of a backup: files of tables, and of the landing zone
READINGS, ATTEMPTS = 20, 3
CHUNK = 1 << 20

log = logging.getLogger(__name__)


class _Readable(Protocol):
    def read(self, size: int = ...) -> bytes: ...


@dataclass(frozen=True)
class File:
    """A file of a backup: its length in bytes, and its SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True)
class State:
    """The catalog at one moment: each table's metadata file, each namespace's properties, and what is published."""

    tables: Mapping[str, str]
    namespaces: Mapping[str, Mapping[str, str]]
    published: str | None


@dataclass(frozen=True)
class Backup:
    """What a backup holds. `copied_files` says how many of its files are new; the others were there already."""

    place: str
    at: str
    tables: int
    snapshots: int
    landed_files: int
    files: int
    bytes: int
    copied_files: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def backup(settings: Settings, folder: Path) -> Backup:
    """Copy the whole lakehouse, as it is at one moment, into a folder. Others may load meanwhile.

    A folder that holds an earlier backup of the same lakehouse gets what is new, and loses what is no longer needed.
    Its index is replaced last: until then it is the earlier backup.

    Raises:
        BackupError: the folder holds something else, can't be written, or tables changed at each attempt.
        BoundaryError: a file of a table is missing, or lies outside this lakehouse.
        ServiceError: catalog or store can't be used.
    """
    folder = folder.expanduser().resolve()
    earlier = _earlier(settings, folder)
    catalog = open_catalog(settings)
    with service_errors(catalog):
        for attempt in range(1, ATTEMPTS):
            try:
                return _backup(settings, catalog, _Copying(folder, earlier))
            except FileNotFoundError as error:
                log.warning(
                    "A file that the backup needs is not there: %s. It may have been removed meanwhile. The backup "
                    "begins again (attempt %d of %d).",
                    error,
                    attempt + 1,
                    ATTEMPTS,
                )
        try:
            return _backup(settings, catalog, _Copying(folder, earlier))
        except FileNotFoundError as error:
            raise BoundaryError(
                f"The lakehouse in {place_of(settings)} lacks a file at each of {ATTEMPTS} attempts ({error}). No "
                "backup was made.",
                "If `lakehouse maintain` is running, run the same command again when it has ended. If not, the file is "
                f"lost. {after_loss(settings)}",
            ) from error


def restore(settings: Settings, folder: Path) -> Backup:
    """Make this lakehouse, which is empty, the one in the backup. Safe to run again, also after a kill.

    Raises:
        BackupError: no backup is there, or a file of it is damaged. Nothing was changed.
        BoundaryError: this is another place than that of the backup, or it is not empty. Nothing was changed.
        ServiceError: catalog or store can't be used.
    """
    folder = folder.expanduser().resolve()
    index = _index(folder)
    if index is None:
        raise BackupError(f"There is no backup in {folder}: it has no {INDEX}. Nothing was changed. Name its folder.")
    if index["place"] != place_of(settings):
        raise BoundaryError(
            f"The backup in {folder} is of the lakehouse in {index['place']}, and the settings name "
            f"{place_of(settings)}. Iceberg names files by full addresses, so a backup goes back to its own place. "
            "Nothing was changed.",
            to_another_place(settings, index["place"]),
        )
    _verify(folder, index)
    catalog = open_catalog(settings, check=False)
    store = open_landing(settings).store
    with service_errors(catalog):
        _check_empty(settings, catalog, folder, index)
        with store.errors():
            _check_landing(store, index)
        with _room_errors(place_of(settings), folder):
            _restore_files(settings, load_file_io(catalog.properties), folder, index)
            _restore_landed(store, folder, index)
        _restore_catalog(catalog, index)
        if (identity := in_catalog(catalog)) is not None:
            write_beside_files(settings, catalog, identity)
        _restore_published(settings, catalog, index)
    return _summary(index, copied=len(index[FILES]) + len(index[LANDED]))


def _backup(settings: Settings, catalog: Catalog, copying: _Copying) -> Backup:
    state = _state(settings, catalog)
    files: dict[str, File] = {}
    snapshots = 0
    for name, location in state.tables.items():
        # As this metadata file describes it, whatever was committed since.
        table = StaticTable.from_metadata(location, dict(catalog.properties))
        snapshots += len(table.snapshots())
        for address in referenced(table):
            path = path_within(settings, address)
            if path is None:
                raise BoundaryError(
                    f"The table {name} needs the file {address}, which is outside this lakehouse "
                    f"({place_of(settings)}). No backup was made.",
                    "Copy its rows into a table of this lakehouse, or drop the table. Then run the same command again.",
                )
            if path not in files:
                files[path] = copying.of_table(table.io, address, path)
    index = {
        "format": FORMAT,
        "place": place_of(settings),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "catalog": asdict(state),
        "snapshots": snapshots,
        FILES: {path: asdict(file) for path, file in sorted(files.items())},
        LANDED: {key: asdict(file) for key, file in _landed(open_landing(settings).store, copying)},
    }
    copying.finish(index)
    return _summary(index, copied=copying.copied)


def _state(settings: Settings, catalog: Catalog) -> State:
    """The catalog at one moment, proven by two equal readings."""
    before = _reading(settings, catalog)
    for _ in range(READINGS):
        now = _reading(settings, catalog)
        if now is not None and now == before:
            return now
        before = now
    raise BackupError(
        f"Other processes changed tables during each of {READINGS} readings of the catalog. No backup was made. Run "
        "`lakehouse backup` again when fewer loads are running."
    )


def _reading(settings: Settings, catalog: Catalog) -> State | None:
    """The catalog, table by table; None if a table was dropped meanwhile."""
    try:
        tables = {name: catalog.load_table(name).metadata_location for name in table_names(catalog)}
    except NoSuchTableError:
        return None
    namespaces = [".".join(name) for name in catalog.list_namespaces()]
    manifest = manifest_file(settings)
    return State(
        tables,
        {name: dict(catalog.load_namespace_properties(name)) for name in sorted(namespaces)},
        manifest.read_text(encoding="utf-8") if manifest.exists() else None,
    )


def _landed(store: Store, copying: _Copying) -> Iterator[tuple[str, File]]:
    """Copy the landing zone: records, then data, then earlier versions."""
    gone: FileNotFoundError | None = None
    try:
        with store.errors():
            for wanted in (_is_record, _is_data, _is_version):
                for key in sorted(key for key in store.listed() if wanted(key)):
                    yield key, copying.landed(store, key)
    except LandingError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        gone = error.__cause__
    if gone:
        raise gone  # an earlier version was removed meanwhile


def _is_version(key: str) -> bool:
    return f"/{VERSIONS}/" in key and not _is_own(key)


def _is_record(key: str) -> bool:
    return key.endswith(SUFFIX) and not _is_version(key) and not _is_own(key)


def _is_data(key: str) -> bool:
    return not (_is_version(key) or _is_record(key) or _is_own(key))


def _is_own(key: str) -> bool:
    """Whether it is a lock or a temporary file."""
    return key.rpartition("/")[2].startswith(".")


class _Copying:
    """Copies files into the folder of a backup. A file that the earlier backup has is left there."""

    def __init__(self, folder: Path, earlier: Mapping[str, Any]) -> None:
        self.folder = folder
        self.earlier = earlier
        self.copied = 0
        self.records: dict[str, File] = {}

    def of_table(self, io: FileIO, address: str, path: str) -> File:
        """Copy a file of a table, which never changes."""
        if known := self._known(FILES, path):
            return known
        with io.new_input(address).open() as stream:
            return self._copy(stream, self.folder / FILES / path)

    def landed(self, store: Store, key: str) -> File:
        """Copy a landed file, unless it and its record are as before."""
        record = self.records.get(key + SUFFIX)
        same = _is_version(key) or (record is not None and record == self._known(LANDED, key + SUFFIX))
        known = self._known(LANDED, key) if same else None
        if known is None or store.size(key) != known.size:
            with store.local(key) as (path, _), path.open("rb") as stream:
                known = self._copy(stream, self.folder / LANDED / key)
        if _is_record(key):
            self.records[key] = known
        return known

    def finish(self, index: Mapping[str, Any]) -> None:
        """Replace the index, then remove what only the earlier backup needed."""
        with _folder_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            scratch = self.folder / f".{INDEX}-{uuid.uuid4().hex}"
            try:
                scratch.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
                scratch.replace(self.folder / INDEX)
            finally:
                scratch.unlink(missing_ok=True)
            for part in (FILES, LANDED):
                root = self.folder / part
                for path in [path for path in root.rglob("*") if path.is_file()]:
                    if path.relative_to(root).as_posix() not in index[part]:
                        path.unlink()

    def _known(self, part: str, path: str) -> File | None:
        found = self.earlier.get(part, {}).get(path)
        file = self.folder / part / path
        return File(**found) if found and file.is_file() and file.stat().st_size == found["size"] else None

    def _copy(self, stream: _Readable, target: Path) -> File:
        size, digest = 0, hashlib.sha256()
        scratch = target.with_name(f".{target.name}")
        with _folder_errors(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            out = scratch.open("wb")
        with out:
            while chunk := stream.read(CHUNK):
                with _folder_errors(self.folder):
                    out.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        with _folder_errors(self.folder):
            scratch.replace(target)
        self.copied += 1
        return File(size, digest.hexdigest())


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    """Report a backup's folder that can't be written as an error of ours."""
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"The backup can't be written to {folder}: {error.strerror or error}. The lakehouse is as it was. "
            f"{write_fix(error)}, then run the same command again."
        ) from error


@contextmanager
def _room_errors(place: str, folder: Path) -> Iterator[None]:
    """Report a disk that is full while a backup is restored, when `maintain` has nothing yet that it could remove."""
    try:
        yield
    except (OSError, LandingError) as error:
        cause = error.__cause__ if isinstance(error, LandingError) else error
        if not (isinstance(cause, OSError) and is_full(cause)):
            raise
        raise BackupError(
            f"The disk of {place} is full ({cause}), so the backup in {folder} is restored only in part. Free space on "
            f"that disk, then run `lakehouse restore {folder}` again: it begins again, and needs nothing to be removed "
            "before."
        ) from error


def _index(folder: Path) -> dict[str, Any] | None:
    """What the backup in this folder holds; None if there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / INDEX).read_bytes())
        known = found["format"] == FORMAT
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(folder / INDEX, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(
            f"{folder / INDEX} can't be read as the index of a backup ({error!r}). Nothing was changed. Name another "
            "folder."
        ) from None
    if not known:
        raise BackupError(
            f"{folder / INDEX} is of another version of this project, and only that version restores it. Nothing was "
            "changed. Name another folder, or use that version."
        )
    return found


def _unreadable(file: Path, error: OSError) -> BackupError:
    return BackupError(
        f"{file} can't be read: {error.strerror or error}. Nothing was changed. See that you may read it and that its "
        "disk works, then run the same command again."
    )


def _earlier(settings: Settings, folder: Path) -> dict[str, Any]:
    """The index of the backup that is in this folder already; empty for a new folder."""
    index = _index(folder)
    if index is None:
        if folder.exists() and not folder.is_dir():
            raise BackupError(f"{folder} is a file. Nothing was written. Name a folder, which may be a new one.")
        with _folder_errors(folder):
            found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        # an index that found no room may have left its beginning
        if any(name not in (FILES, LANDED) and not name.startswith(f".{INDEX}-") for name in found):
            raise BackupError(
                f"{folder} holds something else than a backup. Nothing was written. Name a new folder, or that of an "
                "earlier backup."
            )
        return {}
    if index["place"] != place_of(settings):
        raise BackupError(
            f"{folder} holds a backup of another lakehouse ({index['place']}). Nothing was written. Name another "
            "folder."
        )
    return index


def _verify(folder: Path, index: Mapping[str, Any]) -> None:
    """Read each file of the backup, and compare its SHA-256."""
    for part in (FILES, LANDED):
        for path, facts in index[part].items():
            file = folder / part / path
            try:
                same = sha256_of(file) == facts["sha256"]
            except FileNotFoundError as error:
                raise BackupError(
                    f"The backup is incomplete: {file} is missing. Nothing was changed. Restore from another backup."
                ) from error
            except OSError as error:
                raise _unreadable(file, error) from error
            if not same:
                raise BackupError(
                    f"The backup is damaged: {file} is not as it was written. Nothing was changed. Restore from "
                    "another backup."
                )


def _check_empty(settings: Settings, catalog: Catalog, folder: Path, index: Mapping[str, Any]) -> None:
    """Refuse a catalog with tables, unless an earlier attempt of this restore has made them."""
    tables: Mapping[str, str] = index["catalog"]["tables"]
    for name in table_names(catalog):
        try:
            location = catalog.load_table(name).metadata_location
        except BoundaryError as error:
            raise BoundaryError(
                f"The lakehouse in {place_of(settings)} is not empty, and incomplete: its table {name} can't be "
                "opened. Nothing was restored.",
                f"{to_empty(settings)} Then run `lakehouse restore {folder}` again.",
            ) from error
        if location != tables.get(name):
            raise BoundaryError(
                f"The lakehouse in {place_of(settings)} is not empty: it has the table {name}. Nothing was changed.",
                f"A restore needs an empty lakehouse. {to_empty(settings)} README says how to start over.",
            )


def _check_landing(store: Store, index: Mapping[str, Any]) -> None:
    """Refuse landed files that the backup does not have."""
    for key in store.listed():
        if not _is_own(key) and store.sha256(key) != index[LANDED].get(key, {}).get("sha256"):
            raise BoundaryError(
                f"The landing zone is not empty: {store.place(key)} is not in the backup. Nothing was changed.",
                "Move the landed files away, then restore again.",
            )


def _restore_files(settings: Settings, io: FileIO, folder: Path, index: Mapping[str, Any]) -> None:
    """Write the tables' files to their own addresses."""
    places = {path_within(settings, location): location for location in index["catalog"]["tables"].values()}
    for path in index[FILES]:
        address = places.get(path) or _address(places, path)
        with (folder / FILES / path).open("rb") as stream, io.new_output(address).create(overwrite=True) as out:
            while chunk := stream.read(CHUNK):
                out.write(chunk)


def _address(places: Mapping[str | None, str], path: str) -> str:
    """A file's address, from that of any file whose path is known."""
    known, location = next(iter(places.items()))
    assert known is not None  # noqa: S101 - the backup's place is this lakehouse's
    return location.removesuffix(known) + path


def _restore_landed(store: Store, folder: Path, index: Mapping[str, Any]) -> None:
    """Write landed files: earlier versions, then data, then records, as the landing zone does."""
    order: Iterable[str] = sorted(index[LANDED], key=lambda key: (_is_record(key), _is_data(key), key))
    for key in order:
        with store.incoming(key, folder / LANDED / key) as incoming:
            store.take(key, incoming)


def _restore_catalog(catalog: Catalog, index: Mapping[str, Any]) -> None:
    """Make namespaces and tables, which then name the restored files."""
    for name, properties in index["catalog"]["namespaces"].items():
        try:
            catalog.create_namespace(name, properties)
        except NamespaceAlreadyExistsError:
            if properties:
                catalog.update_namespace_properties(name, updates=properties)
    present = set(table_names(catalog))
    for name, location in index["catalog"]["tables"].items():
        if name not in present:
            catalog.register_table(name, location)


def _restore_published(settings: Settings, catalog: Catalog, index: Mapping[str, Any]) -> None:
    """Show readers of `published` what the backup has: by the manifest, or by views that follow the branch."""
    if (manifest := index["catalog"]["published"]) is not None:
        write_manifest(settings, manifest)
    if not commits_together(catalog):
        return
    tables = [catalog.load_table(name) for name in index["catalog"]["tables"] if name.partition(".")[0] in LAYERS]
    refs = {".".join(table.name()): table.metadata.refs[BRANCH] for table in tables if BRANCH in table.metadata.refs}
    if refs:
        shown = {name: ref.snapshot_id for name, ref in refs.items()}
        make_views(settings, Publication(name=BRANCH, at=index["at"], snapshots=shown))


def _summary(index: Mapping[str, Any], *, copied: int) -> Backup:
    files = [*index[FILES].values(), *index[LANDED].values()]
    return Backup(
        place=index["place"],
        at=index["at"],
        tables=len(index["catalog"]["tables"]),
        snapshots=index["snapshots"],
        landed_files=sum(_is_data(key) for key in index[LANDED]),
        files=len(files),
        bytes=sum(file["size"] for file in files),
        copied_files=copied,
    )
