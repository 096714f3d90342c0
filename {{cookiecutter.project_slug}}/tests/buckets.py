"""Buckets of tests: in a small S3 server of this process, that moto stands in for, or that do not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from lakehouse.s3 import client
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = {"SOURCE_S3_ACCESS_KEY": "reader", "SOURCE_S3_SECRET_KEY": "secret-of-the-reader"}


def bucket_settings(tmp_path: Path, url: str = "https://s3.amazonaws.com") -> Settings:
    """Settings of target `trino` with an object store at `url`, and a home in `tmp_path`."""
    return Settings(
        LAKEHOUSE_TARGET="trino",
        LAKEHOUSE_HOME=tmp_path / "home",
        S3_URL=url,
        S3_BUCKET="warehouse",
        S3_ACCESS_KEY="loader",
        S3_SECRET_KEY=SecretStr("secret-of-the-loader"),
    )


@dataclass(frozen=True)
class Inbox:
    """A bucket that files are put into, in a store at `url`."""

    url: str
    name: str = "inbox"

    def __post_init__(self) -> None:
        self.s3.create_bucket(Bucket=self.name)

    def __str__(self) -> str:
        return f"s3://{self.name}"

    @cached_property
    def s3(self) -> S3Client:
        """A client of somebody else's."""
        return client(self.url, "us-east-1", "reader", "secret-of-the-reader")

    def put(self, key: str, content: bytes) -> str:
        """Put an object there; its address."""
        self.s3.put_object(Bucket=self.name, Key=key, Body=content)
        return f"{self}/{key}"

    def etag(self, key: str) -> str:
        """What the store says of it now."""
        return str(self.s3.head_object(Bucket=self.name, Key=key)["ETag"])


def forget_buckets() -> None:
    """Empty the S3 servers of this process."""
    for backends in s3_backends.values():
        backends.reset()


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a small S3 server in this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def use_store(monkeypatch: pytest.MonkeyPatch, url: str, **variables: str) -> None:
    """Set the variables of a source's store in this process."""
    for name, value in ({"SOURCE_S3_URL": url} | KEYS | variables).items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
