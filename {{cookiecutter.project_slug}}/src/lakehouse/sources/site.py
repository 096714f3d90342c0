"""Where published files come from: the TLC's site (or a mirror of it), or a folder that somebody filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.formats import JsonLines, Parquet
from lakehouse.datasets.model import normalised
from lakehouse.datasets.registry import dataset_named
from lakehouse.errors import SourceError
from lakehouse.formats import names_at_the_head
from lakehouse.formats.protocol import ContentError
from lakehouse.progress import Progress
from lakehouse.sources.download import PATIENCE, Download, Patience
from lakehouse.sources.search import find

PARQUET = b"PAR1"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Version:
    """Which version of a file a source has: its address, and the publisher's own marks for it."""

    origin: str
    etag: str = ""
    last_modified: str = ""


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
    """The source that `TLC_SOURCE` names: a base URL or a folder.

    Raises:
        SourceError: neither.
    """
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
    if folder.is_dir():
        return FolderSource(folder)
    what = "is a file" if folder.exists() else "does not exist"
    raise SourceError(
        f"The setting TLC_SOURCE is {source!r}, but {folder.absolute()} {what}. Nothing was landed. Set it to a folder "
        "that holds published files, or to a base URL that begins with https:// or http://."
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
        download = Download(f"{self.base}/{wanted.path}", wanted.name, wanted.label, target, self.patience, progress)
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

    A landing zone is such a folder. Folders called `versions` and those whose names begin with a dot are not searched.
    """

    folder: Path

    def fetch(
        self,
        wanted: DatasetFile,
        target: Path,
        known: Version | None = None,  # noqa: ARG002 - a folder keeps no marks to compare; its bytes are
        progress: Progress | None = None,
    ) -> Version | None:
        """Copy; see `Source.fetch`."""
        with _reading(self.folder):
            found = find(self.folder, wanted)
        with _reading(found):
            before, incoming = found.stat(), found.open("rb")
        copied = 0
        with incoming, target.open("wb") as outgoing:
            while chunk := _chunk(incoming, found):
                outgoing.write(chunk)
                copied += len(chunk)
                if progress:
                    progress(copied, before.st_size)
        with _reading(found):
            after = found.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or copied != before.st_size:
            raise SourceError(
                f"{found} changed while it was copied. Nothing was landed. Wait until it is written completely, then "
                "run the same command again."
            )
        check(target, wanted, str(found))
        return Version(found.absolute().as_uri())


def check(file: Path, wanted: DatasetFile, origin: str) -> None:
    """Whether the bytes are the kind of file that was asked for, from its first byte to its last.

    Raises:
        SourceError: they are not.
    """
    size = file.stat().st_size
    with file.open("rb") as content:
        head = content.read(512)
        content.seek(max(0, size - 8))
        tail = content.read()
    page = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"
    dataset = dataset_named(wanted.dataset)
    if not isinstance(dataset.format, Parquet):
        # A line of JSON may lack what others have.
        of_json = isinstance(dataset.format, JsonLines)
        required = [column for column in dataset.columns if column.required_in(wanted.part) and not of_json]
        names = [name for column in required[:1] or dataset.columns for name in column.published_names(wanted.part)]
        try:
            with pa.OSFile(str(file), "r") as content:
                found = {normalised(name) for name in names_at_the_head(dataset.format, content)}
        except ContentError as error:
            raise SourceError(
                f"{origin} is not the file {wanted.name}: {error}. Nothing was landed; check TLC_SOURCE."
            ) from error
        except (OSError, pa.ArrowException):
            found = set()
        if not found & {normalised(name) for name in names}:
            raise SourceError(
                f"{origin} is not the file {wanted.name}: it begins with {head[:40]!r}, not with a line that names the "
                f"column {names[0]}. Nothing was landed. Check the setting TLC_SOURCE."
            )
        return
    if head[:4] != PARQUET:
        what = "a web page" if page else "no parquet file"
        raise SourceError(
            f"{origin} is {what}: its {size:,} bytes begin with {head[:24]!r}. Nothing was landed. Check the setting "
            "TLC_SOURCE, and whether a proxy or a login page answers in the server's place."
        )
    footer = int.from_bytes(tail[:4], "little")
    if size < 12 or tail[4:] != PARQUET or footer > size - 12:
        raise SourceError(
            f"{origin} is cut short: its {size:,} bytes begin as a parquet file and do not end as one. Nothing was "
            "landed. Run the same command again; if TLC_SOURCE is a folder, first put a whole copy of the file there."
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """The source's own faults, apart from those of the disk that a copy goes to."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"{error.filename or path} can't be read: {error.strerror or error}. Nothing was landed. See that it "
            "exists, that it is no broken link, and that you may read it; or set TLC_SOURCE to another folder."
        ) from error


def _chunk(incoming: BufferedReader, found: Path) -> bytes:
    with _reading(found):
        return incoming.read(CHUNK)
