"""A process watched from outside: how far it is, what it costs. Linux: /proc tells.

Enters: a running process, and a way to see its progress. Leaves: `Watched`. Called by the sides. Never asks the process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liberator.testing.servers.process import descendants

REPOSITORY = Path(__file__).parents[2]
"""Where Python finds the benchmark's own programs."""

_LOOK = 0.05
"""Seconds between two looks."""

_PATIENCE = 1800.0
_CLOSING = 30.0
"""Seconds that a process has to end when it is told to. Kafka Connect's worker sometimes never does."""

_TICKS = os.sysconf("SC_CLK_TCK")
_ENDED_BY_SIGTERM = {-signal.SIGTERM, 128 + signal.SIGTERM}
_EDGE = 0.01
"""The first and the last hundredth of the work are left out of the rate: start-up and closing reach into them."""


@dataclass(frozen=True, slots=True)
class Look:
    """at: seconds since the start. done: how much work was to be seen then, in whatever unit."""

    at: float
    done: int


@dataclass(frozen=True, slots=True)
class Watched:
    """A process that has ended. wall, cpu: seconds; wall: until all was done where it was then told to end. peak: bytes
    of resident memory. servers: CPU-seconds of each server meanwhile."""

    wall: float
    cpu: float
    peak: int
    looks: Sequence[Look]
    servers: Mapping[str, float] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """All of its work."""
        return self.looks[-1].done

    def per_second(self, events: int) -> float:
        """Events a second while they flow; of the whole run when that was too short to be looked at."""
        done = self.done
        first = next((look for look in self.looks if look.done >= done * _EDGE and look.done > 0), None)
        last = next((look for look in self.looks if look.done >= done * (1 - _EDGE)), None)
        if first is None or last is None or last.done == first.done:
            return events / self.wall
        return events * (last.done - first.done) / done / (last.at - first.at)


def start(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], stdout: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a command in `folder`; what it says on standard error goes to the file ``stderr`` there."""
    with errors_of(folder).open("wb") as errors:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=stdout, stderr=errors, cwd=folder, env=environ
        )


def errors_of(folder: Path) -> Path:
    """Where `start` sends standard error."""
    return folder / "stderr"


def watch(
    process: subprocess.Popen[bytes], folder: Path, progress: Callable[[], int], until: int | None = None
) -> Watched:
    """Look at a process until it ends. Raises `RuntimeError` when it fails, or goes on for half an hour.

    progress: how much of its work is to be seen; asked once more when it has ended. What the process used up before is not
    counted. until: how much there is to be done by a process that does not end by itself: it is told to then, killed if that
    does not help.
    """
    before = cpu_seconds(process.pid)
    began = time.monotonic()
    looks: list[Look] = []
    peak, good = 0, {0}
    told: float | None = None
    while not _has_ended(process.pid):
        if time.monotonic() > began + _PATIENCE:
            process.kill()
        peak = max(peak, _peak_of_all(process.pid))
        looks.append(Look(time.monotonic() - began, progress()))
        if told is None and until is not None and looks[-1].done >= until:
            told = looks[-1].at
            process.terminate()
            good |= _ENDED_BY_SIGTERM
        elif told is not None and looks[-1].at > told + _CLOSING:
            process.kill()
            good.add(-signal.SIGKILL)
        time.sleep(_LOOK)
    looks.append(Look(time.monotonic() - began, progress()))
    wall = looks[-1].at if told is None else told
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode not in good:
        said = errors_of(folder).read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{process.args!r} failed with {process.returncode}:\n{said}")
    return Watched(wall, usage.ru_utime + usage.ru_stime - before, peak, looks)


def written(pid: int) -> int:
    """Bytes that a process has handed to write(): also to /dev/null, never to a socket. A zombie's can still be read."""
    return int(_field(Path(f"/proc/{pid}/io"), "wchar:"))


def cpu_seconds(pid: int) -> float:
    """What a process and those of its children that have ended used of the CPUs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def cpu_seconds_of_all(pid: int) -> float:
    """What a server used of the CPUs: its process and all that it has started, those that have ended too."""
    return sum(map(cpu_seconds, [pid, *descendants(pid)]))


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _peak_of_all(pid: int) -> int:
    """The largest that each process of the group has been, together: of these programs alone, for the kernel's figure at the
    end would begin with the memory of who started them."""
    statuses = (Path(f"/proc/{it}/status") for it in (pid, *descendants(pid)))
    return sum(1024 * int(_field(status, "VmHWM:")) for status in statuses)


def _field(file: Path, name: str) -> str:
    try:
        lines = file.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return "0"  # a child that has just ended
    for line in lines:
        if line.startswith(name):
            return line.split()[1]
    return "0"  # a zombie has no memory
