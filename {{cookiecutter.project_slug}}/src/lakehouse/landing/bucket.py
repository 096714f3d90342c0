"""The landing zone in a bucket: `raw_data/green_trips/green_tripdata_2024-01.parquet` and so on, its record beside it.

An object appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

from lakehouse.errors import LakehouseError, LandingError, ServiceError
from lakehouse.filesystem import write_fix
from lakehouse.landing.store import LOCK, Incoming
from lakehouse.landing.zone import STAYS, Landing
from lakehouse.locks import held
from lakehouse.network import way_to
from lakehouse.s3 import ABSENT, LOGIN, client, code_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from lakehouse.settings import Settings

PREFIX = "raw_data/"
WAREHOUSE_PREFIX = "iceberg/"  # where the catalog puts its tables
DEFAULT_REGION = "us-east-1"  # S3 refuses this region as a bucket's location, and needs every other one
CHUNK = 1 << 20

_FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "507"})
_TRANSFER = TransferConfig(multipart_threshold=32 << 20, multipart_chunksize=16 << 20, max_concurrency=4)


class BucketStore:
    """Objects below `raw_data/`, with the loader's credentials; see `Store`. Making one asks nothing of the store."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self.endpoint = settings.s3_url
        self.access_key = settings.s3_access_key
        self.s3 = s3_client(settings)
        self._staging = settings.home / "staging"

    @property
    def staging(self) -> Path:
        """In the lakehouse's home on this machine."""
        return self._staging

    @contextmanager
    def incoming(self, key: str, file: Path) -> Iterator[Incoming]:  # noqa: ARG002 - a bucket has no lock
        """Measure `file`, and make the bucket where it is missing; see `Store.incoming`."""
        size, sha256 = _measure(file)
        with self.errors():
            self.ensure_bucket()
            yield Incoming(file, size, sha256)

    def take(self, key: str, incoming: Incoming) -> None:
        """See `Store.take`."""
        self.s3.upload_file(
            str(incoming.path), self.bucket, PREFIX + key, ExtraArgs={"ChecksumAlgorithm": "SHA256"}, Config=_TRANSFER
        )

    def write(self, key: str, content: bytes) -> None:
        """See `Store.write`."""
        self.s3.put_object(
            Bucket=self.bucket,
            Key=PREFIX + key,
            Body=content,
            ContentType="application/json",
            ChecksumAlgorithm="SHA256",
        )

    def copy(self, key: str, target: str) -> None:
        """See `Store.copy`."""
        self.s3.copy({"Bucket": self.bucket, "Key": PREFIX + key}, self.bucket, PREFIX + target)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self.s3.delete_object(Bucket=self.bucket, Key=PREFIX + key)

    def read(self, key: str) -> bytes | None:
        """See `Store.read`."""
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=PREFIX + key)["Body"].read()
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise

    def size(self, key: str) -> int | None:
        """See `Store.size`."""
        try:
            return int(self.s3.head_object(Bucket=self.bucket, Key=PREFIX + key)["ContentLength"])
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise

    def sha256(self, key: str) -> str | None:
        """See `Store.sha256`."""
        digest = hashlib.sha256()
        try:
            for chunk in self._chunks(key):
                digest.update(chunk)
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise
        return digest.hexdigest()

    def listed(self, prefix: str = "") -> list[str]:
        """See `Store.listed`."""
        return [key.removeprefix(PREFIX) for key in self._objects(PREFIX + prefix)]

    def uri(self, key: str) -> str:
        """See `Store.uri`."""
        return self._address(PREFIX + key)

    def place(self, key: str) -> str:
        """See `Store.place`."""
        return self.uri(key)

    @contextmanager
    def local(self, key: str) -> Iterator[tuple[Path, str]]:
        """A temporary copy, hashed on its way; see `Store.local`."""
        name = key.rpartition("/")[2]
        with self._disk(name):
            self._staging.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.TemporaryDirectory(prefix="landed-", dir=self._staging)
        with temporary as folder, ExitStack() as stack:
            path = Path(folder) / name
            with self._disk(name):
                stack.enter_context(held(path.parent / LOCK, f"The temporary copy of {name}"))
            with self._disk(name), self.errors():
                digest = hashlib.sha256()
                with path.open("xb") as file:
                    for chunk in self._chunks(key):
                        file.write(chunk)
                        digest.update(chunk)
            yield path, digest.hexdigest()

    def objects(self, prefix: str) -> list[str]:
        """Keys of all objects of the bucket below `prefix`, landed or not.

        Raises:
            LandingError: the store refuses.
            ServiceError: the store does not answer.
        """
        with self.errors():
            return self._objects(prefix)

    def ensure_bucket(self) -> None:
        """Make the bucket where it is missing."""
        try:
            self.s3.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if code_of(error) not in ABSENT:
                raise
            region = self.s3.meta.region_name
            if region == DEFAULT_REGION:
                self.s3.create_bucket(Bucket=self.bucket)
            else:
                place: Any = {"LocationConstraint": region}  # its stubs know the regions of Amazon only
                self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)

    def abort_uploads(self, before: datetime) -> list[str]:
        """Give up uploads that began before that time and never ended; their addresses.

        The store keeps and bills the parts of such an upload, and shows them in no listing. MinIO lists them by whole
        names only, and gives them up by itself after a day.

        Raises:
            LandingError: the store refuses.
            ServiceError: the store does not answer.
        """
        aborted = []
        with self.errors():
            for prefix in (PREFIX, WAREHOUSE_PREFIX):
                for key, upload, begun in self._uploads(prefix):
                    if begun <= before:
                        self.s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)
                        aborted.append(self._address(key))
        return aborted

    def _uploads(self, prefix: str) -> list[tuple[str, str, datetime]]:
        """Uploads that have not ended: key, id, and when they began."""
        pages = self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
        try:
            found = [upload for page in pages for upload in page.get("Uploads", [])]
        except ClientError as error:
            if code_of(error) in ABSENT:
                return []
            raise
        return [(upload["Key"], upload["UploadId"], upload["Initiated"]) for upload in found]

    def _chunks(self, key: str) -> Iterator[bytes]:
        yield from self.s3.get_object(Bucket=self.bucket, Key=PREFIX + key)["Body"].iter_chunks(CHUNK)

    def _objects(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        try:
            return [item["Key"] for page in pages for item in page.get("Contents", [])]
        except ClientError as error:
            if code_of(error) in ABSENT:
                return []
            raise

    def _address(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    @contextmanager
    def _disk(self, name: str) -> Iterator[None]:
        """Report a disk of this machine that does not take a file as an error of ours."""
        try:
            yield
        except OSError as error:
            raise LandingError(
                f"{name} can't be copied to {self._staging}: {error.strerror or error}. {STAYS} "
                f"{write_fix(error)}, or set LAKEHOUSE_HOME to another folder. "
                "Then run the same command again."
            ) from error

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Report the store's own errors as ours; each names the endpoint. See `Store.errors`."""
        try:
            yield
        except LakehouseError:
            raise
        except ClientError as error:
            raise self._translated(error) from error
        except FlexibleChecksumError as error:
            raise ServiceError(
                f"What the object store at {way_to(self.endpoint)} sent has a wrong checksum ({error}). Files that "
                "were landed before are unchanged. Run the same command again."
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            cause = error.__cause__ or error.__context__
            if isinstance(error, Boto3Error) and isinstance(cause, ClientError):
                raise self._translated(cause) from error
            raise ServiceError(
                f"The object store at {way_to(self.endpoint)} does not answer ({error}). Files that were landed before "
                "are unchanged. Start it (`make stack-up`) or correct S3_URL, then run the same command again."
            ) from error

    def _translated(self, error: ClientError) -> LakehouseError:
        code = code_of(error)
        if code in LOGIN:
            return LandingError(
                f"The object store at {way_to(self.endpoint)} refuses the user {self.access_key!r} ({code}). Files "
                "that were landed before are unchanged. Correct S3_ACCESS_KEY, S3_SECRET_KEY or S3_BUCKET, or give "
                f"that user rights on the bucket {self.bucket}."
            )
        if code == "RequestTimeTooSkewed":
            return LandingError(
                f"The object store at {self.endpoint} refuses requests from this machine, because its clock "
                f"({datetime.now(UTC):%H:%M:%S} UTC) is far from the store's own. Files that were landed before are "
                "unchanged. Set the clock and run the same command again."
            )
        message = str(error.response.get("Error", {}).get("Message", ""))
        # MinIO says so beforehand with a code of its own, or in mid-write with the text of the system.
        if code in _FULL or "no space left" in message.lower():
            return LandingError(
                f"The object store at {self.endpoint} has no room left ({code}). Files that were landed before are "
                "unchanged. Free space there and run the same command again."
            )
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        text = f"The object store at {way_to(self.endpoint)} answered {code}: {message}"
        if status >= 500:
            return ServiceError(f"{text}. Files that were landed before are unchanged. Run the same command again.")
        return LandingError(
            f"{text}. Files that were landed before are unchanged. Look at the object store's log for the cause, then "
            "run the same command again."
        )


class BucketLanding(Landing):
    """Landed files in the object store."""

    store: BucketStore

    def __init__(self, settings: Settings) -> None:
        super().__init__(BucketStore(settings))


def s3_client(settings: Settings) -> S3Client:
    """A client with the loader's credentials that gives up within half a minute."""
    secret_key = settings.s3_secret_key.get_secret_value()
    return client(settings.s3_url, settings.s3_region, settings.s3_access_key, secret_key)


def _measure(file: Path) -> tuple[int, str]:
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return file.stat().st_size, digest
    except OSError as error:
        raise LandingError(
            f"The temporary file {file} can't be read: {error.strerror or error}. Nothing of it was landed. Check its "
            "disk, then run the same command again."
        ) from error
