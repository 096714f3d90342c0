"""What is published, as readers find it: the branch, and on `embedded` the manifest behind schema `published`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.errors import BoundaryError

if TYPE_CHECKING:
    from lakehouse.settings import Settings

BRANCH = "published"
TAG_PREFIX = "publication-"
# The whole name of a publication's tag: no other tag is ever pruned.
TAG = re.compile(r"publication-\d{8}T\d{6}Z")
SCHEMA = "published"
SCRATCH = "lakehouse_scratch_"  # begins the names of schemas that one command makes and drops
KEPT = 12  # publications whose tags stay


def version_property(publication: str) -> str:
    """The property of a table that holds the version of its model at a publication."""
    return f"lakehouse.{publication}.model-version"


def manifest_file(settings: Settings) -> Path:
    """Where `embedded` keeps it."""
    return settings.home / "published.json"


def write_manifest(settings: Settings, text: str) -> None:
    """On `embedded`: replace the manifest in one step."""
    path = manifest_file(settings)
    scratch = path.with_suffix(".tmp")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def published_snapshots(settings: Settings) -> dict[str, int]:
    """On `embedded`: the snapshot of every table of the last publication. Empty before the first one.

    Raises:
        BoundaryError: the manifest is damaged.
    """
    path = manifest_file(settings)
    if not path.exists():
        return {}
    try:
        return {str(name): int(snapshot_id) for name, snapshot_id in json.loads(path.read_bytes())["snapshots"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BoundaryError(
            f"{path.name} in {settings.home} is damaged ({error}). No table was changed.",
            "Move it away, then run `lakehouse publish`, which writes it again.",
        ) from error


def published_tables(settings: Settings) -> dict[str, tuple[str, int]]:
    """On `embedded`: for each view of schema `published` its table and snapshot. Empty before the first publication."""
    return {
        f"{SCHEMA}.{name.removeprefix('gold.')}": (name, snapshot_id)
        for name, snapshot_id in published_snapshots(settings).items()
        if name.startswith("gold.")
    }
