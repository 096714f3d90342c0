"""A landed file, and the record beside it: one JSON object, the same in a folder and in a bucket."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from lakehouse.datasets.days import Day
from lakehouse.datasets.file import DatasetFile, file_called
from lakehouse.datasets.months import Month
from lakehouse.datasets.parts import Part
from lakehouse.datasets.sources import Since
from lakehouse.errors import LandingError, SettingsError

SHA256_LENGTH = 64  # in hex
SUFFIX = ".json"
VERSIONS = "versions"


@dataclass(frozen=True)
class Landed:
    """One landed file. `sha256` is of the bytes as they arrived.

    `etag` and `last_modified` are the publisher's own words for this version, empty where it gave none.
    `since` says where its rows begin, if they were extracted from a database by a cursor; else the file has all.
    """

    file: DatasetFile
    uri: str
    size: int
    sha256: str
    origin: str
    landed_at: datetime
    etag: str = ""
    last_modified: str = ""
    since: Since | None = None

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "file"}
        values["since"] = asdict(self.since) if self.since else None
        return {**self.file.as_dict(), "name": self.file.name, **values}


def to_json(landed: Landed) -> bytes:
    """The record of one landed file. Where it lies is not part of it: a landing zone can be moved."""
    record: dict[str, Any] = {
        **landed.file.as_dict(),
        "name": landed.file.name,
        "size": landed.size,
        "sha256": landed.sha256,
        "origin": landed.origin,
        "landed_at": landed.landed_at.astimezone(UTC).isoformat(),
    }
    if landed.etag:
        record["etag"] = landed.etag
    if landed.last_modified:
        record["last_modified"] = landed.last_modified
    if landed.since:
        record["since"] = asdict(landed.since)
    return json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n"


def from_json(data: bytes, uri: str) -> Landed:
    """The file that lies at `uri`, by the record beside it.

    Raises:
        LandingError: the record can't be read.
    """
    try:
        record = json.loads(data)
        landed_at = datetime.fromisoformat(record["landed_at"])
        return Landed(
            file=DatasetFile(str(record["dataset"]), _part(record["month"], record.get("day"))),
            uri=uri,
            size=int(record["size"]),
            sha256=str(record["sha256"]),
            origin=str(record["origin"]),
            landed_at=landed_at if landed_at.tzinfo else landed_at.replace(tzinfo=UTC),
            etag=str(record.get("etag", "")),
            last_modified=str(record.get("last_modified", "")),
            since=_since(record.get("since")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, SettingsError) as error:
        raise LandingError(
            f"The record {uri}{SUFFIX} of a landed file can't be read ({error!r}). The tables are as they were. "
            f"{_way_out(uri)}"
        ) from error


def _part(month: str | None, day: str | None) -> Part | None:
    if day is not None:
        return Day.parse(day)
    return None if month is None else Month.parse(month)


def _since(record: dict[str, Any] | None) -> Since | None:
    return None if record is None else Since(str(record["column"]), str(record["value"]))


def again(landed: Landed) -> str:
    """The command that lands this file again."""
    return _again(landed.file)


def _again(file: DatasetFile) -> str:
    return f"lakehouse load {file.label} --refresh"


def _way_out(uri: str) -> str:
    """What to do about a file whose record is broken: only its name says what it is."""
    file = None if f"/{VERSIONS}/" in uri else file_called(uri.rpartition("/")[2])
    return f"Land the file again: `{_again(file)}`." if file else "Restore the record, or remove both it and the file."
