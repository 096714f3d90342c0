"""The process of dbt holds its lock until it ends."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lakehouse import dbt_process
from lakehouse.errors import LockedError
from lakehouse.locks import Lock


@pytest.mark.parametrize("has_flock", [True, False])
def test_dbt_holds_its_lock_for_as_long_as_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_flock: bool
) -> None:
    """Also where the file system has no locks, and the lock is its file."""
    lock, ran = tmp_path / "dbt.lock", []

    def without(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def cli() -> None:
        gc.collect()
        with pytest.raises(LockedError):
            Lock(lock, "dbt").acquire()
        ran.append(True)

    if not has_flock:
        monkeypatch.setattr(fcntl, "flock", without)
    monkeypatch.setitem(sys.modules, "dbt.cli.main", SimpleNamespace(cli=cli))
    monkeypatch.setattr(sys, "argv", ["dbt", "build"])
    monkeypatch.setenv(dbt_process.LOCK, str(lock))

    dbt_process.main()

    assert ran
