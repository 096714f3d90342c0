"""A browser for tests: Chromium by ChromeDriver, in the WebDriver protocol of the W3C; no package needed."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
CHROMIUM = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def wait_for(what: str, ask: Callable[[], T], seconds: float = 60, pause: float = 0.3) -> T:
    """Ask until the answer is true, and give it.

    Raises:
        TimeoutError: it never was; names what was waited for.
    """
    end = time.monotonic() + seconds
    while True:
        if answer := ask():
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {seconds:.0f} seconds")
        time.sleep(pause)


class Browser:
    """One page. Elements are found by XPath and waited for."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client, self._session = client, session

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._client.request(method, f"/session/{self._session}{path}", json=body)
        value = answer.json()["value"]
        if answer.is_error:
            raise RuntimeError(f"{value['error']}: {value['message'].splitlines()[0]}")
        return value

    def open(self, url: str) -> None:
        """Go to an address."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def all(self, xpath: str) -> list[str]:
        """Elements that are there now."""
        found = self._call("POST", "/elements", {"using": "xpath", "value": xpath})
        return [element[ELEMENT] for element in found]

    def see(self, xpath: str, seconds: float = 60) -> str:
        """Wait for an element."""
        return wait_for(f"{xpath} on {self.address}", lambda: self.all(xpath), seconds)[-1]

    def see_text(self, text: str, seconds: float = 60) -> str:
        """Wait for an element that shows a text."""
        return self.see(f"//*[contains(normalize-space(text()), {json.dumps(text)})]", seconds)

    def click(self, xpath: str, seconds: float = 60) -> None:
        """Wait for an element and click on it; one that is covered or replaced meanwhile is waited for again."""

        def try_it() -> bool:
            try:
                self._call("POST", f"/element/{self.see(xpath, seconds)}/click", {})
            except RuntimeError as error:
                if str(error).startswith(("stale", "element click intercepted", "element not interactable")):
                    return False
                raise
            return True

        wait_for(f"a click on {xpath}", try_it, seconds)

    def fill(self, xpath: str, text: str) -> None:
        """Replace the text of an input."""
        element = self.see(xpath)
        self._call("POST", f"/element/{element}/clear", {})
        self._call("POST", f"/element/{element}/value", {"text": text})

    @property
    def address(self) -> str:
        """Where it is."""
        return str(self._call("GET", "/url"))

    @property
    def text(self) -> str:
        """All text of the page."""
        return str(self.run("return document.body.innerText"))

    def size(self, width: int, height: int) -> None:
        """Make the window as large as this."""
        self._call("POST", "/window/rect", {"width": width, "height": height})

    def picture(self, path: Path) -> Path:
        """What it shows, as a PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))
        return path


@contextmanager
def browser(width: int = 1400, height: int = 900) -> Iterator[Browser]:
    """A fresh headless browser, gone at the end."""
    assert CHROMIUM and DRIVER, "Chromium and ChromeDriver are needed"  # noqa: PT018 - one need
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as profile,
        subprocess.Popen([DRIVER, f"--port={port}", "--silent"]) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
    ):
        try:
            wait_for("ChromeDriver", lambda: _ready(client))
            options = {
                "binary": CHROMIUM,
                "args": [*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"],
            }
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
            session = client.post("/session", json=wanted).raise_for_status().json()["value"]["sessionId"]
            try:
                yield Browser(client, session)
            finally:
                client.delete(f"/session/{session}")
        finally:
            process.terminate()


def _ready(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/status").json()["value"]["ready"])
    except httpx.TransportError:
        return False
