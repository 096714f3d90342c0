"""Files in a bucket, searched like files in a folder: `s3://bucket/folder`, where each `/` of a name begins a folder.

An object appears whole. What a listing found is read by its ETag, so a reader gets the bytes of that listing or an
error, also where the connection was cut in between.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    LoginError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from lakehouse.errors import ChangedError, SourceError, UnreachableError
from lakehouse.network import way_to
from lakehouse.s3 import LOGIN, TRIES, client, code_of
from lakehouse.settings import Settings, bucket_and_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUFFER = 1 << 20
# A hundred requests. A listing of more would outlast a tick of the sensor.
MOST_OBJECTS = 100_000

_NO_KEYS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_REPLACED = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404"})


@dataclass(frozen=True)
class ObjectStat:
    """What a listing says of an object: its size in bytes, its ETag, and when it was written."""

    st_size: int
    etag: str
    modified: datetime

    @property
    def st_mtime_ns(self) -> int:
        """When it was written, in nanoseconds since 1970. Stores keep whole seconds at times."""
        return int(self.modified.timestamp() * 1e9)


@dataclass(frozen=True)
class ObjectPath:
    """An object, or a folder: what stands before a `/` in the names of objects. It has the methods of a `Path`.

    Only what a `walk` found has objects in it. The address that a walk begins at is a folder.
    """

    bucket: Bucket = field(compare=False, repr=False)
    address: str
    facts: ObjectStat | None = field(default=None, compare=False, repr=False)
    parent: ObjectPath | None = field(default=None, compare=False, repr=False)
    children: dict[str, ObjectPath] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> ObjectPath:
        return self.children.get(name) or ObjectPath(self.bucket, f"{self.address}/{name}", parent=self)

    @property
    def name(self) -> str:
        """What stands behind the last `/`."""
        return self.address.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the name, such as `.csv`."""
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> ObjectPath:
        """What the same folder has by another name."""
        return self.parent / name if self.parent else ObjectPath(self.bucket, self.address)

    def absolute(self) -> ObjectPath:
        """Itself."""
        return self

    def as_uri(self) -> str:
        """Its address."""
        return self.address

    def is_file(self) -> bool:
        """Whether it is an object."""
        return self.facts is not None

    def exists(self) -> bool:
        """Whether it is an object, or has objects in it."""
        return self.is_file() or bool(self.children)

    def iterdir(self) -> Iterator[ObjectPath]:
        """What is in a folder."""
        return iter(self.children.values())

    def stat(self) -> ObjectStat:
        """What the listing said of it.

        Raises:
            SourceError: it is no object.
        """
        if self.facts is None:
            raise SourceError(f"{self} is no file in the bucket. Nothing of it was landed. Run the same command again.")
        return self.facts

    def open(self, mode: str = "rb") -> io.BufferedReader:  # noqa: ARG002 - nothing is written to a source
        """Read its bytes; where the connection is cut, they go on at the same place.

        Raises:
            UnreachableError: the store does not answer, now or while it is read.
            ChangedError: it was replaced or removed since it was listed.
        SourceError: the store refuses to give it.
        """
        return io.BufferedReader(_Reading(self), BUFFER)

    def marks(self) -> tuple[str, str]:
        """ETag and Last-Modified, as a web server would send them."""
        facts = self.stat()
        return facts.etag, format_datetime(facts.modified.astimezone(UTC), usegmt=True)

    def walk(self) -> Iterator[tuple[ObjectPath, list[str], list[str]]]:
        """As `os.walk` from the top down: folders, and names of folders and files in each. Lists the bucket again.

        Raises:
            UnreachableError: the store does not answer.
            SourceError: it refuses, there is no such bucket, or it has too many objects here.
        """
        todo = [self.bucket.tree(self)]
        while todo:
            here = todo.pop()
            folders = [name for name, child in here.children.items() if not child.is_file()]
            yield here, folders, [name for name, child in here.children.items() if child.is_file()]
            todo += [here / name for name in reversed(folders)]


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the settings that say where its store is. Making one asks nothing of the store."""

    name: str
    settings: Settings = field(repr=False)

    @cached_property
    def s3(self) -> S3Client:
        """A client with the keys of the settings; without any, with those that AWS's own tools find."""
        key, secret = self.settings.source_s3_access_key, self.settings.source_s3_secret_key.get_secret_value()
        return client(self.settings.source_s3_url, self.settings.source_s3_region, key or None, secret or None)

    def tree(self, top: ObjectPath) -> ObjectPath:
        """`top` with all objects below it, in one listing. A name that ends with `/` stands for an empty folder."""
        root = ObjectPath(self, top.address)
        for key, facts in self._objects(f"{top}/".removeprefix(f"s3://{self.name}/")):
            *folders, name = key.split("/")
            here = root
            for folder in folders:
                found = here.children.get(folder)
                # Some tools write an empty object in a folder's name. Any other object keeps its name to itself.
                if found is None or (found.facts and not found.facts.st_size):
                    found = here.children[folder] = ObjectPath(self, f"{here}/{folder}", parent=here)
                here = found
            if name and not here.is_file():
                here.children.setdefault(name, ObjectPath(self, f"{here}/{name}", facts, here))
        return root

    def read(self, path: ObjectPath, begin: int) -> Any:
        """The body of an object from this byte on, if it still has its ETag."""
        key = path.address.removeprefix(f"s3://{self.name}/")
        rest: Any = {"Range": f"bytes={begin}-"} if begin else {}
        return self.s3.get_object(Bucket=self.name, Key=key, IfMatch=path.stat().etag, **rest)["Body"]

    def _objects(self, prefix: str) -> Iterator[tuple[str, ObjectStat]]:
        """Names without the prefix, and what the store says of each."""
        count = 0
        with self.errors():
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for item in page.get("Contents", []):
                    count += 1
                    if count > MOST_OBJECTS:
                        raise SourceError(
                            f"s3://{self.name}/{prefix} has more than {MOST_OBJECTS:,} objects, too many to search. "
                            "What landed before stays. Set TLC_SOURCE to a folder in it with fewer."
                        )
                    yield item["Key"].removeprefix(prefix), ObjectStat(item["Size"], item["ETag"], item["LastModified"])

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Report the store's errors as ours; each names the store and the bucket."""
        store = f"The object store at {way_to(self.settings.source_s3_url)}"
        try:
            yield
        except ClientError as error:
            code, message = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
            if code == "NoSuchBucket":
                raise SourceError(
                    f"{store} has no bucket {self.name!r}. What landed before stays. TLC_SOURCE names the bucket, and "
                    "SOURCE_S3_URL the store. Correct the one that is wrong, then run the same command again."
                ) from error
            if code in _EXPIRED:
                what = f"{store} refuses the login at the bucket {self.name!r}, which has expired"
                raise self._expired(what, code) from error
            if code == "RequestTimeTooSkewed":
                raise SourceError(
                    f"{store} refuses requests from this machine, because its clock ({datetime.now(UTC):%H:%M:%S} UTC) "
                    "is far from the store's own. What landed before stays. Set the clock, then run the same command "
                    "again."
                ) from error
            if code == "InvalidObjectState":
                raise SourceError(
                    f"{store} has a file of the bucket {self.name!r} in an archive, where it can't be read ({code}). "
                    "Nothing of it was landed. Restore the file there first, then run the same command again."
                ) from error
            if code in LOGIN:
                key = self.settings.source_s3_access_key
                found_keys = "the keys that AWS's own tools find on this machine"
                raise SourceError(
                    f"{store} refuses {f'the user {key!r}' if key else found_keys} at the bucket {self.name!r} "
                    f"({code}). What landed before stays. Set SOURCE_S3_ACCESS_KEY and SOURCE_S3_SECRET_KEY to a user "
                    "that may list the bucket and read its objects."
                ) from error
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            kind, fix = (
                (UnreachableError, "Run the same command again")
                if status >= 500
                else (SourceError, "Check SOURCE_S3_URL and SOURCE_S3_REGION")
            )
            raise kind(
                f"{store} answered {code} for the bucket {self.name!r}: {message.rstrip('.')}. What landed before "
                f"stays. {fix}."
            ) from error
        except _NO_KEYS as error:
            raise SourceError(
                f"No complete login for the source bucket {self.name!r} was found ({str(error).rstrip('.')}). What "
                "landed before stays. Set SOURCE_S3_ACCESS_KEY and SOURCE_S3_SECRET_KEY in .env, or AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY. Then run the same command again."
            ) from error
        except (SSOError, LoginError, TokenRetrievalError) as error:
            what = f"The login for the source bucket {self.name!r} has expired, or can't be read"
            raise self._expired(what, str(error).strip(" .")) from error
        except FlexibleChecksumError as error:
            raise UnreachableError(
                f"What {store[0].lower()}{store[1:]} sent of the bucket {self.name!r} has a wrong checksum "
                f"({str(error).rstrip('.')}). Nothing of it was landed. Run the same command again."
            ) from error
        except BotoCoreError as error:
            raise UnreachableError(
                f"{store} does not answer for the bucket {self.name!r} ({str(error).rstrip('.')}). What landed before "
                "stays. Start the store, or correct its address in SOURCE_S3_URL. Then run the same command again."
            ) from error

    def _expired(self, what: str, said: str) -> SourceError:
        return SourceError(
            f"{what} ({said}). What landed before stays. Log in again, for example with `aws sso login`, or set "
            "SOURCE_S3_ACCESS_KEY and SOURCE_S3_SECRET_KEY. Then run the same command again."
        )


class _Reading(io.RawIOBase):
    """The bytes of an object, in order. A cut connection is made again, up to three times without a byte."""

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self._at = 0
        self._body: Any = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next; 0 at the end."""
        view = memoryview(buffer)
        with self._path.bucket.errors():
            chunk = self._next(len(view))
        view[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)

    def close(self) -> None:
        """Give back the connection."""
        self._forget()
        super().close()

    def _next(self, count: int) -> bytes:
        for left in reversed(range(TRIES)):
            try:
                self._body = self._body or self._path.bucket.read(self._path, self._at)
                return bytes(self._body.read(count))
            except FlexibleChecksumError:
                raise  # all of it came, and some of it is wrong: no part of it can be kept
            except ClientError as error:
                if code_of(error) in _REPLACED:
                    raise ChangedError(
                        f"{self._path} was replaced or removed while it was copied. Nothing of it was landed. Run the "
                        "same command again."
                    ) from error
                raise
            except BotoCoreError:
                self._forget()
                if not left:
                    raise
        raise AssertionError

    def _forget(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def open_bucket(address: str, settings: Settings) -> ObjectPath:
    """The folder of a bucket that an address `s3://bucket/folder` names; nothing is asked yet."""
    name, prefix = bucket_and_prefix(address)
    return ObjectPath(Bucket(name, settings), f"s3://{name}/{prefix}".rstrip("/"))
