"""Which version of each file a source has, without fetching it: for who wants to know what is new or published again.

A site is asked for the marks of a file, its ETag or Last-Modified, by one small request each. A folder is looked
through once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from lakehouse.datasets.file import DatasetFile
from lakehouse.errors import SourceError, UnreachableError
from lakehouse.sources.download import (
    ASK_LATER,
    NOT_THERE,
    OVERLOADED,
    in_a_circle,
    is_busy,
    marks_of,
    open_client,
    retry_after,
)
from lakehouse.sources.patience import PATIENCE, Patience
from lakehouse.sources.watch import look

NEWEST = 3
AGAIN = timedelta(days=6)
MOST = 50
LOOKS_A_WEEK = 20  # of 28, one each six hours: a machine may be off at times
NO_HEAD = frozenset({405, 501})
_SHA256 = "sha256:"


def is_site(source: str) -> bool:
    """Whether `TLC_SOURCE` is the address of a site, and no folder."""
    return urlsplit(source).scheme in ("http", "https")


def files_to_ask(
    files: Sequence[DatasetFile], asked: Mapping[DatasetFile, datetime], now: datetime
) -> list[DatasetFile]:
    """Choose for which files a source is asked now: always the newest, the others in turn, each about once a week.

    Args:
        files: all that the source may have, the oldest first.
        asked: when a file was last asked for, as far as known.
        now: the time of asking.
    """
    first, newest = files[:-NEWEST], files[-NEWEST:]
    never = datetime.min.replace(tzinfo=UTC)
    due = [file for file in reversed(first) if now - asked.get(file, never) >= AGAIN]
    due.sort(key=lambda file: asked.get(file, never))
    return [*reversed(newest), *due[: max(MOST, -(-len(first) // LOOKS_A_WEEK))]]


def versions(
    source: str,
    files: Sequence[DatasetFile],
    known: Mapping[DatasetFile, str] | None = None,
    patience: Patience = PATIENCE,
) -> Iterator[tuple[DatasetFile, str | None]]:
    """The version that the source has of each of these files, one after the other; None for one that it does not have.

    Args:
        source: `TLC_SOURCE`, a base URL or a folder.
        files: which; each belongs to a dataset without a source of its own.
        known: the versions that it had before. A site may answer that nothing has changed.
        patience: how long to wait for a site, and how often to ask.

    Raises:
        UnreachableError: the site can't be asked, or wants to be asked later. Files before that one have their version.
        SourceError: the source is neither a site nor a folder, or the answer makes no sense.
        SettingsError: a proxy or certificates are set that can't be used.
    """
    if not is_site(source):
        found = {one.file: one.version for one in look(source).sightings}
        yield from ((file, found.get(file)) for file in files)
        return
    with open_client(patience) as client:
        for file in files:
            url = f"{source.rstrip('/')}/{file.path}"
            yield file, _ask(client, url, file, (known or {}).get(file, ""), patience)


def version_of(etag: str, last_modified: str, sha256: str) -> str:
    """The version of a file that a site gave with these marks."""
    return etag or last_modified or _SHA256 + sha256


class _LaterError(Exception):
    """This attempt failed in a way that another may not. `busy`: the server says that it can't answer just now."""

    def __init__(self, cause: str, wait: float = 0.0, *, busy: bool = False) -> None:
        super().__init__(cause)
        self.wait = wait
        self.busy = busy


def _ask(client: httpx.Client, url: str, file: DatasetFile, known: str, patience: Patience) -> str | None:
    """The version of one file. Waits grow, and are as long as the server asks for."""

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, _LaterError) else 0.0
        return max(patience.first_wait * 2.0 ** (state.attempt_number - 1), asked)

    def stop(state: RetryCallState) -> bool:
        # A server that wants a long pause is left alone until the next time.
        return stop_after_attempt(patience.connect_tries)(state) or wait(state) > patience.longest_wait

    retrying = Retrying(retry=retry_if_exception_type(_LaterError), stop=stop, wait=wait, reraise=True)
    try:
        return retrying(_answer, client, url, file, known)
    except httpx.TooManyRedirects as error:
        raise UnreachableError(in_a_circle(url)) from error
    except (_LaterError, httpx.InvalidURL, UnicodeError) as error:
        busy = isinstance(error, _LaterError) and error.busy
        what_next = OVERLOADED if busy else "Check the network and the setting TLC_SOURCE."
        raise UnreachableError(f"{url} could not be asked for {file.label}: {error}. {what_next}") from error


def _answer(client: httpx.Client, url: str, file: DatasetFile, known: str) -> str | None:
    name = "If-None-Match" if known.startswith(('"', "W/")) else "If-Modified-Since"
    headers = {name: known} if known and not known.startswith(_SHA256) else {}
    try:
        response = client.head(url, headers=headers)
        if response.status_code in NO_HEAD:
            with client.stream("GET", url, headers=headers) as response:
                pass  # its marks are enough
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return known
        if response.status_code in NOT_THERE:
            return None
        if response.status_code in ASK_LATER:
            raise _LaterError(
                f"the server answers {response.status_code} {response.reason_phrase}",
                retry_after(response) or 0.0,
                busy=is_busy(response.status_code),
            )
        if response.status_code != httpx.codes.OK or response.headers.get("content-type", "").startswith("text/html"):
            raise SourceError(
                f"{url} was asked for {file.label}, and the server answers {response.status_code} "
                f"{response.reason_phrase} with {response.headers.get('content-type') or 'no type'}. Check the setting "
                "TLC_SOURCE, and whether a proxy or a login page answers in the server's place."
            )
        etag, modified = marks_of(response)
        return version_of(etag, modified, "" if etag or modified else _hash(client, url))
    except httpx.TransportError as error:
        raise _LaterError(f"no connection ({type(error).__name__}: {error})") from error


def _hash(client: httpx.Client, url: str) -> str:
    """The SHA-256 of a file whose server gives no marks: only its bytes tell the version."""
    digest = hashlib.sha256()
    with client.stream("GET", url) as response:
        for chunk in response.iter_raw():
            digest.update(chunk)
    return digest.hexdigest()
