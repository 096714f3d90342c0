"""Files: their hash, and what not every file system can do.

Where the system has no answer, that is no error; a disk's own faults stay errors. A network or container file system
may not know how to sync a folder or how to lock a file. It then says so with one of a few error numbers. A disk that is
full or broken says something else.
"""

from __future__ import annotations

import errno
import hashlib
import os
from io import BufferedReader
from pathlib import Path

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
# Of a folder: EBADF for one that is open for reading only, EACCES and EISDIR for one that can't be opened at all.
_UNSUPPORTED_FOR_FOLDERS = _UNSUPPORTED | {errno.EBADF, errno.EACCES, errno.EISDIR}
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_LOCKS = _UNSUPPORTED | {errno.ENOLCK}


def described(error: OSError, what_stopped: str) -> str:
    """An error of the system's as one message: what it says, and what that proves, and no more."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in _FULL:
        fix = "See that the disk has room (`lakehouse maintain --now` frees some in LAKEHOUSE_HOME), and try again."
    elif error.errno in _REFUSED:
        fix = "See that you may read and write it, and try again."
    else:
        fix = "Run `lakehouse doctor`, which checks what the commands need."
    return f"{where}{error.strerror or error}. {what_stopped} What was done before stays. {fix}"


def write_fix(error: OSError, rights: str = "you may write there") -> str:
    """What to do about a file that could not be written: the one thing that the error proves, else both."""
    if error.errno in _FULL:
        return "See that the disk has room"
    return f"See that {rights}{'' if error.errno in _REFUSED else ' and that the disk has room'}"


def is_unsupported(error: OSError) -> bool:
    """Whether a lock failed because the file system has no locks (NFS without its lock service says ENOLCK)."""
    return error.errno in _NO_LOCKS


def sync(descriptor: int) -> None:
    """Write an open file through to the disk, where the file system can.

    Raises:
        OSError: the disk is full or broken.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last through a power cut, where the file system can.

    Raises:
        OSError: the disk is full or broken, or the folder is gone.
    """
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED_FOR_FOLDERS:
            raise


def sha256_of(file: Path | BufferedReader) -> str:
    """SHA-256 of a file's bytes, in hex."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return sha256_of(opened)
    return hashlib.file_digest(file, "sha256").hexdigest()
