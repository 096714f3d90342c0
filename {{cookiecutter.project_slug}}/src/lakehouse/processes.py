"""Whether a process of this machine is there still. A number that another process has got meanwhile is noticed."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from datetime import datetime
from pathlib import Path

# The system's clock may have been set meanwhile, and `ps` counts in whole seconds.
_TOLERANCE_SECONDS = 10.0


def has_ended(pid: int) -> bool:
    """Whether no process of this machine has the number. On Windows nobody can say, so the answer is no."""
    if os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def is_running(pid: int, at: float) -> bool:
    """Whether the process that had the number at the time `at`, in seconds since 1970, is there still.

    After a restart of the machine the number may be another process's, which began later than `at`.
    """
    if has_ended(pid):
        return False
    began = _began(pid)
    return began is None or began <= at + _TOLERANCE_SECONDS


def _began(pid: int) -> float | None:
    """When the process began; None where the system does not say. A zombie has ended, so it began never."""
    with suppress(OSError, ValueError, IndexError, StopIteration):
        # After the name in parentheses, which may hold blanks: the state, and as the 20th word the start in ticks.
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        if words[0] == "Z":
            return float("inf")
        lines = Path("/proc/stat").read_text(encoding="utf-8").splitlines()
        booted = next(float(line.split()[1]) for line in lines if line.startswith("btime "))
        return booted + int(words[19]) / os.sysconf("SC_CLK_TCK")
    with suppress(OSError, ValueError):
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        said = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})  # noqa: S603
        return datetime.strptime(said.stdout.strip(), "%a %b %d %H:%M:%S %Y").astimezone().timestamp()
    return None
