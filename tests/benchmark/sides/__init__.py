"""Who runs. A side has a name, says whether this build can do it at all, prepares before the rows are written, measures.

Enters: a `Lap`. Leaves: `Measured`. Called by `comparison`. A new one is a module here and a line in
`tests.benchmark.comparison.all_sides`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmark.ground import Lap
from tests.benchmark.processes import Watched


@dataclass(frozen=True, slots=True)
class Measured:
    """What one side did in one lap.

    rate: events a second while they flow. wall: seconds from the start of the process to its end. cpu: CPU-seconds of the
    process. peak: bytes of its memory; None: it says nothing. servers: CPU-seconds of each server meanwhile. arrived: events
    that did. repeated: beyond one for each of them.
    """

    rate: float
    wall: float
    cpu: float
    peak: int | None
    servers: Mapping[str, float]
    arrived: int
    repeated: int = 0

    @classmethod
    def of(cls, it: Watched, expected: int, arrived: int, repeated: int = 0) -> Measured:
        """From the process that did it. expected: events that it had to bring."""
        return cls(it.per_second(expected), it.wall, it.cpu, it.peak, it.servers, arrived, repeated)


class Side(ABC):
    """limits: the sides that do a part of this one's work and nothing else; the slowest of them is its limit. peer: the side
    of another maker that does the same work."""

    name: str
    limits: Sequence[str] = ()
    peer: str | None = None

    def refusal(self) -> str | None:
        """Why this build can't do it, in its own words; None: it can."""
        return None

    @abstractmethod
    def prepare(self, lap: Lap) -> None:
        """Before the rows are written: slots, topics, files."""

    @abstractmethod
    def measure(self, lap: Lap) -> Measured:
        """Run over the lap's rows. Raises when it fails; what gets lost is a number."""
