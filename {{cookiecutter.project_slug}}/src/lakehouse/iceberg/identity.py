"""Which lakehouse this is: a home (or a bucket) and a catalog know that they belong together.

The first load writes an identity into the catalog (properties of the namespace `raw`) and beside the tables' files
(`lakehouse.json`). A folder that was copied, moved or restored in part differs from what its catalog says, and is
refused before anything is read or written: its catalog names files of another folder.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError
from pyiceberg.io import load_file_io
from pyiceberg.table import Table

from lakehouse.errors import BoundaryError

if TYPE_CHECKING:
    from lakehouse.settings import Settings

NAME = "lakehouse"  # of the catalog, in PyIceberg and in SQLite
LAYERS = ("raw", "silver", "gold")
NAMESPACE = "raw"
ID, PLACE = "lakehouse.id", "lakehouse.place"
FILE = "lakehouse.json"
WAREHOUSE = "/warehouse/"
_BUCKET = "s3://"  # what the place of a lakehouse in a bucket begins with
FIRST_LOADS = 2.0  # seconds in which first loads at once agree on an identity
ADOPT = "Run `lakehouse adopt` once: it makes this folder a whole lakehouse of its own."
# What to do where there is no backup; for messages of a home.
BEGIN_AGAIN = (
    "Or begin again: move `catalog.db`, `warehouse` and `published.json` out of the lakehouse's folder. Run `lakehouse "
    "load` for each dataset with its months or days, then `lakehouse build`. The history, the tags and the tables that "
    "were written from data frames are lost then."
)
RESTORE = (
    "Or move LAKEHOUSE_HOME away and run `lakehouse restore FOLDER`: what is newer than the backup in FOLDER is lost. "
    f"{BEGIN_AGAIN}"
)
FROM_ONE_BACKUP = "If not, restore the bucket and the catalog's database from one backup."
_NEWER_CATALOG = f"If you still have the newer `catalog.db`, put it back: nothing is lost. {RESTORE}"
_VERSION = re.compile(r"(\d+)-[0-9a-f-]{36}\.metadata\.json")


@dataclass(frozen=True)
class Identity:
    """What names a lakehouse: a random id, and where its tables' files are (a folder, or `s3://bucket`)."""

    id: str
    place: str


def place_of(settings: Settings) -> str:
    """Where the tables' files of this lakehouse are: the home's path on `embedded`, `s3://bucket` on `trino`."""
    return str(settings.home) if settings.target == "embedded" else f"{_BUCKET}{settings.s3_bucket}"


def to_another_place(settings: Settings, place: str) -> str:
    """For messages: which settings make that place the lakehouse. The target may be the wrong one too."""
    if place.startswith(_BUCKET):
        target = "" if settings.target == "trino" else "LAKEHOUSE_TARGET to trino and "
        return f"Set {target}S3_BUCKET to {place.removeprefix(_BUCKET)}, then run the same command again."
    target = "" if settings.target == "embedded" else "LAKEHOUSE_TARGET to embedded and "
    return (
        f"Set {target}LAKEHOUSE_HOME to {place}, then run the same command again. A home can be moved afterwards: "
        "`lakehouse adopt`."
    )


def to_empty(settings: Settings) -> str:
    """For messages: how this lakehouse becomes an empty one."""
    if settings.target == "embedded":
        return "Move LAKEHOUSE_HOME away."
    return "Empty the bucket and the catalog's database."


def after_loss(settings: Settings) -> str:
    """For messages: what to do about a file of this lakehouse that is lost."""
    return (
        "If you have a copy of it, put it back, then run the same command again. "
        f"{RESTORE if settings.target == 'embedded' else FROM_ONE_BACKUP}"
    )


def in_catalog(catalog: Catalog) -> Identity | None:
    """The identity that the catalog keeps; None before the first load."""
    try:
        found = catalog.load_namespace_properties(NAMESPACE)
    except NoSuchNamespaceError:
        return None
    return Identity(str(found[ID]), str(found[PLACE])) if {ID, PLACE} <= found.keys() else None


def beside_files(settings: Settings, catalog: Catalog) -> Identity | None:
    """The identity that lies beside the tables' files; None before the first load."""
    try:
        if settings.target == "embedded":
            text: str | bytes = (settings.home / FILE).read_bytes()
        else:
            with load_file_io(catalog.properties).new_input(_object(settings)).open() as stream:
                text = stream.read()
    except FileNotFoundError:
        return None
    try:
        found = json.loads(text)
        return Identity(str(found["id"]), str(found["place"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BoundaryError(
            f"The file {FILE} in {place_of(settings)} is damaged ({error!r}). It says which catalog the tables there "
            "belong to. No table was changed.",
            "Restore this file from a backup, or run `lakehouse adopt`, which checks all tables and writes the file "
            "again.",
        ) from error


def identify(settings: Settings, catalog: Catalog) -> None:
    """Write the identity where there is none yet. Call it when the namespaces are made.

    The catalog decides. Of first loads at once each may write another identity: the last one stays. So each reads the
    catalog again after it has written beside the files, until both are the same.
    """
    kept = in_catalog(catalog)
    if kept is None:
        write_to_catalog(catalog, Identity(str(uuid.uuid4()), place_of(settings)))
        kept = in_catalog(catalog)
    while kept is not None and beside_files(settings, catalog) != kept:
        write_beside_files(settings, catalog, kept)
        kept = in_catalog(catalog)


def write_to_catalog(catalog: Catalog, identity: Identity) -> None:
    """Set the identity in the catalog."""
    catalog.update_namespace_properties(NAMESPACE, updates=namespace_properties(identity))


def namespace_properties(identity: Identity) -> dict[str, str]:
    """The identity as properties of the namespace `raw`."""
    return {ID: identity.id, PLACE: identity.place}


def write_beside_files(settings: Settings, catalog: Catalog, identity: Identity) -> None:
    """Set the identity beside the tables' files; a reader sees the old one or the new one, whole."""
    text = (json.dumps(asdict(identity), indent=2) + "\n").encode()
    if settings.target == "embedded":
        scratch = settings.home / f".{FILE}-{uuid.uuid4().hex}"
        try:
            scratch.write_bytes(text)
            scratch.replace(settings.home / FILE)
        finally:
            scratch.unlink(missing_ok=True)
        return
    with load_file_io(catalog.properties).new_output(_object(settings)).create(overwrite=True) as stream:
        stream.write(text)


def _object(settings: Settings) -> str:
    return f"s3://{settings.s3_bucket}/iceberg/{FILE}"


def check_home(settings: Settings, table_files: Callable[[], dict[str, str]]) -> None:
    """Refuse a home on `embedded` that was copied, moved or restored in part. Reads names of files, and one small file.

    Args:
        settings: of the target `embedded`.
        table_files: asks the catalog for its tables, `schema.table`, each with its metadata file.

    Raises:
        BoundaryError: says what this folder is instead, and what to do.
    """
    home, locations = settings.home, table_files()
    own = _address(settings.warehouse_dir)
    # a path without `warehouse` is no home's: such a table is refused when it is opened
    foreign = {name: path for name, path in locations.items() if not _inside(path, own) and WAREHOUSE in path}
    if foreign:
        name, path = next(iter(sorted(foreign.items())))
        old = Path(_path(path).rpartition(WAREHOUSE)[0])
        if (old / "catalog.db").exists():
            raise BoundaryError(
                f"{home} is a copy of the lakehouse in {old}: its catalog still names files there ({name}: {path}). "
                "Nothing was read or changed.",
                ADOPT,
            )
        raise BoundaryError(
            f"The lakehouse in {home} was moved there from {old}: its catalog still names files in the old folder "
            f"({name}: {path}). Nothing was read or changed.",
            ADOPT,
        )
    if locations:
        return
    # The catalog is asked once more: another process may have loaded for the first time since it was.
    if (left := next(_tables_in(settings.warehouse_dir), None)) and not table_files():
        raise BoundaryError(
            f"The lakehouse in {home} is incomplete: {left} holds files of a table, but `catalog.db` names no table. "
            "Nothing was read or changed.",
            _NEWER_CATALOG,
        )


def _tables_in(warehouse: Path) -> Iterator[Path]:
    """Folders of tables that were committed to: the catalog knew them once."""
    for folder in sorted(warehouse.glob("*/*/metadata")):
        if any(version > 0 for version, _ in _metadata_files(folder)):
            yield folder.parent


def check_pair(settings: Settings, catalog: Catalog) -> None:
    """Refuse a catalog and a bucket (or home) that are not of one lakehouse. Call it before a write.

    What differs is read again for some seconds: others may be loading for the first time just now. See `identify`.

    Raises:
        BoundaryError: says which of the two is another lakehouse's, and what to do.
    """
    deadline = time.monotonic() + FIRST_LOADS
    while True:
        try:
            return _check_pair(settings, catalog)
        except BoundaryError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _check_pair(settings: Settings, catalog: Catalog) -> None:
    kept, beside = in_catalog(catalog), beside_files(settings, catalog)
    place = place_of(settings)
    if kept is None and (beside is None or settings.target == "embedded"):
        return  # nothing is loaded yet; in a home, `check_home` has looked at what is there
    if kept is not None and kept.place != place:
        setting = "LAKEHOUSE_HOME" if settings.target == "embedded" else "S3_BUCKET"
        raise BoundaryError(
            f"The catalog belongs to the lakehouse in {kept.place}, but {setting} names {place}. No table was changed.",
            f"Correct {setting}, or give this lakehouse a catalog of its own. If the files were moved to {place} "
            "together with their catalog, run `lakehouse adopt`.",
        )
    if kept is not None and beside is None and settings.target == "embedded":
        return  # the catalog lies in the home itself, and names this place: the next load writes the file again
    if kept != beside:
        raise BoundaryError(
            f"The catalog and the files in {place} are not of one lakehouse (catalog: {kept.id if kept else 'none'}, "
            f"files: {beside.id if beside else 'none'}): one of the two was restored, emptied or replaced without the "
            "other. No table was changed.",
            "Restore both from one backup. If they do belong together, run `lakehouse adopt`, which checks that no "
            "file is missing.",
        )


def check_writable(settings: Settings) -> None:
    """Refuse a home whose tables can't be written. A bucket says so itself, with the first request.

    Raises:
        PermissionError: names the folder.
    """
    if settings.target == "embedded" and not os.access(settings.warehouse_dir, os.W_OK):
        raise PermissionError(errno.EACCES, "not writable", str(settings.warehouse_dir))


def is_new(settings: Settings) -> bool:
    """Whether nothing is here yet; a catalog that is a service is always asked."""
    return settings.target == "embedded" and not (settings.catalog_file.exists() or settings.warehouse_dir.exists())


def check_table(settings: Settings, table: Table) -> None:
    """Refuse a table whose files are not inside this lakehouse's own home or bucket.

    Raises:
        BoundaryError: names the table and both places.
    """
    inside = _own_prefix(settings)
    for location in (table.location(), table.metadata_location):
        if not _inside(location, inside):
            raise BoundaryError(
                f"The table {'.'.join(table.name())} keeps its files in {location}, which is outside this lakehouse "
                f"({place_of(settings)}). This table was not changed.",
                "Drop this table with the tool that made it. To keep its rows, read them with that tool first, and "
                "write them with `lakehouse.write`."
                if settings.target == "embedded"
                else "Correct S3_BUCKET, or set REST_URL to a catalog that only this lakehouse uses.",
            )


def path_within(settings: Settings, location: str) -> str | None:
    """A file's path below the place of this lakehouse's tables; None for a file that lies elsewhere."""
    prefix = _own_prefix(settings)
    return location.removeprefix(prefix) if _inside(location, prefix) else None


def _own_prefix(settings: Settings) -> str:
    """What the address of each file of this lakehouse's tables begins with."""
    return _address(settings.warehouse_dir) if settings.target == "embedded" else f"s3://{settings.s3_bucket}/"


def newest_on_disk(settings: Settings, name: str) -> tuple[int, Path] | None:
    """The metadata file with the highest number in a table's folder. Ask before the catalog is asked."""
    schema, _, table = name.rpartition(".")
    return max(_metadata_files(settings.warehouse_dir / schema / table / "metadata"), default=None)


def check_not_behind(settings: Settings, table: Table, newest: tuple[int, Path] | None) -> None:
    """Refuse a catalog that is older than its tables' files: `maintain` would take the newer files for leftovers.

    Two files ahead prove it: a commit that was killed leaves one that nobody knows, and no more.

    Raises:
        BoundaryError: names both files.
    """
    known = _VERSION.fullmatch(table.metadata_location.rpartition("/")[2])
    if newest is None or known is None or newest[0] < int(known[1]) + 2:
        return
    try:
        same = json.loads(newest[1].read_bytes())["table-uuid"] == str(table.metadata.table_uuid)
    except (OSError, ValueError, KeyError):
        return  # cleaned meanwhile, or no metadata: it proves nothing
    if same:
        raise BoundaryError(
            f"`catalog.db` in {settings.home} is older than the files of the table {'.'.join(table.name())}: it names "
            f"the metadata file {known[0]}, but the newer {newest[1].name} exists. This table was not changed.",
            _NEWER_CATALOG,
        )


def _metadata_files(folder: Path) -> Iterator[tuple[int, Path]]:
    if folder.is_dir():
        for path in folder.iterdir():
            if match := _VERSION.fullmatch(path.name):
                yield int(match[1]), path


def _address(folder: Path) -> str:
    """A folder's address as the catalog writes it: not percent-encoded."""
    return f"file:///{folder.as_posix().lstrip('/')}/"


def _inside(location: str, folder: str) -> bool:
    return location.startswith(folder) and ".." not in location.split("/")


def _path(location: str) -> str:
    return "/" + location.removeprefix("file://").lstrip("/")


def own_location(settings: Settings, location: str, table: str) -> str:
    """Where a file of `table` (`schema/table`) lies in this home, also if its address names another home."""
    found = location.rpartition(f"{WAREHOUSE}{table}")
    rest = found[2]
    if not found[1] or (rest and not rest.startswith("/")):
        return location
    return f"{_address(settings.warehouse_dir)}{table}{rest}"
