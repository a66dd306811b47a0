"""What is promised beside rates: the memory of a huge transaction, what an event costs among few and many, a fast start.

Enters: a ground. Leaves: `Figures`. Called by the command line.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from liberator.plan.native import installed
from tests.benchmark.ground import Ground
from tests.benchmark.sides.liberate import LIBERATE, Executor, ToDevNull, ToKafka

_BASE = 1000
"""Events of the run whose cost is taken off the others': starting, connecting, ending."""

_TRIES = 5

_SHORT = 100_000
"""Runs of up to so many events are made `_TRIES` times, and their median counts: a start takes more than ten thousand
events do, and varies by more than they cost."""


@dataclass(frozen=True, slots=True)
class Figures:
    """version: seconds of ``liberate --version``. huge: peak bytes by what one huge transaction was read into. changes: how
    many it had. cost: CPU microseconds per event by how many there were, without start and end."""

    version: float
    changes: int
    huge: Mapping[str, int]
    cost: Mapping[int, float]


def measure(ground: Ground, sizes: Sequence[int], tell: Callable[[str], None]) -> Figures:
    """sizes: of the curve."""
    tell("goals: liberate --version")
    version = median(_seconds_of_version() for _ in range(_TRIES))
    tell(f"goals: a transaction of {ground.changes:,} rows")
    huge = _huge(replace(ground, transaction=ground.changes))
    tell(f"goals: cost per event of {', '.join(f'{size:,}' for size in sizes)} events")
    base, least = _cpu(ground, _BASE)
    cost = {}
    for size in sizes:
        cpu, events = _cpu(ground, size)
        cost[size] = (cpu - base) / (events - least) * 1_000_000
    return Figures(version, ground.changes, huge, cost)


def _seconds_of_version() -> float:
    began = time.monotonic()
    subprocess.run([*LIBERATE, "--version"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _executor() -> Executor:
    return "native" if installed() else "python"


def _huge(ground: Ground) -> dict[str, int]:
    peaks = {}
    with ground.lap("huge") as lap:
        sides = [ToDevNull(1, _executor()), ToKafka("at_least_once", _executor())]
        for side in sides:
            side.prepare(lap)
        lap.write()
        for side in sides:
            measured = side.measure(lap)
            if measured.arrived != lap.events:
                raise RuntimeError(f"{side.name} lost a part of a huge transaction")
            peaks[side.name] = measured.peak or 0
    return peaks


def _cpu(ground: Ground, size: int) -> tuple[float, int]:
    """CPU-seconds of a run into Kafka, and how many events it published."""
    runs = [_run(ground, size, number) for number in range(_TRIES if size <= _SHORT else 1)]
    return median(cpu for cpu, _ in runs), runs[0][1]


def _run(ground: Ground, size: int, number: int) -> tuple[float, int]:
    with replace(ground, asked=size).lap(f"curve{size}x{number}") as lap:
        side = ToKafka("at_least_once", _executor())
        side.prepare(lap)
        lap.write()
        measured = side.measure(lap)
        return measured.cpu, measured.arrived


def table(figures: Figures) -> str:
    """For people."""
    lines = [f"{'liberate --version':44}{figures.version * 1000:8.0f} ms"]
    for name, peak in figures.huge.items():
        lines.append(
            f"{f'{figures.changes:,} rows in one transaction, peak,':44}{peak / 2**20:8.0f} MiB  {name}"
        )
    for size, cost in figures.cost.items():
        lines.append(f"{f'CPU per event of {size:,}':44}{cost:8.1f} us  without start and end")
    return "\n".join(lines)


def as_json(figures: Figures) -> dict[str, object]:
    """For programs."""
    return {
        "version_seconds": figures.version,
        "huge_transaction": {"changes": figures.changes, "peak_bytes": dict(figures.huge)},
        "cpu_microseconds_per_event": {str(size): cost for size, cost in figures.cost.items()},
    }
