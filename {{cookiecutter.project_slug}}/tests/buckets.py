"""Settings of a bucket that moto stands in for, or that does not answer."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from lakehouse.settings import Settings


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
