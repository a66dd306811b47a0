"""Laps in which every side runs over the same rows, in turn; in every other lap the other way round.

Enters: a `Ground`, what was rehearsed, sides. Leaves: a `Comparison`. Called by the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from liberator.plan.native import installed
from tests.benchmark.ground import Ground
from tests.benchmark.rehearsal import Rehearsed
from tests.benchmark.sides import Measured, Side
from tests.benchmark.sides.connect import Connect
from tests.benchmark.sides.copy import Copy
from tests.benchmark.sides.embedded import Embedded, EmbeddedSnapshot
from tests.benchmark.sides.liberate import SnapshotToDevNull, ToDevNull, ToKafka
from tests.benchmark.sides.producer import Producer
from tests.benchmark.sides.recvlogical import Recvlogical


@dataclass
class Result:
    """One side's laps. refused: why there are none."""

    name: str
    limits: Sequence[str]
    refused: str | None = None
    peer: str | None = None
    laps: list[Measured] = field(default_factory=list)


@dataclass
class Comparison:
    """All sides, in the order of the report. events: of every lap. loads: the machine's load average before every run."""

    events: int
    results: list[Result]
    loads: list[float] = field(default_factory=list)

    def ratio(self, result: Result) -> float | None:
        """Its rate as a part of its limit's, lap by lap; the median of these. None: it has no limit, or did not run."""
        return self._beside(result, result.limits)

    def times_peer(self, result: Result) -> float | None:
        """Its rate by its peer's, in the same way."""
        return self._beside(result, [result.peer] if result.peer else [])

    def _beside(self, result: Result, others: Sequence[str]) -> float | None:
        limits = [other.laps for other in self.results if other.name in others and other.laps]
        if not limits or not result.laps:
            return None
        slowest = [min(measured.rate for measured in lap) for lap in zip(*limits, strict=True)]
        ratios: list[float] = [it.rate / limit for it, limit in zip(result.laps, slowest, strict=True)]
        return median(ratios)

    def lost(self, result: Result) -> int:
        """Events that did not arrive, in all laps together."""
        return sum(self.events - it.arrived for it in result.laps)

    @property
    def complete(self) -> bool:
        """Did everything arrive?"""
        return not any(map(self.lost, self.results))


def all_sides(rehearsed: Rehearsed) -> list[Side]:
    """Everybody, in the order of the report."""
    return [
        Recvlogical(rehearsed.message_bytes),
        ToDevNull(rehearsed.line_bytes, "python"),
        ToDevNull(rehearsed.line_bytes, "native"),
        Embedded(),
        Producer(rehearsed.ready),
        ToKafka("at_least_once", "python"),
        ToKafka("at_least_once", "native"),
        ToKafka("exactly_once", "native" if installed() else "python"),
        Connect(tuned=False),
        Connect(tuned=True),
    ]


def snapshot_sides(line_bytes: int) -> list[Side]:
    """Who reads a table that is there already. line_bytes: of our lines, all together."""
    return [
        Copy(),
        SnapshotToDevNull(line_bytes, "python"),
        SnapshotToDevNull(line_bytes, "native"),
        EmbeddedSnapshot(),
    ]


def compare(ground: Ground, sides: Sequence[Side], rounds: int, tell: Callable[[str], None]) -> Comparison:
    """Run all sides that this build has, `rounds` times. tell: says to people what goes on."""
    results = {side.name: Result(side.name, side.limits, side.refusal(), side.peer) for side in sides}
    comparison = Comparison(ground.events, list(results.values()))
    running = [side for side in sides if results[side.name].refused is None]
    for number in range(1, rounds + 1):
        with ground.lap(f"{ground.workload.key}{number}") as lap:
            for side in running:
                side.prepare(lap)
            lap.write()
            for side in running if number % 2 else reversed(running):
                tell(f"round {number} of {rounds}: {side.name}")
                comparison.loads.append(os.getloadavg()[0])
                results[side.name].laps.append(side.measure(lap))
    return comparison
