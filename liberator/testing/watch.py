"""Watches that write down what the loops told them, in order."""

from __future__ import annotations

from collections.abc import Mapping

from liberator.change import Batch, ConsumedBatch
from liberator.errors import FunctionError
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


class MemoryDispatchWatch:
    """states: what the loop of a sink did, without repetitions. read, finished: events. calls: events and attempt of each
    invocation. failed: codes, by invocation that had failures. dead: topics of events that were given up."""

    def __init__(self) -> None:
        self.states: list[LoopState] = []
        self.errors: list[str] = []
        self.calls: list[tuple[int, int]] = []
        self.failed: list[set[str]] = []
        self.dead: list[str] = []
        self.behind: list[int] = []
        self.read = self.finished = self.left_to_others = self.commits = self.beats = 0

    def beat(self) -> None:
        """See `DispatchWatch.beat`."""
        self.beats += 1

    def state(self, name: LoopState) -> None:
        """See `DispatchWatch.state`."""
        if self.states[-1:] != [name]:
            self.states.append(name)

    def received(self, batch: ConsumedBatch) -> None:
        """See `DispatchWatch.received`."""
        self.read += len(batch)

    def begun(self, events: int, attempt: int) -> None:
        """See `DispatchWatch.begun`."""
        self.calls.append((events, attempt))

    def ended(self, seconds: float, failures: Mapping[int, FunctionError]) -> None:
        """See `DispatchWatch.ended`."""
        if failures:
            self.failed.append({error.code for error in failures.values()})

    def done(self, count: int) -> None:
        """See `DispatchWatch.done`."""
        self.finished += count

    def given_up(self, topic: str) -> None:
        """See `DispatchWatch.given_up`."""
        self.dead.append(topic)

    def forgotten(self, count: int) -> None:
        """See `DispatchWatch.forgotten`."""
        self.left_to_others += count

    def lag(self, events: int, ours: int) -> None:
        """See `DispatchWatch.lag`."""
        self.behind.append(events)

    def committed(self) -> None:
        """See `DispatchWatch.committed`."""
        self.commits += 1

    def error(self, code: str) -> None:
        """See `DispatchWatch.error`."""
        self.errors.append(code)
