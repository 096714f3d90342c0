"""What a process of ours gives to a process that it starts: variables that we choose, not the caller's environment.

A variable such as `DBT_EMPTY`, `DBT_RESOURCE_TYPES` or `PYTHONPATH` in somebody's shell would change what a build does
without a word, so no child sees one. What the system, the network and certificates need is passed on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# Compared in upper case: proxies are written in both.
_PASSED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "TZ", "LANG", "LANGUAGE"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "OMP_NUM_THREADS"),
        *("SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    }
)
_PASSED_PREFIX = "LC_"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a Python child: what is passed on, then `variables`.

    The child imports the package that the caller imported, and never a file of the current folder.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in _PASSED or name.upper().startswith(_PASSED_PREFIX)
    }
    package = str(Path(__file__).resolve().parents[1])
    return passed | {"PYTHONPATH": package, "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"} | dict(variables)


def python(*words: str) -> list[str]:
    """The command line of a Python child: `-P` keeps the current folder off its path."""
    return [sys.executable, "-P", *words]
