"""A table's own tree, as Iceberg keeps it: metadata file → snapshot → manifest list → manifests → data files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestEntryStatus
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import PrimitiveType
from rich.markup import escape
from rich.tree import Tree as RichTree

from lakehouse.iceberg.refs import load_table, version_of

_AS_IT_IS: IdentityTransform[Any] = IdentityTransform()
SHOWN_FILES = 12
SHOWN_BOUNDS = ("file_month", "file_row", "pickup_datetime", "pickup_at", "pickup_date", "location_id")


@dataclass(frozen=True)
class FileNode:
    """A live data (or delete) file: what the manifest says of it, so that queries can pass it by unopened."""

    path: str
    content: str
    partition: Mapping[str, str]
    rows: int
    bytes: int
    bounds: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class ManifestNode:
    """A manifest: a list of files, written by one snapshot and shared by all later ones that keep them."""

    path: str
    content: str
    bytes: int
    added_by: int
    added_files: int
    existing_files: int
    deleted_files: int
    files: tuple[FileNode, ...]


@dataclass(frozen=True)
class TableTree:
    """One version of a table, from its metadata file down to its data files."""

    table: str
    metadata_file: str
    metadata_bytes: int
    older_metadata_files: int
    format_version: int
    schema_id: int
    columns: int
    refs: Mapping[str, int]
    snapshots: int
    snapshot_id: int | None
    parent_id: int | None
    committed_at: datetime | None
    operation: str
    summary: Mapping[str, str]
    manifest_list: str
    manifest_list_bytes: int
    manifests: tuple[ManifestNode, ...]

    @property
    def files(self) -> int:
        """Live files of the version."""
        return sum(len(manifest.files) for manifest in self.manifests)

    @property
    def rows(self) -> int:
        """Rows in its live data files."""
        return sum(f.rows for manifest in self.manifests for f in manifest.files if f.content == "data")

    @property
    def bytes(self) -> int:
        """Bytes of its live files."""
        return sum(f.bytes for manifest in self.manifests for f in manifest.files)

    def as_dict(self) -> dict[str, Any]:
        """The tree in JSON's types; times are ISO 8601, in UTC."""
        found = asdict(self) | {"files": self.files, "rows": self.rows, "bytes": self.bytes}
        found["committed_at"] = self.committed_at.isoformat() if self.committed_at else None
        return found

    def renderable(self) -> RichTree:
        """The tree for a terminal."""
        older = f", {self.older_metadata_files} older ones are kept" if self.older_metadata_files else ""
        root = RichTree(f"[bold]{escape(self.table)}[/bold]  format v{self.format_version}, {self.columns} columns")
        metadata = root.add(
            f"metadata file [cyan]{escape(_name(self.metadata_file))}[/cyan]  {size(self.metadata_bytes)}{older}; "
            f"{self.snapshots} snapshots"
        )
        for ref, snapshot_id in self.refs.items():
            metadata.add(f"ref [magenta]{escape(ref)}[/magenta] → {snapshot_id}")
        if self.snapshot_id is None or self.committed_at is None:
            metadata.add("no snapshot yet: the table is empty")
            return root
        snapshot = metadata.add(
            f"snapshot [yellow]{self.snapshot_id}[/yellow]  {self.operation}, "
            f"{self.committed_at:%Y-%m-%d %H:%M:%S} UTC, {self.rows:,} rows in {self.files} files, {size(self.bytes)}"
        )
        manifests = snapshot.add(
            f"manifest list [cyan]{escape(_name(self.manifest_list))}[/cyan]  {size(self.manifest_list_bytes)}"
        )
        for manifest in self.manifests:
            branch = manifests.add(
                f"{manifest.content} manifest [cyan]{escape(_name(manifest.path))}[/cyan]  {size(manifest.bytes)}, "
                f"by snapshot {manifest.added_by}: {manifest.added_files} added, {manifest.existing_files} kept, "
                f"{manifest.deleted_files} deleted"
            )
            for file in manifest.files[:SHOWN_FILES]:
                node = branch.add(f"[green]{escape(_name(file.path))}[/green]  {file.rows:,} rows, {size(file.bytes)}")
                for column in SHOWN_BOUNDS:
                    if column in file.bounds:
                        low, high = file.bounds[column]
                        node.add(f"{column}: {escape(low)} … {escape(high)}")
            if len(manifest.files) > SHOWN_FILES:
                branch.add(f"… and {len(manifest.files) - SHOWN_FILES} more files")
        return root


def tree(catalog: Catalog, table: str, as_of: str | None = None) -> TableTree:
    """The tree of a table as it is, or as of a version.

    Args:
        catalog: the Iceberg catalog.
        table: `schema.table`.
        as_of: a snapshot id, a ref, a time, or `TABLE@SNAPSHOT`.

    Raises:
        QueryError: no such table or version.
    """
    found = load_table(catalog, table)
    metadata = found.metadata
    snapshot = found.snapshot_by_id(version_of(found, as_of)) if as_of else found.current_snapshot()
    schema = _schema_of(found, snapshot)
    said = snapshot.summary if snapshot else None
    return TableTree(
        table=table,
        metadata_file=found.metadata_location,
        metadata_bytes=_length(found, found.metadata_location),
        older_metadata_files=len(metadata.metadata_log),
        format_version=metadata.format_version,
        schema_id=schema.schema_id,
        columns=len(schema.fields),
        refs={name: ref.snapshot_id for name, ref in sorted(metadata.refs.items())},
        snapshots=len(metadata.snapshots),
        snapshot_id=snapshot.snapshot_id if snapshot else None,
        parent_id=snapshot.parent_snapshot_id if snapshot else None,
        committed_at=_utc(snapshot.timestamp_ms) if snapshot else None,
        operation=said.operation.value if said else "",
        summary=dict(said.additional_properties) if said else {},
        manifest_list=snapshot.manifest_list if snapshot else "",
        manifest_list_bytes=_length(found, snapshot.manifest_list) if snapshot else 0,
        manifests=_manifests(found, snapshot, schema) if snapshot else (),
    )


def _schema_of(table: Table, snapshot: Snapshot | None) -> Schema:
    if snapshot is None or snapshot.schema_id is None:
        return table.schema()
    return table.schemas()[snapshot.schema_id]


def _manifests(table: Table, snapshot: Snapshot, schema: Schema) -> tuple[ManifestNode, ...]:
    nodes = []
    for manifest in snapshot.manifests(table.io):
        entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
        live = [entry.data_file for entry in entries if entry.status != ManifestEntryStatus.DELETED]
        spec = table.specs()[manifest.partition_spec_id]
        nodes.append(
            ManifestNode(
                path=manifest.manifest_path,
                content=manifest.content.name.lower(),
                bytes=manifest.manifest_length,
                added_by=manifest.added_snapshot_id or 0,
                added_files=manifest.added_files_count or 0,
                existing_files=manifest.existing_files_count or 0,
                deleted_files=manifest.deleted_files_count or 0,
                files=tuple(_file(file, spec, schema) for file in live),
            )
        )
    return tuple(nodes)


def _file(file: DataFile, spec: PartitionSpec, schema: Schema) -> FileNode:
    bounds = {}
    for field in schema.fields:
        kind = field.field_type
        ends = [(side or {}).get(field.field_id) for side in (file.lower_bounds, file.upper_bounds)]
        if isinstance(kind, PrimitiveType) and ends[0] is not None and ends[1] is not None:
            low, high = (_AS_IT_IS.to_human_string(kind, from_bytes(kind, end)) for end in ends if end is not None)
            bounds[field.name] = (low, high)
    return FileNode(
        path=file.file_path,
        content=file.content.name.lower().replace("_", " "),
        partition={
            part.name: part.transform.to_human_string(
                part.transform.result_type(schema.find_type(part.source_id)), file.partition[i]
            )
            for i, part in enumerate(spec.fields)
        },
        rows=file.record_count,
        bytes=file.file_size_in_bytes,
        bounds=bounds,
    )


def _length(table: Table, location: str) -> int:
    return len(table.io.new_input(location))


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def size(count: int) -> str:
    """Bytes for a reader: `1.4 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError
