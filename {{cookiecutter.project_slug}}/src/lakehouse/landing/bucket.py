"""The landing zone in a bucket: `raw_data/green_trips/green_tripdata_2024-01.parquet` and so on, its record beside it.

An object appears whole or not at all, and a file counts as landed once its record is there. The order of writes makes
the rest: bytes that a later version replaces are first copied to `versions/{sha256}/`, then the data arrives, then its
record. So whatever a killed `put` leaves behind, `find` tells the state before it or the state after it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lakehouse.datasets.months import Month
from lakehouse.errors import LakehouseError, LandingError, ServiceError
from lakehouse.landing.folder import LOCK
from lakehouse.landing.record import SUFFIX, VERSIONS, again, file_name, folder_name, from_json, to_json
from lakehouse.landing.zone import Landed
from lakehouse.locks import held
from lakehouse.network import way_to

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from lakehouse.settings import Settings

PREFIX = "raw_data/"
WAREHOUSE_PREFIX = "iceberg/"  # where the catalog puts its tables
DEFAULT_REGION = "us-east-1"  # S3 refuses this region as a bucket's location, and needs every other one
CHUNK = 1 << 20
# Three tries of these stay below half a minute: a store that is away is one clear error, soon.
CONNECT_SECONDS, READ_SECONDS, TRIES = 3, 8, 3

_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket"})
_LOGIN = frozenset({"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidTokenId"})
_FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "507"})
_TRANSFER = TransferConfig(multipart_threshold=32 << 20, multipart_chunksize=16 << 20, max_concurrency=4)


class BucketLanding:
    """Landed files in the object store, with the loader's credentials. Making one asks nothing of the store."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self.endpoint = settings.s3_url
        self.access_key = settings.s3_access_key
        self._staging = settings.home / "staging"
        self._s3 = s3_client(settings)

    @property
    def staging(self) -> Path:
        """In the lakehouse's home on this machine."""
        return self._staging

    def find(self, dataset: str, month: Month | None) -> Landed | None:
        """What is landed, by its record; None where data or record is missing.

        Raises:
            LandingError: the record can't be read, or the store refuses the credentials.
            ServiceError: the store does not answer.
        """
        with self._store():
            return self._read(_key(dataset, month))

    def put(
        self,
        dataset: str,
        month: Month | None,
        file: Path,
        origin: str,
        *,
        etag: str = "",
        last_modified: str = "",
    ) -> Landed:
        """Land `file`; see `Landing.put`. The bucket is made where it is missing.

        Raises:
            LandingError: the store did not take it; what was landed before is as it was.
            ServiceError: the store does not answer.
        """
        key = _key(dataset, month)
        size, sha256 = _measure(file)
        new = Landed(
            dataset=dataset,
            month=month,
            name=file_name(dataset, month),
            uri=self._uri(key),
            size=size,
            sha256=sha256,
            origin=origin,
            landed_at=datetime.now(UTC),
            etag=etag,
            last_modified=last_modified,
        )
        with self._store():
            self.ensure_bucket()
            return self._take(new, file, key)

    @contextmanager
    def local(self, landed: Landed) -> Iterator[Path]:
        """The landed bytes in a temporary file, hashed on their way; see `Landing.local`."""
        with self._disk(landed):
            self._staging.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.TemporaryDirectory(prefix="landed-", dir=self._staging)
        with temporary as folder, ExitStack() as stack:
            path = Path(folder) / landed.name
            with self._disk(landed):
                stack.enter_context(held(path.parent / LOCK, f"The copy of {landed.name}"))
            with self._disk(landed), self._store():
                size, sha256 = self._fetch(landed, path)
            if (size, sha256) != (landed.size, landed.sha256):
                raise LandingError(
                    f"The landed file {landed.uri} has {size:,} bytes with SHA-256 {sha256[:12]}…, but {landed.size:,} "
                    f"with {landed.sha256[:12]}… were landed: it was changed after landing. Nothing was loaded from "
                    f"it. Land it again: `{again(landed)}`."
                )
            yield path

    def listing(self, *, skip_broken: bool = False) -> list[Landed]:
        """All that is landed, by dataset and month; objects without a record are not. See `Landing.listing`."""
        with self._store():
            records = [k for k in self._keys(PREFIX) if k.endswith(SUFFIX) and f"/{VERSIONS}/" not in k]
            found = [self._read(key.removesuffix(SUFFIX), broken_is_none=skip_broken) for key in records]
        return sorted((f for f in found if f), key=lambda f: (f.dataset, str(f.month or "")))

    def versions(self, dataset: str, month: Month | None) -> list[Landed]:
        """Every version kept of one file, oldest first, the current one last."""
        key = _key(dataset, month)
        folder, name = key.rsplit("/", 1)
        with self._store():
            current = self._read(key)
            kept = [self._read(k) for k in self._keys(f"{folder}/{VERSIONS}/") if k.endswith(f"/{name}")]
        earlier = [k for k in kept if k and (current is None or k.sha256 != current.sha256)]
        return sorted(earlier, key=lambda k: k.landed_at) + ([current] if current else [])

    def objects(self, prefix: str) -> list[str]:
        """Keys of all objects below `prefix`, landed or not."""
        with self._store():
            return self._keys(prefix)

    def ensure_bucket(self) -> None:
        """Make the bucket where it is missing."""
        try:
            self._s3.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if _code(error) not in _ABSENT:
                raise
            region = self._s3.meta.region_name
            if region == DEFAULT_REGION:
                self._s3.create_bucket(Bucket=self.bucket)
            else:
                place: Any = {"LocationConstraint": region}  # its stubs know the regions of Amazon only
                self._s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)

    def abort_uploads(self, before: datetime) -> list[str]:
        """Give up uploads that began before that time and never ended; their addresses.

        The store keeps and bills the parts of such an upload, and shows them in no listing. MinIO lists them by whole
        names only, and gives them up by itself after a day.

        Raises:
            LandingError: the store refuses.
            ServiceError: the store does not answer.
        """
        aborted = []
        with self._store():
            for prefix in (PREFIX, WAREHOUSE_PREFIX):
                for key, upload, begun in self._uploads(prefix):
                    if begun <= before:
                        self._s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)
                        aborted.append(self._uri(key))
        return aborted

    def _uploads(self, prefix: str) -> list[tuple[str, str, datetime]]:
        """Uploads that have not ended: key, id, and when they began."""
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
        try:
            found = [upload for page in pages for upload in page.get("Uploads", [])]
        except ClientError as error:
            if _code(error) in _ABSENT:
                return []
            raise
        return [(upload["Key"], upload["UploadId"], upload["Initiated"]) for upload in found]

    def _take(self, new: Landed, file: Path, key: str) -> Landed:
        """Upload `file`, which `new` describes, as the current version."""
        old = self._read(key, broken_is_none=True)  # such a record describes nothing that could be kept
        old_is_whole = old is not None and self._holds(key, old)
        folder, name = key.rsplit("/", 1)
        if old is not None and old_is_whole and old.sha256 == new.sha256:
            if (old.etag, old.last_modified) == (new.etag, new.last_modified):
                return old
            kept = replace(old, etag=new.etag, last_modified=new.last_modified)
            self._write(kept, key)
            return kept
        if old is not None and old_is_whole:
            earlier = f"{folder}/{VERSIONS}/{old.sha256}/{name}"
            self._write(old, earlier)  # the data last: a version without its data is none
            self._s3.copy({"Bucket": self.bucket, "Key": key}, self.bucket, earlier)
        self._s3.upload_file(str(file), self.bucket, key, ExtraArgs={"ChecksumAlgorithm": "SHA256"}, Config=_TRANSFER)
        self._write(new, key)
        for leftover in self._keys(f"{folder}/{VERSIONS}/{new.sha256}/"):  # a version that came back
            self._s3.delete_object(Bucket=self.bucket, Key=leftover)
        return new

    def _fetch(self, landed: Landed, path: Path) -> tuple[int, str]:
        key = _key(landed.dataset, landed.month)
        folder, name = key.rsplit("/", 1)
        kept = f"{folder}/{VERSIONS}/{landed.sha256}/{name}"
        where = kept if self._size(kept) is not None else key
        if self._size(where) is None:
            raise LandingError(f"The landed file {self._uri(where)} is gone. Land it again: `{again(landed)}`.")
        size, digest = 0, hashlib.sha256()
        with path.open("xb") as file:
            for chunk in self._chunks(where):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        return size, digest.hexdigest()

    def _holds(self, key: str, landed: Landed) -> bool:
        """Whether the object is what was landed: damage need not change its length."""
        if self._size(key) != landed.size:
            return False
        digest = hashlib.sha256()
        for chunk in self._chunks(key):
            digest.update(chunk)
        return digest.hexdigest() == landed.sha256

    def _chunks(self, key: str) -> Iterator[bytes]:
        yield from self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(CHUNK)

    def _read(self, key: str, *, broken_is_none: bool = False) -> Landed | None:
        try:
            record = self._s3.get_object(Bucket=self.bucket, Key=key + SUFFIX)["Body"].read()
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        if self._size(key) is None:
            return None
        try:
            return from_json(record, self._uri(key))
        except LandingError:
            if broken_is_none:
                return None
            raise

    def _write(self, landed: Landed, key: str) -> None:
        self._s3.put_object(
            Bucket=self.bucket,
            Key=key + SUFFIX,
            Body=to_json(landed),
            ContentType="application/json",
            ChecksumAlgorithm="SHA256",
        )

    def _size(self, key: str) -> int | None:
        try:
            return int(self._s3.head_object(Bucket=self.bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise

    def _keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        try:
            return [item["Key"] for page in pages for item in page.get("Contents", [])]
        except ClientError as error:
            if _code(error) in _ABSENT:
                return []
            raise

    def _uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    @contextmanager
    def _disk(self, landed: Landed) -> Iterator[None]:
        """This machine's disk that does not take a file, as an error of ours."""
        try:
            yield
        except OSError as error:
            raise LandingError(
                f"{landed.name} can't be fetched to {self._staging}: {error.strerror or error}. Nothing was loaded "
                "from it; free or repair the disk, or set LAKEHOUSE_HOME to another, and run the same command again."
            ) from error

    @contextmanager
    def _store(self) -> Iterator[None]:
        """The store's own errors as ours; each names the endpoint."""
        try:
            yield
        except LakehouseError:
            raise
        except ClientError as error:
            raise self._told(error) from error
        except (BotoCoreError, Boto3Error) as error:
            cause = error.__cause__ or error.__context__
            if isinstance(error, Boto3Error) and isinstance(cause, ClientError):
                raise self._told(cause) from error
            raise ServiceError(
                f"The object store at {way_to(self.endpoint)} does not answer ({error}). What was landed before is as "
                "it was. Start it (`make stack-up`) or correct S3_URL, then run the same command again."
            ) from error

    def _told(self, error: ClientError) -> LakehouseError:
        code = _code(error)
        if code in _LOGIN:
            return LandingError(
                f"The object store at {way_to(self.endpoint)} refuses the user {self.access_key!r} ({code}). "
                f"Correct S3_ACCESS_KEY and S3_SECRET_KEY, or give that user rights on {self.bucket}/{PREFIX}."
            )
        if code == "RequestTimeTooSkewed":
            return LandingError(
                f"The object store at {self.endpoint} refuses this machine's clock ({datetime.now(UTC):%H:%M:%S} UTC), "
                "which is far from its own. What was landed before is as it was; set the clock and run the same "
                "command again."
            )
        message = str(error.response.get("Error", {}).get("Message", ""))
        # MinIO says so beforehand with a code of its own, or in mid-write with what the system told it.
        if code in _FULL or "no space left" in message.lower():
            return LandingError(
                f"The object store at {self.endpoint} has no room left ({code}). What was landed before is as it was; "
                "free space and run the same command again."
            )
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        text = f"The object store at {way_to(self.endpoint)} answered {code}: {message}"
        if status >= 500:
            return ServiceError(f"{text}. What was landed before is as it was; run the same command again.")
        return LandingError(f"{text}. What was landed before is as it was.")


def s3_client(settings: Settings) -> S3Client:
    """A client with the loader's credentials that gives up within half a minute."""
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": TRIES, "mode": "standard"},
            s3={"addressing_style": "path"},
        ),
    )


def _key(dataset: str, month: Month | None) -> str:
    return f"{PREFIX}{folder_name(dataset)}/{file_name(dataset, month)}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _measure(file: Path) -> tuple[int, str]:
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return file.stat().st_size, digest
    except OSError as error:
        raise LandingError(f"{file} can't be read: {error.strerror or error}.") from error
