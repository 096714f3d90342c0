"""The landing zone: published files, byte for byte, with their origin and SHA-256 beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.landing.record import SHA256_LENGTH, Landed
from lakehouse.landing.zone import Landing

if TYPE_CHECKING:
    from pathlib import Path

    from lakehouse.settings import Settings

__all__ = ["SHA256_LENGTH", "Landed", "Landing", "bucket_objects", "landing_aside", "open_landing", "store_kind"]


def store_kind(settings: Settings) -> str:
    """What the target keeps files in, as Dagster's badge has it."""
    return "s3" if settings.target == "trino" else "file"


def open_landing(settings: Settings) -> Landing:
    """The landing zone of the target."""
    if settings.target == "trino":
        from lakehouse.landing.bucket import BucketLanding  # noqa: PLC0415 - boto3 is slow to import

        return BucketLanding(settings)
    return landing_aside(settings.landing_dir)


def landing_aside(folder: Path) -> Landing:
    """A landing zone in this folder: that of `embedded`, or one for files that are fetched aside."""
    from lakehouse.landing.folder import FolderLanding  # noqa: PLC0415 - as above

    return FolderLanding(folder)


def bucket_objects(settings: Settings, prefix: str) -> list[str]:
    """Keys of all objects of the bucket below `prefix`, landed or not.

    Raises:
        ServiceError: the store does not answer.
    """
    from lakehouse.landing.bucket import BucketStore  # noqa: PLC0415 - as above

    return BucketStore(settings).objects(prefix)
