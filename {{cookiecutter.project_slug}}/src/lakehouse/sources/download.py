"""One download that ends with the whole file, or with a reason: resumed, retried with patience, never a mixture.

What has arrived is kept beside the target (`.part`), with the publisher's marks for that version (`.part.json`): ETag
and Last-Modified. A later attempt, in this process or another, asks for the rest of just that version (`If-Range`) and
starts over where it is gone. Once the last byte is there, the publisher is asked whether the marks still hold.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from lakehouse.errors import LandingError, NotPublishedError, SettingsError, SourceError, UnreachableError
from lakehouse.filesystem import write_fix
from lakehouse.network import without_login
from lakehouse.sources.patience import Patience

NOT_THERE = frozenset({403, 404, 410})  # the TLC's storage answers 403 for a file that does not exist
ASK_LATER = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})
OVERLOADED = "It may be overloaded: try again later. If it goes on, check the setting TLC_SOURCE."
# What httpx takes from the environment.
_ENVIRONMENT = frozenset({"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"})
WORTH = 1 << 20  # bytes that make an attempt worth while, even if it was cut


class _AgainError(Exception):
    """This attempt failed in a way that another may not. `busy`: the server says that it can't answer just now."""

    def __init__(self, cause: str, *, wait: float | None = None, connected: bool = True, busy: bool = False) -> None:
        super().__init__(cause)
        self.wait = wait
        self.connected = connected
        self.busy = busy


@dataclass
class Download:
    """One file at one address. `words` names it in messages: `green 2024-01`. `is_trips`: it is the TLC's."""

    url: str
    name: str
    words: str
    target: Path
    patience: Patience
    progress: Callable[[int, int], None] | None = None
    is_trips: bool = False

    def __post_init__(self) -> None:
        self._part = Path(f"{self.target}.part")
        self._notes = Path(f"{self.target}.part.json")
        self._fruitless = 0
        self._unconnected = 0
        self._size_before = 0

    def run(self, known_etag: str = "", known_modified: str = "") -> tuple[str, str] | None:
        """Bring the file to `target`: its ETag and Last-Modified; None if the publisher still has the known version.

        Raises:
            NotPublishedError: the publisher does not have it (yet).
            UnreachableError: no answer, or none that makes sense, however often it was asked.
            SourceError: an answer that is no file.
            LandingError: the disk did not take it.
            SettingsError: a proxy or certificates are set that can't be used.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_AgainError), stop=self._stop, wait=self._wait, reraise=True, sleep=time.sleep
        )
        try:
            with open_client(self.patience) as client:
                return retrying(self._attempt, client, known_etag, known_modified)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise SourceError(
                f"The address {self.url} is invalid ({error}). Nothing of {self.words} was landed. Correct the setting "
                "TLC_SOURCE, which it is made from."
            ) from error
        except httpx.TooManyRedirects as error:
            raise UnreachableError(in_a_circle(self.url, f" Nothing of {self.words} was landed.")) from error
        except _AgainError as error:
            tries = retrying.statistics["attempt_number"]
            what_next = "Check the network and the setting TLC_SOURCE, then run the same command again."
            if error.busy:
                what_next = OVERLOADED
            raise UnreachableError(
                f"{self.words} could not be downloaded from {self.url}: {error}"
                f"{f' (the last of {tries} attempts)' if tries > 1 else ''}. Nothing of it was landed. {what_next}"
                f"{' The next command goes on where this download stopped.' if self._part.exists() else ''} "
                "Or set TLC_SOURCE to a folder that holds the file."
            ) from error
        except OSError as error:
            raise LandingError(
                f"{self.name} can't be written to {self.target.parent}: {error.strerror or error}. Nothing of it was "
                f"landed. {write_fix(error)}, then run the same command again."
            ) from error

    def _stop(self, state: RetryCallState) -> bool:
        """Stop once attempts bring nothing any more; a download that gets on may be cut as often as it likes."""
        error = state.outcome.exception() if state.outcome else None
        size = self._part.stat().st_size if self._part.exists() else 0
        gained, self._size_before = size - self._size_before, size
        self._fruitless = 1 if gained >= WORTH else self._fruitless + 1
        self._unconnected = self._unconnected + 1 if isinstance(error, _AgainError) and not error.connected else 0
        return self._fruitless >= self.patience.tries or self._unconnected >= self.patience.connect_tries

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        grown = self.patience.first_wait * 2.0 ** (max(self._fruitless, 1) - 1)
        asked = error.wait if isinstance(error, _AgainError) and error.wait is not None else 0.0
        return min(max(grown, asked), self.patience.longest_wait)

    def _attempt(self, client: httpx.Client, known_etag: str, known_modified: str) -> tuple[str, str] | None:
        """One request: the rest of what is there, or all of it."""
        part_etag, part_modified, have = self._resumable()
        mark = part_etag or part_modified
        headers = {"Range": f"bytes={have}-", "If-Range": mark} if have else {}
        if not have:
            headers |= {"If-None-Match": known_etag} if known_etag else {}
            headers |= {"If-Modified-Since": known_modified} if known_modified else {}
        try:
            with client.stream("GET", self.url, headers=headers) as response:
                if response.status_code == httpx.codes.NOT_MODIFIED:
                    return None
                total: int | None = have
                if have and _ends_at(response, have):
                    # All of it came before, and only the check of its marks failed.
                    marks = (part_etag, part_modified)
                else:
                    marks, total = self._take(response, part_etag, part_modified, have)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
            raise _AgainError(f"no connection ({error})", connected=False) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _AgainError(f"the connection was cut ({type(error).__name__}: {error})") from error
        self._whole(client, marks, total)
        self._part.replace(self.target)
        self._notes.unlink(missing_ok=True)
        return marks

    def _take(
        self, response: httpx.Response, part_etag: str, part_modified: str, have: int
    ) -> tuple[tuple[str, str], int | None]:
        """Write what an answer brings; the file's marks, and the length that was promised."""
        self._refuse(response)
        marks = marks_of(response)
        if have and not (response.status_code == httpx.codes.PARTIAL_CONTENT and _goes_on(response, have)):
            have = 0
        if have and marks != (part_etag, part_modified):
            self._forget()
            raise _AgainError("the file changed while it was downloaded")
        return marks, self._receive(response, marks, have)

    def _refuse(self, response: httpx.Response) -> None:
        """Raise what the status asks for, unless it is a file."""
        status = response.status_code
        if status in NOT_THERE:
            if self.is_trips:
                raise NotPublishedError(
                    f"{self.words} is not published at {self.url} (yet): the server answers {status}. Nothing of it "
                    "was landed. The TLC publishes a month about two months after its end. Check the month, and the "
                    "setting TLC_SOURCE."
                )
            raise NotPublishedError(
                f"{self.words} is not at {self.url}: the server answers {status}. Nothing of it was landed. It may be "
                "published later; if not, check the setting TLC_SOURCE."
            )
        if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            self._forget()
            raise _AgainError("the server's file ends before the place where an earlier download stopped")
        if status in ASK_LATER:
            said = f"the server answers {status} {response.reason_phrase}"
            raise _AgainError(said, wait=retry_after(response), busy=is_busy(status))
        if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise SourceError(
                f"{self.words} could not be downloaded from {self.url}: the server answers {status} "
                f"{response.reason_phrase}. Nothing of it was landed. Check the setting TLC_SOURCE."
            )
        if response.headers.get("content-type", "").startswith(("text/html", "application/xhtml")):
            raise UnreachableError(
                f"{self.url} gave a web page instead of the file {self.name}. Nothing of it was landed. Check the "
                "setting TLC_SOURCE, and whether a proxy or a login page answers in the server's place."
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise SourceError(
                f"The server sends {self.url} compressed ({response.headers['content-encoding']}), though it was asked "
                "not to. Nothing of it was landed. Set TLC_SOURCE to a server that sends files as they are."
            )

    def _receive(self, response: httpx.Response, marks: tuple[str, str], have: int) -> int | None:
        """Append to what is there (or start again), up to the end of the answer; the length that was promised."""
        length = response.headers.get("content-length")
        total = have + int(length) if length and length.isdigit() else None
        if not have:
            self._forget()
            self._notes.write_text(
                json.dumps({"url": self.url, "etag": marks[0], "last_modified": marks[1]}), encoding="utf-8"
            )
        since, since_size, size = time.monotonic(), have, have
        with self._part.open("ab") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                size += len(chunk)
                if self.progress:
                    self.progress(size, total or 0)
                if (elapsed := time.monotonic() - since) > self.patience.slow_for:
                    if size - since_size < 1024 * elapsed:
                        raise _AgainError(
                            f"the download is too slow, only {size - since_size:,} bytes in {elapsed:.0f} seconds"
                        )
                    since, since_size = time.monotonic(), size
        return total

    def _whole(self, client: httpx.Client, marks: tuple[str, str], total: int | None) -> None:
        """Whether what arrived is one version, and all of it."""
        size = self._part.stat().st_size
        if total is not None and size != total:
            self._forget()
            raise _AgainError(f"the server announced {total:,} bytes and sent {size:,}")
        if not any(marks):
            return
        try:
            now = client.head(self.url)
        except httpx.TransportError as error:
            raise _AgainError(
                "all bytes arrived, but the server did not answer when asked whether the file had changed meanwhile "
                f"({type(error).__name__}: {error})"
            ) from error
        # A mark that one of the two answers leaves out says nothing.
        changed = any(then and later and then != later for then, later in zip(marks, marks_of(now), strict=True))
        if now.status_code == httpx.codes.OK and changed:
            self._forget()
            raise _AgainError("the file changed while it was downloaded")

    def _resumable(self) -> tuple[str, str, int]:
        """Marks and length of what an earlier attempt left; length 0 where it can't be taken up."""
        try:
            notes = json.loads(self._notes.read_text("utf-8"))
            etag, modified, url = str(notes["etag"]), str(notes["last_modified"]), str(notes["url"])
            size = self._part.stat().st_size
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return "", "", 0
        # A weak ETag promises the same meaning, not the same bytes.
        usable = url == self.url and (etag or modified) and not etag.startswith("W/")
        return (etag, modified, size) if usable else ("", "", 0)

    def _forget(self) -> None:
        self._part.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        self._size_before = 0


def open_client(patience: Patience) -> httpx.Client:
    """A client that heeds the proxies and certificates of the environment.

    Raises:
        SettingsError: one of them can't be used; names those that are set.
    """
    timeout = httpx.Timeout(patience.silence, connect=patience.connect)
    # Compressed on the way, neither lengths nor ranges would be those of the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "lakehouse"}
    try:
        return httpx.Client(timeout=timeout, headers=headers, follow_redirects=True)
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        named = {name: value for name, value in os.environ.items() if name.upper() in _ENVIRONMENT and value}
        logins = any("@" in value for value in named.values())
        reason = type(error).__name__ if logins else f"{type(error).__name__}: {str(error).rstrip('.')}"
    found = ", ".join(
        f"{name}={without_login(value) if 'PROXY' in name.upper() else value}" for name, value in sorted(named.items())
    )
    # Raised out here: the cause may have the password in its text.
    raise SettingsError(
        f"The proxy or the certificates in the environment ({found or 'none'}) can't be used to download: {reason}. "
        "Nothing was landed. Correct or unset these variables: a proxy begins with http:// or https://, certificates "
        "are a file or folder that exists."
        + (" In a proxy's password, write / as %2F, # as %23, ? as %3F and @ as %40." if logins else "")
    )


def marks_of(response: httpx.Response) -> tuple[str, str]:
    """The publisher's marks of this version, ETag and Last-Modified; empty where it gives none."""
    return response.headers.get("etag", ""), response.headers.get("last-modified", "")


def _goes_on(response: httpx.Response, have: int) -> bool:
    """Whether a partial answer begins where we stopped."""
    return bool(response.headers.get("content-range", "").startswith(f"bytes {have}-"))


def _ends_at(response: httpx.Response, have: int) -> bool:
    """Whether the publisher has no more to give, because the file ends where we stopped."""
    return (
        response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE
        and response.headers.get("content-range", "") == f"bytes */{have}"
    )


def in_a_circle(url: str, nothing: str = "") -> str:
    """What to say of an address that is redirected again and again; `nothing` says what was not done."""
    return (
        f"{url} is redirected in a circle.{nothing} Check the setting TLC_SOURCE, and whether a login page answers in "
        "the server's place."
    )


def is_busy(status: int) -> bool:
    """Whether an answer says that the server can't give one just now: 429 or 5xx."""
    return status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR


def retry_after(response: httpx.Response) -> float | None:
    """How many seconds the server asks to wait, by a number or a date; None if it does not say."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        wait: float = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return max(0.0, wait)
