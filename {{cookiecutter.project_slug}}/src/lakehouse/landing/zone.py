"""The landing zone: published files, byte for byte, each with a record beside it. One set of rules for every store.

A file counts as landed once its record is there. The order of writes makes the rest: bytes that a later version
replaces are first copied to `versions/{sha256}/`, then the new data arrives, then its record. So `find` tells the state
before a killed `put` or the state after it:

- data without a record: not landed; the next `put` writes over it;
- new data beside the old record: the old bytes are read from `versions/`, where `local` looks first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.datasets.file import DatasetFile
from lakehouse.datasets.registry import DATASETS
from lakehouse.datasets.sources import Since
from lakehouse.errors import LandingError
from lakehouse.landing.record import SUFFIX, VERSIONS, Landed, again, from_json, to_json
from lakehouse.landing.store import Incoming, Store

# True of a load, which has changed nothing then, and of a check after it.
STAYS = "Rows of it that are in the table stay."


class Landing:
    """Landed files in a store. Any number of processes may read, and land, at once."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def staging(self) -> Path:
        """A local folder for files on their way in; it outlives the process, so a download can be resumed."""
        return self.store.staging

    def find(self, file: DatasetFile) -> Landed | None:
        """What is landed of this file; None where data or record is missing.

        Raises:
            LandingError: the record or the landing zone can't be read.
            ServiceError: the store does not answer.
        """
        with self.store.errors():
            return self._read(file.key)

    def put(
        self,
        file: DatasetFile,
        content: Path,
        origin: str,
        *,
        etag: str = "",
        last_modified: str = "",
        since: Since | None = None,
    ) -> Landed:
        """Land `content` as this file: whole or not at all.

        The same bytes again change only the publisher's own marks, and where the rows begin. Other bytes take the
        place of what was landed; the earlier version is kept, by its hash.

        Raises:
            LandingError: the store did not take it; what was landed before is as it was.
            LockedError: another process still lands a file beside it after five minutes.
            ServiceError: the store does not answer.
        """
        key = file.key
        with self.store.incoming(key, content) as incoming:
            new = Landed(
                file=file,
                uri=self.store.uri(key),
                size=incoming.size,
                sha256=incoming.sha256,
                origin=origin,
                landed_at=datetime.now(UTC),
                etag=etag,
                last_modified=last_modified,
                since=since,
            )
            return self._take(key, new, incoming)

    @contextmanager
    def local(self, landed: Landed) -> Iterator[Path]:
        """The landed bytes as a local file, for as long as the context lasts.

        `landed` may be an earlier version of a republished month. A caller that reads the bytes compares their SHA-256
        while reading; where the file is local already, only its length is compared here.

        Raises:
            LandingError: gone, or length or SHA-256 differ from what was recorded at landing.
            ServiceError: the store does not answer.
        """
        key = landed.file.key
        with self.store.errors():
            kept = _version(key, landed.sha256)
            where = kept if self.store.size(kept) is not None else key
            size = self.store.size(where)
        place = self.store.place(where)
        if size is None:
            raise LandingError(f"The landed file {place} is missing. {STAYS} Land it again: `{again(landed)}`.")
        if size != landed.size:
            raise LandingError(
                f"The landed file {place} was changed or cut short after it was landed: it has {size:,} bytes instead "
                f"of {landed.size:,}. {STAYS} Land it again: `{again(landed)}`."
            )
        with self.store.local(where) as (path, sha256):
            if sha256 is not None and sha256 != landed.sha256:
                raise LandingError(
                    f"The landed file {place} was changed after it was landed: its SHA-256 is {sha256[:12]}… instead "
                    f"of {landed.sha256[:12]}…. {STAYS} Land it again: `{again(landed)}`."
                )
            yield path

    def listing(self, *, skip_broken: bool = False) -> list[Landed]:
        """What is landed of the datasets that are declared, by dataset and part.

        With `skip_broken`, a record that can't be read is left out.

        Raises:
            LandingError: a record or the landing zone can't be read.
            ServiceError: the store does not answer.
        """
        return self.contents(skip_broken=skip_broken)[0]

    def contents(self, *, skip_broken: bool = False) -> tuple[list[Landed], list[str]]:
        """The same, and the names of datasets of which files are landed, but which are declared no more."""
        with self.store.errors():
            records = [key for key in self.store.listed() if key.endswith(SUFFIX) and key.count("/") == 1]
            found = [self._read(key.removesuffix(SUFFIX), broken_is_none=skip_broken) for key in sorted(records)]
        landed = sorted((one for one in found if one), key=lambda one: (one.file.dataset, str(one.file.part or "")))
        declared = [one for one in landed if one.file.dataset in DATASETS]
        return declared, sorted({one.file.dataset for one in landed} - DATASETS.keys())

    def versions(self, file: DatasetFile) -> list[Landed]:
        """Every version kept of one file, oldest first, the current one last.

        Raises:
            LandingError: a record or the landing zone can't be read.
            ServiceError: the store does not answer.
        """
        key = file.key
        folder, name = key.rsplit("/", 1)
        with self.store.errors():
            current = self._read(key)
            kept = [self._read(k) for k in self.store.listed(f"{folder}/{VERSIONS}/") if k.endswith(f"/{name}")]
        earlier = [one for one in kept if one and (current is None or one.sha256 != current.sha256)]
        return sorted(earlier, key=lambda one: one.landed_at) + ([current] if current else [])

    def prune(self, keep: int) -> list[Landed]:
        """Remove the earlier versions of each landed file, but not the newest `keep` of them; give what was removed.

        `keep` is 1 or more: the newest earlier version may be what a killed `put` left of the current one.

        Raises:
            LandingError: a record or the landing zone can't be read, or the store does not let go of a file.
            ServiceError: the store does not answer.
        """
        by_file: dict[tuple[str, str], list[str]] = {}
        with self.store.errors():
            for key in self.store.listed():
                folder, _, version = key.partition(f"/{VERSIONS}/")
                if version and not key.endswith(SUFFIX):
                    by_file.setdefault((folder, version.partition("/")[2]), []).append(key)
            removed = []
            for keys in by_file.values():
                if len(keys) <= keep:
                    continue
                kept = [(one, key) for key in keys if (one := self._read(key, broken_is_none=True))]
                for old, key in sorted(kept, key=lambda pair: pair[0].landed_at)[:-keep]:
                    self._remove_version(key)
                    removed.append(old)
        return removed

    def _remove_version(self, key: str) -> None:
        try:
            self.store.delete(key)  # the data first: see `_keep`
            self.store.delete(key + SUFFIX)
        except OSError as error:
            raise LandingError(
                f"The earlier version {self.store.place(key)} of a landed file could not be removed: "
                f"{error.strerror or error}. What was removed before stays removed. No current file was touched. See "
                "that you may write there, then run the same command again."
            ) from error

    def _take(self, key: str, new: Landed, incoming: Incoming) -> Landed:
        """Make the incoming bytes, which `new` describes, the current version."""
        old = self._read(key, broken_is_none=True)  # a broken record describes nothing that could be kept
        old = old if old and self._holds(key, old) else None
        if old and old.sha256 == new.sha256:
            self._drop_version(key, new.sha256)
            if (old.etag, old.last_modified, old.since) == (new.etag, new.last_modified, new.since):
                return old
            origin = old.origin if old.since == new.since else new.origin
            marked = replace(old, origin=origin, etag=new.etag, last_modified=new.last_modified, since=new.since)
            self.store.write(key + SUFFIX, to_json(marked))
            return marked
        if old:
            self._keep(key, old)
        self.store.take(key, incoming)
        self.store.write(key + SUFFIX, to_json(new))
        self._drop_version(key, new.sha256)
        return new

    def _keep(self, key: str, old: Landed) -> None:
        """Keep the current bytes under their hash. The data last: a version without its data is none."""
        version = _version(key, old.sha256)
        if self._holds(version, old):
            return
        self.store.write(version + SUFFIX, to_json(old))
        self.store.copy(key, version)

    def _drop_version(self, key: str, sha256: str) -> None:
        """A version that came back is the current one, and lies in one place. The data first: see `_keep`."""
        version = _version(key, sha256)
        # Asked first: a bucket with versioning notes every delete, also of what is not there.
        if self.store.size(version) is not None or self.store.size(version + SUFFIX) is not None:
            self.store.delete(version)
            self.store.delete(version + SUFFIX)

    def _holds(self, key: str, landed: Landed) -> bool:
        """Whether these are the bytes that were landed: damage need not change their length."""
        return self.store.size(key) == landed.size and self.store.sha256(key) == landed.sha256

    def _read(self, key: str, *, broken_is_none: bool = False) -> Landed | None:
        record = self.store.read(key + SUFFIX)
        if record is None or self.store.size(key) is None:
            return None
        try:
            return from_json(record, self.store.uri(key))
        except LandingError:
            if broken_is_none:
                return None
            raise


def _version(key: str, sha256: str) -> str:
    folder, name = key.rsplit("/", 1)
    return f"{folder}/{VERSIONS}/{sha256}/{name}"
