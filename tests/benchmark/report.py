"""What came out, for people and for programs.

Enters: a `Comparison`. Leaves: a table as text, and a JSON value. Called by the command line. Never measures.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import liberator
from tests.benchmark.comparison import Comparison, Result
from tests.benchmark.sides import Measured

_SERVERS = ("PostgreSQL", "Kafka")
_HEAD = (
    f"{'':40}{'events/s':>10}{'with start':>12}   {'CPU-s per million':^28}{'peak':>9}   {'of its limit':24}  of its peer",
    f"{'':40}{'':10}{'':12}   {'its own':>8}{'PostgreSQL':>12}{'Kafka':>8}",
)


def table(comparison: Comparison) -> str:
    """Medians of all rounds; then what was lost, and what came twice."""
    lines = [*_HEAD, *(_line(comparison, result) for result in comparison.results)]
    return "\n".join([*lines, *_remarks(comparison)])


def _line(comparison: Comparison, result: Result) -> str:
    if result.refused is not None:
        return f"{result.name:40}  left out: {result.refused}"
    million = comparison.events / 1_000_000
    peak = _middle(result.laps, lambda it: None if it.peak is None else it.peak / 2**20)
    cpu = [_middle(result.laps, lambda it: it.cpu / million)]
    cpu += [_middle(result.laps, partial(_per_million, server, million)) for server in _SERVERS]
    own, postgres, kafka = (_number(used, ".1f") for used in cpu)
    ratio, times = comparison.ratio(result), comparison.times_peer(result)
    limit = "" if ratio is None else f"{ratio:.2f} of {_limit(comparison, result)}"
    return (
        f"{result.name:40}{median(it.rate for it in result.laps):10,.0f}"
        f"{comparison.events / median(it.wall for it in result.laps):12,.0f}"
        f"   {own:>8}{postgres:>12}{kafka:>8}{_number(peak, '.0f'):>5}{' MiB' if peak else '    '}"
        f"   {limit:24}{'' if times is None else f'  {times:.1f} x {result.peer}'}"
    ).rstrip()


def _limit(comparison: Comparison, result: Result) -> str:
    """The name of the one that is the slowest in the middle."""
    limits = [limit for limit in comparison.results if limit.name in result.limits and limit.laps]
    return min(limits, key=lambda limit: median(it.rate for it in limit.laps)).name


def _remarks(comparison: Comparison) -> list[str]:
    lost = [
        f"LOST  {result.name}: {comparison.lost(result):,} events"
        for result in comparison.results
        if comparison.lost(result)
    ]
    repeated = [
        f"{result.name}: {again:,} events came more than once"
        for result in comparison.results
        if (again := sum(it.repeated for it in result.laps))
    ]
    return ["", *lost, *repeated] if lost or repeated else ["", "everything arrived"]


def ground_of(**machine: Any) -> dict[str, Any]:
    """What ran, and where. machine: more about that."""
    system = f"{platform.system()} {platform.machine()}"
    return {
        "liberator": liberator.__version__,
        "python": platform.python_version(),
        "machine": {"system": system, "cpus": os.cpu_count(), **machine},
    }


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything that was measured, and on what."""
    return {
        **ground_of(load=comparison.loads),
        "events": comparison.events,
        "sides": [_side(comparison, result) for result in comparison.results],
    }


def _side(comparison: Comparison, result: Result) -> dict[str, Any]:
    return {
        "side": result.name,
        "refused": result.refused,
        "limits": list(result.limits),
        "peer": result.peer,
        "ratio": comparison.ratio(result),
        "times_peer": comparison.times_peer(result),
        "lost": comparison.lost(result),
        "laps": [
            {
                "events_per_second": it.rate,
                "wall_seconds": it.wall,
                "cpu_seconds": it.cpu,
                "peak_bytes": it.peak,
                "server_cpu_seconds": dict(it.servers),
                "arrived": it.arrived,
                "repeated": it.repeated,
            }
            for it in result.laps
        ],
    }


def _middle(laps: Sequence[Measured], figure: Callable[[Measured], float | None]) -> float | None:
    known = [value for it in laps if (value := figure(it)) is not None]
    return median(known) if known else None


def _per_million(server: str, million: float, it: Measured) -> float | None:
    return it.servers[server] / million if server in it.servers else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
