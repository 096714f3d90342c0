"""`lakehouse adopt`: makes a copied or moved home a whole lakehouse by rewriting the addresses in its metadata.

Iceberg names every file by its full address. On `embedded` these begin with the home's own path, so a home that lies
elsewhere names files of another folder. Every metadata file, manifest list and manifest is rewritten in place, each by
a rename; the catalog comes last. Until then the home is refused as before, so a kill at any point costs another run.
On `trino` addresses name the bucket: nothing is rewritten, and what is checked is that no file is missing.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyiceberg.avro.file import AvroFile, AvroOutputFile
from pyiceberg.catalog import Catalog
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.types import StructType

from lakehouse.errors import BoundaryError
from lakehouse.iceberg.catalog import open_catalog, open_sqlite, service_errors
from lakehouse.iceberg.files import referenced
from lakehouse.iceberg.identity import (
    BEGIN_AGAIN,
    FROM_ONE_BACKUP,
    LAYERS,
    WAREHOUSE,
    Identity,
    check_home,
    identify,
    in_catalog,
    own_location,
    place_of,
    write_beside_files,
    write_to_catalog,
)
from lakehouse.landing import bucket_objects

if TYPE_CHECKING:
    from lakehouse.settings import Settings

# Iceberg's ids of the fields that hold addresses or sizes, in manifest lists and manifests.
MANIFEST_PATH, MANIFEST_LENGTH = 500, 501
STATUS, DATA_FILE, FILE_PATH, REFERENCED_FILE = 0, 2, 100, 143
DELETED = 2
_ADDRESSES = frozenset({"location", "manifest-list", "metadata-file", "statistics-path"})


@dataclass(frozen=True)
class Adopted:
    """What `adopt` did: the identity that the lakehouse has now, and how many files of metadata were rewritten."""

    id: str
    place: str
    tables: int
    rewritten_files: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def adopt(settings: Settings) -> Adopted:
    """Make this home (or bucket) and its catalog one whole lakehouse. Safe to run again, also after a kill.

    Raises:
        BoundaryError: nothing is here, or a file that a table needs is missing; the tables are as they were.
        ServiceError: catalog or store can't be used.
    """
    if settings.target == "embedded":
        return _adopt_home(settings)
    catalog = open_catalog(settings)
    with service_errors(catalog):
        return _adopt_bucket(settings, catalog)


def _adopt_home(settings: Settings) -> Adopted:
    if not settings.catalog_file.exists():
        raise BoundaryError(
            f"There is no lakehouse in {settings.home}: it has no catalog.db. Nothing was changed.",
            "Set LAKEHOUSE_HOME to the folder that was copied or moved, or begin a new lakehouse with `lakehouse "
            "load`. If the lakehouse is in a bucket, set LAKEHOUSE_TARGET to trino.",
        )
    catalog = open_sqlite(settings)
    with service_errors(catalog):
        files = catalog.table_files()
        if not files:
            check_home(settings, catalog.table_files)
        rewriting = _Rewriting(settings)
        new = {name: rewriting.table(location) for name, location in files.items()}
        if new != files:
            catalog.point_to(new)
        kept = in_catalog(catalog)
        if kept is None or kept.place != place_of(settings):
            # A copy is another lakehouse than the one it was taken from.
            catalog.create_namespace_if_not_exists(LAYERS[0])
            kept = Identity(str(uuid.uuid4()), place_of(settings))
            write_to_catalog(catalog, kept)
        write_beside_files(settings, catalog, kept)
        return Adopted(kept.id, kept.place, len(files), rewriting.rewritten)


class _Rewriting:
    """Rewrites the addresses in the metadata of one home, and counts the files that it changed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.io = PyArrowFileIO()
        self.rewritten = 0

    def table(self, location: str) -> str:
        """Rewrite all metadata of the table whose metadata file the catalog names; gives that file's own address."""
        folder, _, _ = location.rpartition("/metadata/")
        table = folder.rpartition(WAREHOUSE)[2]

        def own(address: str) -> str:
            return own_location(self.settings, address, table)

        path = self._existing(own(location))
        try:
            metadata = json.loads(path.read_bytes())
        except ValueError as error:
            raise self._incomplete(f"{path} is damaged or only half copied ({error})") from error
        lengths: dict[str, int] = {}  # of the manifests, which snapshots share
        for snapshot in metadata.get("snapshots", ()):
            self._manifest_list(own(snapshot["manifest-list"]), own, lengths)
        for statistics in (*metadata.get("statistics", ()), *metadata.get("partition-statistics", ())):
            self._existing(own(statistics["statistics-path"]))
        changed = _with_own_addresses(metadata, own)
        if changed != metadata:
            self._replace(path, lambda scratch: scratch.write_text(json.dumps(changed), encoding="utf-8"))
        return own(location)

    def _manifest_list(self, location: str, own: Callable[[str], str], lengths: dict[str, int]) -> None:
        path = self._existing(location)
        schema, header, manifests = self._read(path)
        at, length = _position(schema.as_struct(), MANIFEST_PATH), _position(schema.as_struct(), MANIFEST_LENGTH)
        before = [(entry[at], entry[length]) for entry in manifests]
        for entry in manifests:
            entry[at] = own(entry[at])
            if entry[at] not in lengths:
                lengths[entry[at]] = self._manifest(entry[at], own)
            entry[length] = lengths[entry[at]]
        if [(entry[at], entry[length]) for entry in manifests] != before:
            self._write(path, schema, header, manifests, "manifest_file")

    def _manifest(self, location: str, own: Callable[[str], str]) -> int:
        """Rewrite one manifest; gives its length in bytes."""
        path = self._existing(location)
        schema, header, entries = self._read(path)
        struct = schema.as_struct()
        status, file = _position(struct, STATUS), _position(struct, DATA_FILE)
        data_file = schema.find_field(DATA_FILE).field_type
        assert isinstance(data_file, StructType)  # noqa: S101 - by Iceberg's specification
        places = [i for i, field in enumerate(data_file.fields) if field.field_id in (FILE_PATH, REFERENCED_FILE)]
        changed = False
        for entry in entries:
            for place in places:
                address = entry[file][place]
                if address is not None and own(address) != address:
                    entry[file][place], changed = own(address), True
            if entry[status] != DELETED:
                self._existing(entry[file][_position(data_file, FILE_PATH)])
        if changed:
            self._write(path, schema, header, entries, "manifest_entry")
        return path.stat().st_size

    def _read(self, path: Path) -> tuple[Schema, dict[str, str], list[Any]]:
        try:
            with AvroFile[Record](self.io.new_input(str(path))) as file:
                return file.schema, dict(file.header.meta), list(file)
        except (EOFError, ValueError, KeyError, zlib.error) as error:
            raise self._incomplete(f"{path} is damaged or only half copied ({error})") from error

    def _write(self, path: Path, schema: Schema, header: dict[str, str], records: list[Any], name: str) -> None:
        def write(scratch: Path) -> None:
            with AvroOutputFile[Record](self.io.new_output(str(scratch)), schema, name, metadata=header) as file:
                file.write_block(records)

        self._replace(path, write)

    def _replace(self, path: Path, write: Callable[[Path], object]) -> None:
        """Replace a file by rename, so that a kill leaves the old one or the new one, and a hard link its own."""
        scratch = path.with_name(f".adopt-{uuid.uuid4().hex}")
        try:
            write(scratch)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
        self.rewritten += 1

    def _existing(self, location: str) -> Path:
        path = Path("/" + location.removeprefix("file://").lstrip("/"))
        if not path.is_file():
            raise self._incomplete(f"{path} is missing, which a table needs")
        return path

    def _incomplete(self, what: str) -> BoundaryError:
        return BoundaryError(
            f"The lakehouse in {self.settings.home} is incomplete: {what}. No row of a table was changed.",
            f"Copy or restore the whole folder again, then run `lakehouse adopt`. {BEGIN_AGAIN}",
        )


def _position(struct: StructType, field_id: int) -> int:
    return next(i for i, field in enumerate(struct.fields) if field.field_id == field_id)


def _with_own_addresses(value: Any, own: Callable[[str], str]) -> Any:
    """A table's metadata with each address rewritten; a snapshot's summary holds the words of loads, and stays."""
    match value:
        case dict():
            return {
                key: own(item) if key in _ADDRESSES else item if key == "summary" else _with_own_addresses(item, own)
                for key, item in value.items()
            }
        case list():
            return [_with_own_addresses(item, own) for item in value]
        case _:
            return value


def _adopt_bucket(settings: Settings, catalog: Catalog) -> Adopted:
    """Check that every file which the catalog's tables need is in the bucket, and write one identity on both sides."""
    keys = set(bucket_objects(settings, "iceberg/"))
    names = list(_own_tables(catalog))
    prefix = f"s3://{settings.s3_bucket}/"
    for name in names:
        table = catalog.load_table(name)
        for path in referenced(table):
            key = path.removeprefix(prefix)
            # a load may have written it since the bucket was listed
            if key not in keys and key not in bucket_objects(settings, key):
                raise BoundaryError(
                    f"The bucket {settings.s3_bucket} is incomplete: {path} is missing, which the table {name} needs. "
                    "Nothing was changed.",
                    f"If you have a copy of this file, put it back. {FROM_ONE_BACKUP} Then run `lakehouse adopt` "
                    "again. Only if you have neither, start over as README says, and load all files again. The "
                    "history, the tags and the tables that were written from data frames are lost then.",
                )
    if not names and any(key.endswith(".metadata.json") for key in keys):
        raise BoundaryError(
            f"The catalog names no table, but the bucket {settings.s3_bucket} holds files of tables below `iceberg/`. "
            "Nothing was changed. Look first whether REST_URL and S3_BUCKET name a catalog and a bucket that belong "
            "together.",
            "If they do and you have a backup of the catalog's database that belongs to this bucket, restore it, and "
            "leave the files where they are. Only if you have none: the history, the tags and the tables that were "
            "written from data frames are lost. Move what is below `iceberg/` to another place, run `lakehouse load` "
            "for each dataset with its months or days, then `lakehouse build`.",
        )
    catalog.create_namespace_if_not_exists(LAYERS[0])
    kept = in_catalog(catalog)
    if kept is None or kept.place != place_of(settings):
        kept = Identity(str(uuid.uuid4()), place_of(settings))
        write_to_catalog(catalog, kept)
    write_beside_files(settings, catalog, kept)  # what is damaged there would stop the next line
    identify(settings, catalog)
    found = in_catalog(catalog)
    assert found is not None  # noqa: S101 - just written
    return Adopted(found.id, found.place, len(names), 0)


def _own_tables(catalog: Catalog) -> Iterator[str]:
    present = {".".join(namespace) for namespace in catalog.list_namespaces()}
    for namespace in LAYERS:
        if namespace in present:
            yield from (".".join(identifier) for identifier in catalog.list_tables(namespace))
