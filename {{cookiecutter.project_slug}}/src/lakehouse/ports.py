"""Whether a service is there at all."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

SECONDS = 5.0


def listens(url: str) -> bool:
    """Whether anything takes connections there."""
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=SECONDS):
            return True
    except OSError:
        return False
