"""Bundles: the files that are one part together, in one uncompressed zip file. Equal files make equal bytes.

Each file is in it byte for byte and in one piece, so it is read from there as from a file of its own.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lakehouse.datasets.model import Dataset
from lakehouse.formats import count_rows
from lakehouse.formats.protocol import ContentError

# What a zip file says of a file right before its bytes: 26 bytes, then how long its name and the extra field are.
_LOCAL_HEADER = struct.Struct("<26xHH")
_ENCRYPTED = 0x1
_UTF8 = 0x800
_UNIX = 3


@dataclass(frozen=True)
class Member:
    """A file in a bundle. `size` is in bytes; `crc` is zip's checksum."""

    name: str
    size: int
    crc: int
    _start: int
    _bundle: Any

    @property
    def end(self) -> int:
        """Where its bytes end in the bundle."""
        return self._start + self.size

    def open(self) -> io.BufferedReader:
        """The file, open for reading; it can seek. Closing it leaves the bundle open."""
        return io.BufferedReader(_Piece(self._bundle, self._start, self.size), 1 << 20)

    def check(self) -> None:
        """Read it once, and compare it with its checksum.

        Raises:
            ContentError: it has other bytes than when the bundle was made.
        """
        found = 0
        with closing(self.open()) as file:
            while chunk := file.read(1 << 20):
                found = zlib.crc32(chunk, found)
        if found != self.crc:
            raise ContentError("it is damaged: its bytes do not have the checksum that the bundle says")


def entry(name: str, size: int) -> zipfile.ZipInfo:
    """What a bundle says of a file: its name and size, and never when, where or by whom it was written."""
    made = zipfile.ZipInfo(name)  # without a time it is 1980-01-01
    made.file_size = size
    made.create_system = _UNIX
    made.external_attr = 0o644 << 16
    return made


def members(bundle: pa.NativeFile) -> list[Member]:
    """The files in an open bundle, in the order of their names.

    Raises:
        pa.ArrowInvalid: it is no bundle: no zip file, or one that is compressed, encrypted, empty or damaged.
    """
    try:
        with zipfile.ZipFile(_Piece(bundle, 0, bundle.size())) as archive:
            found = list(_in_one_piece(bundle, archive))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, EOFError, struct.error) as error:
        if isinstance(error, pa.ArrowInvalid):
            raise
        raise pa.ArrowInvalid(f"it can't be read as a zip file: {error}") from error
    if len({member.name for member in found}) < max(len(found), 1):
        raise ContentError("the bundle has no file, or two of one name; expected the files of one part")
    return sorted(found, key=lambda member: member.name)


def rows_of(dataset: Dataset, source: pa.NativeFile) -> int:
    """How many rows a landed file of a dataset has, or all files of a bundle have.

    Raises:
        pa.ArrowException, OSError: it is damaged, or no such file.
    """
    bad = dataset.rejected_table is not None
    if not dataset.bundled:
        return count_rows(dataset.format, source, with_bad_rows=bad)
    total = 0
    for member in members(source):
        with naming(member), closing(member.open()) as file:
            total += count_rows(dataset.format, file, with_bad_rows=bad)
    return total


@contextmanager
def naming(member: Member) -> Iterator[None]:
    """Errors of reading a file of a bundle, with its name."""
    try:
        yield
    except ContentError as error:
        raise ContentError(f"{member.name}: {error}", error.declare) from error
    except pa.ArrowException as error:
        raise pa.ArrowInvalid(f"{member.name}: {error}") from error
    except OSError as error:
        raise OSError(f"{member.name}: {error}") from error


def _in_one_piece(bundle: Any, archive: zipfile.ZipFile) -> Iterator[Member]:
    """The files in the order of their bytes.

    Raises:
        ContentError: the list of files leaves some bytes out: a damaged list may lack a file.
    """
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        member = _member(bundle, info)
        if info.header_offset != end:
            break
        yield member
        end = member.end
    if end != archive.start_dir:
        raise ContentError("the bundle's list of files is damaged: it does not say what all bytes are")


def _member(bundle: Any, info: zipfile.ZipInfo) -> Member:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
        raise ContentError(f"the bundle has {info.filename} compressed or encrypted; expected it as it is")
    place = info.header_offset + _LOCAL_HEADER.size
    length, more = _LOCAL_HEADER.unpack(bundle.read_at(_LOCAL_HEADER.size, info.header_offset))
    name = bundle.read_at(length, place).decode("utf-8" if info.flag_bits & _UTF8 else "cp437", errors="replace")
    if name != info.orig_filename:
        raise ContentError(f"the bundle calls one file both {info.filename!r} and {name!r}; it is damaged")
    member = Member(info.filename, info.file_size, info.CRC, place + length + more, bundle)
    if member.end > bundle.size():
        raise ContentError(
            f"the bundle's list of files is damaged: by it, {info.filename} would end after the bundle does"
        )
    return member


class _Piece(io.RawIOBase):
    """Some bytes of an open file, as a file. Readers may read ahead in threads, so it keeps a place of its own."""

    def __init__(self, source: Any, start: int, size: int) -> None:
        self._source, self._start, self._size, self._place = source, start, size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on."""
        count = max(0, min(len(buffer), self._size - self._place))
        data = self._source.read_at(count, self._start + self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(f"can't seek to {base + offset}")
        self._place = base + offset
        return self._place
