"""A watch that writes down what the loop told it, in order."""

from __future__ import annotations

from collections.abc import Mapping

from liberator.change import Batch
from liberator.protocols import LoopState


class MemoryWatch:
    """states: what the loop did, without repetitions. errors: codes. counts: events by topic. kept: durable events."""

    def __init__(self) -> None:
        self.states: list[LoopState] = []
        self.errors: list[str] = []
        self.counts: dict[str, int] = {}
        self.reconnects = 0
        self.saves = 0
        self.kept = 0
        self.beats = 0

    def beat(self) -> None:
        """See `Watch.beat`."""
        self.beats += 1

    def state(self, name: LoopState) -> None:
        """See `Watch.state`."""
        if self.states[-1:] != [name]:
            self.states.append(name)

    def received(self, batch: Batch, committed_us: int) -> None:
        """See `Watch.received`."""

    def published(self, topics: Mapping[str, int], size: int) -> None:
        """See `Watch.published`."""
        for topic, count in topics.items():
            self.counts[topic] = self.counts.get(topic, 0) + count

    def durable(self, count: int) -> None:
        """See `Watch.durable`."""
        self.kept += count

    def checkpoint_saved(self) -> None:
        """See `Watch.checkpoint_saved`."""
        self.saves += 1

    def error(self, code: str) -> None:
        """See `Watch.error`."""
        self.errors.append(code)

    def reconnect(self) -> None:
        """See `Watch.reconnect`."""
        self.reconnects += 1
