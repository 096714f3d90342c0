"""The bytes of a text file, decompressed as they are read."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from typing import Any, Literal

import pyarrow as pa

from lakehouse.formats.protocol import ContentError

Compression = Literal["", "gzip", "zip", "zstd"]
# By the first bytes of a file.
MARKS: dict[bytes, Literal["gzip", "zip", "zstd"]] = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def decompressed(source: Any, compression: Compression) -> Any:
    """Open what a file holds, for reading. `source` is an open file at its beginning that can seek, and stays open.

    Raises:
        ContentError: it is compressed and must not be, or is no zip file, or one that does not hold exactly one file.
    """
    match compression:
        case "":
            head = source.read(4)
            source.seek(0)
            if kind := compression_of(head):
                or_excel = ", or `format=Excel()` for an xlsx file," if kind == "zip" else ""
                raise ContentError(
                    f"it begins as a {kind} file; expected plain text", f'Declare `compression="{kind}"`{or_excel}'
                )
            return source
        case "zip":
            return _unzipped(source)
        case other:
            return pa.CompressedInputStream(pa.PythonFile(Kept(source), "r"), other)


def compression_of(head: bytes) -> Compression:
    """How a file is compressed that begins with these bytes."""
    return next((kind for mark, kind in MARKS.items() if head.startswith(mark)), "")


def _unzipped(source: Any) -> Any:
    try:
        archive = zipfile.ZipFile(source)
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise ContentError(
                f"the zip file must hold one file, and it holds {len(names)}",
                'If the file is right, read it by a function of your own: write `format=Reader("module:function")`',
            )
        return _Unzipped(archive.open(names[0]))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, EOFError) as error:
        if isinstance(error, ContentError):
            raise
        raise ContentError(f"it can't be read as a zip file: {error}", "Correct `compression`") from error


class Kept(io.RawIOBase):
    """The same open file for a reader that closes what it reads from."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on."""
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Unzipped(Kept):
    """A file in a zip file. Damage is an `OSError`, as it is for other files; zipfile has errors of its own."""

    def readinto(self, buffer: Any) -> int:
        """Read on."""
        try:
            return super().readinto(buffer)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
            raise OSError(f"the zip file is damaged: {error}") from error
