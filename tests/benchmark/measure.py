"""Timing of whole processes: wall time, CPU seconds and peak memory, as the operating system accounts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

LIBERATE = [sys.executable, "-m", "liberator"]


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process. wall, cpu: seconds; peak: MiB of resident memory."""

    wall: float
    cpu: float
    peak: float


def run(command: Sequence[str], cwd: Path | None = None) -> Run:
    """Run a command with its output thrown away. Raises `RuntimeError` when it fails."""
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=cwd) as process:
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} failed with {process.returncode}:\n{errors.decode()[-2000:]}")
    return Run(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def middle(runs: Sequence[Run]) -> Run:
    """The median of every figure by itself."""
    return Run(median(r.wall for r in runs), median(r.cpu for r in runs), median(r.peak for r in runs))
