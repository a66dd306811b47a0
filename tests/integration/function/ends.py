"""Whether a process that is nobody's child of ours has ended."""

from __future__ import annotations

import time
from pathlib import Path


def gone(pid: int) -> None:
    """The process ends soon."""
    end = time.monotonic() + 120
    while (state := _state(pid)) not in ("gone", "Z"):
        assert time.monotonic() < end, f"{pid} still runs: {state}"
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
