"""A client of an object store, and what the codes of its answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Three tries of these stay below half a minute: a store that is away is one clear error, soon.
CONNECT_SECONDS, READ_SECONDS, TRIES = 3, 8, 3

ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket"})
LOGIN = frozenset({"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidTokenId"})


def client(url: str, region: str, access_key: str | None, secret_key: str | None) -> S3Client:
    """A client that gives up within half a minute. Where a key is None, it takes the keys that AWS's own tools find."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": TRIES, "mode": "standard"},
            s3={"addressing_style": "path"},
        ),
    )


def code_of(error: ClientError) -> str:
    """The store's own code, such as `NoSuchKey`; the number of the status where the answer had no text."""
    return str(error.response.get("Error", {}).get("Code", ""))
