"""Where published files come from: the TLC's site (or a mirror of it), or a folder or bucket that somebody filled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import Csv, Excel, Format, JsonLines, Parquet, Reader
from lakehouse.datasets.model import Column, normalised
from lakehouse.datasets.registry import dataset_named, declaration_of
from lakehouse.datasets.sources import Since
from lakehouse.errors import SourceError, first_line
from lakehouse.formats import names_at_the_head
from lakehouse.formats.bundle import members
from lakehouse.formats.protocol import ContentError
from lakehouse.progress import Progress
from lakehouse.settings import BUCKET_SCHEME, load_settings
from lakehouse.sources.copying import copy, copy_all, reading
from lakehouse.sources.patience import PATIENCE, Patience
from lakehouse.sources.search import find

if TYPE_CHECKING:
    from lakehouse.sources.search import AnyPath

PARQUET = b"PAR1"
MOST_SHOWN = 400  # characters of the names that a message shows


@dataclass(frozen=True)
class Version:
    """Which version of a file a source has: its address, and the publisher's own marks for it.

    `since` says where its rows begin, if it was extracted by a cursor. `found` is the file of a folder or bucket that
    was copied.
    """

    origin: str
    etag: str = ""
    last_modified: str = ""
    since: Since | None = None
    found: AnyPath | None = None


class Source(Protocol):
    """Gives published files."""

    def fetch(
        self, wanted: DatasetFile, target: Path, known: Version | None = None, progress: Progress | None = None
    ) -> Version | None:
        """Write the file to `target`, whole; None if the source still has the version `known`, and nothing is written.

        Raises:
            NotPublishedError: the source does not have this file (yet).
            UnreachableError: the source can't be asked.
            SourceError: what it gave is not the file.
        """
        ...


def open_source(source: str, patience: Patience | None = None) -> Source:
    """The source that `TLC_SOURCE` names: a base URL, a bucket or a folder.

    Raises:
        SourceError: none of them.
        SettingsError: the settings of the bucket's store can't be used.
    """
    if source.startswith(BUCKET_SCHEME):
        from lakehouse.sources.objects import open_bucket  # noqa: PLC0415 - boto3 is slow to import

        return FolderSource(open_bucket(source, load_settings()))
    try:
        parts = urlsplit(source)
    except ValueError as error:
        raise SourceError(
            f"The setting TLC_SOURCE is {source!r}, which is no valid address ({error}). Nothing was landed. Correct "
            "it."
        ) from error
    if parts.scheme in ("http", "https") and parts.netloc:
        return SiteSource(source.rstrip("/"), patience or PATIENCE)
    folder = source_folder(source)
    with reading(folder):
        is_folder, exists = folder.is_dir(), folder.exists()
    if is_folder:
        return FolderSource(folder)
    found = f"The folder {folder.absolute()}, which TLC_SOURCE names, does not exist"
    if exists:
        found = f"TLC_SOURCE names {folder.absolute()}, which is a file and not a folder"
    raise SourceError(
        f"{found}. Nothing was landed. Set TLC_SOURCE to a folder that holds published files, to a bucket "
        "(s3://bucket/folder), or to a base URL that begins with https:// or http://."
    )


def source_folder(source: str) -> Path:
    """The folder that `TLC_SOURCE` names where it is no base URL: a path, or an address that begins with `file:`."""
    parts = urlsplit(source)
    return Path(url2pathname(parts.path) if parts.scheme == "file" else source).expanduser()


@dataclass(frozen=True)
class SiteSource:
    """A site laid out as the TLC's: `{base}/trip-data/…`, `{base}/misc/taxi_zone_lookup.csv`."""

    base: str
    patience: Patience

    def fetch(
        self, wanted: DatasetFile, target: Path, known: Version | None = None, progress: Progress | None = None
    ) -> Version | None:
        """Download; see `Source.fetch`. An interrupted download goes on where it stopped, if the file is the same."""
        if dataset_named(wanted.dataset).bundled:
            raise SourceError(
                f"{wanted.label} is all files {dataset_named(wanted.dataset).pattern(wanted.part)}, and a site such as "
                f"{self.base} can't list its files. Nothing of {wanted.label} was landed. Set TLC_SOURCE to a folder "
                "or bucket that holds the files."
            )
        from lakehouse.sources.download import Download  # noqa: PLC0415 - its client of the web is slow to import

        url, trips = f"{self.base}/{wanted.path}", dataset_named(wanted.dataset).is_trips
        download = Download(url, wanted.name, wanted.label, target, self.patience, progress, is_trips=trips)
        same = (known.etag, known.last_modified) if known and known.origin == download.url else ("", "")
        marks = download.run(*same)
        if marks is None:
            return None
        try:
            check(target, wanted, download.url)
        except SourceError:
            target.unlink(missing_ok=True)
            raise
        return Version(download.url, *marks)


@dataclass(frozen=True)
class FolderSource:
    """A folder, searched with its subfolders for the published names; see `lakehouse.sources.search`.

    It is on a disk or in a bucket. A landing zone is such a folder. Folders called `versions` and those whose names
    begin with a dot are not searched.
    """

    folder: AnyPath

    def fetch(
        self,
        wanted: DatasetFile,
        target: Path,
        known: Version | None = None,
        progress: Progress | None = None,
    ) -> Version | None:
        """Copy; see `Source.fetch`. A bucket has a mark of each file, its ETag; on a disk the bytes are compared."""
        if dataset_named(wanted.dataset).bundled and (origin := copy_all(self.folder, wanted, target, progress)):
            check(target, wanted, f"the source folder {self.folder.absolute()}")
            return Version(origin)
        with reading(self.folder):
            found = find(self.folder, wanted)
        origin = found.absolute().as_uri()
        etag, modified = ("", "") if isinstance(found, Path) else found.marks()
        if known and etag and (known.origin, known.etag) == (origin, etag):
            return None
        copy(found, target, progress)
        check(target, wanted, str(found))
        return Version(origin, etag, modified, found=found)


def check(file: Path, wanted: DatasetFile, origin: str) -> None:
    """Whether the bytes are the kind of file that was asked for, from its first byte to its last.

    Raises:
        SourceError: they are not.
    """
    what = f"the file {wanted.name}"
    with pa.OSFile(str(file), "r") as source:
        if not dataset_named(wanted.dataset).bundled:
            _check(source, wanted, origin, what)
            return
        try:
            found = members(source)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(
                f"{origin} can't be used as {wanted.name}: {error}. Nothing of {wanted.label} was landed. Put a whole "
                "copy of it there. Or move it out of the source folder, and put the single files there that it was "
                "made of. Or check the setting TLC_SOURCE."
            ) from error
        for member in found:
            with member.open() as content:
                _check(content, wanted, f"{member.name} in {origin}", f"a file of {wanted.label}")


def _check(content: Any, wanted: DatasetFile, origin: str, what: str) -> None:
    """See `check`. `content` is an open file that can seek."""
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    head = content.read(512)
    content.seek(max(0, size - 8))
    tail = content.read()
    content.seek(0)
    page = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"
    nothing = f"Nothing of {wanted.label} was landed."
    dataset = dataset_named(wanted.dataset)
    if not size and not isinstance(dataset.format, Reader):  # a function may know what no bytes mean
        raise SourceError(
            f"{origin} is empty: it has 0 bytes. {nothing} Put the whole file there, or check the setting TLC_SOURCE."
        )
    if not isinstance(dataset.format, Parquet):
        # A line of JSON may lack what others have.
        of_json = isinstance(dataset.format, JsonLines)
        required = [column for column in dataset.columns if column.required_in(wanted.part) and not of_json]
        asked = required[:1] or dataset.columns
        names = {normalised(name) for column in asked for name in column.published_names(wanted.part)}
        bad = dataset.rejected_table is not None
        declaration = declaration_of(dataset)
        try:
            found = names_at_the_head(dataset.format, content, with_bad_rows=bad)
        except ContentError as error:
            declare = error.declare or "If the file is right, correct `format`"
            raise SourceError(
                f"{origin}: {error}. {nothing} {declare} in {declaration}. If the file is wrong, put the right one "
                "there, or check the setting TLC_SOURCE."
            ) from error
        except (OSError, pa.ArrowException) as error:
            said = first_line(error)
            raise SourceError(
                f"{origin} can't be read as {dataset.format.title.removesuffix(' file')}: {said}. {nothing} If it may "
                f"be damaged, put a whole copy there. If it is whole, correct `format` in {declaration}. If it is "
                "another file, put the right one there, or check the setting TLC_SOURCE."
            ) from error
        if names.isdisjoint(map(normalised, found)):
            wrong = "`header_row`, `sheet`" if isinstance(dataset.format, Excel) else "`format`"
            raise SourceError(
                f"{origin} has {_lacking(asked, wanted)}. {_found(dataset.format, found, head)}. {nothing} If it is "
                f"the right file, correct {wrong} or the names of the columns in {declaration}. If not, put the right "
                "one there, or check the setting TLC_SOURCE."
            )
        return
    if head[:4] != PARQUET:
        what = "a web page" if page else "no parquet file"
        raise SourceError(
            f"{origin} is {what}: its {size:,} bytes begin with {head[:24]!r}. {nothing} Check the setting "
            "TLC_SOURCE, and whether a proxy or a login page answers in the server's place."
        )
    footer = int.from_bytes(tail[:4], "little")
    ends = size >= 12 and tail[4:] == PARQUET
    if not ends or footer > size - 12:
        wrong = (
            f"damaged: it ends as a parquet file, but its footer would not fit into its {size:,} bytes"
            if ends
            else f"cut short: its {size:,} bytes begin as a parquet file and do not end as one"
        )
        raise SourceError(
            f"{origin} is {wrong}. {nothing} "
            "Run the same command again; if TLC_SOURCE is a folder, first put a whole copy of the file there."
        )


def _lacking(asked: Sequence[Column], wanted: DatasetFile) -> str:
    """The column that a file must have; where it may lack any of them, all, of which it has none."""
    names = [column.published_name(wanted.part) for column in asked]
    if len(names) == 1:
        return f"no column {names[0]}"
    return f"none of the columns {shorten(', '.join(names), MOST_SHOWN, placeholder=' …')}"


def _found(declared: Format, names: Sequence[str], head: bytes) -> str:
    """The names that a file has in place of those that are declared, and its first bytes if they are text."""
    shown = shorten(", ".join(map(repr, names)) or "none", MOST_SHOWN, placeholder=" …")
    if isinstance(declared, Excel):
        return f"Its names, in row {declared.header_row}, are: {shown}"
    is_text = isinstance(declared, Csv | JsonLines) and not declared.compression
    return f"Its names are: {shown}{f'; it begins with {head[:40]!r}' if is_text else ''}"
