"""The way to the services: those on this machine are asked directly, whatever proxy the environment names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def ask_loopback_directly(urls: Iterable[str] = ()) -> None:
    """Put this machine's own names, and the hosts of `urls` that are on it, into NO_PROXY.

    All clients look there, and so do the processes that we start: requests, botocore, dbt-trino.
    """
    known = [name.strip() for name in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")]
    if "*" in known:
        return
    own = [*LOOPBACK, *(host for url in urls if _is_loopback(host := urlsplit(url).hostname or ""))]
    names = ",".join(dict.fromkeys(filter(None, [*known, *own])))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = names


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(url: str) -> str | None:
    """The proxy that the clients take to this address, without its login; None where they go directly."""
    address = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(address.hostname or ""):
        return None
    return without_login(proxy).rpartition("//")[2].partition("/")[0]


def without_login(proxy: str) -> str:
    """The address of a proxy as messages may show it. A password that has / or # in it is left out too."""
    return re.sub(r"^(\w+://)?.*@", r"\1", proxy)


def way_to(url: str) -> str:
    """For messages: the address, and the proxy on the way to it where there is one."""
    proxy = proxy_for(url)
    return f"{url} (through the proxy {proxy}; the variable NO_PROXY names hosts to reach without it)" if proxy else url
