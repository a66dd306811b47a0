"""Recorded events as a stream: see `liberator.protocols.Consumer`.

Enters: events. Leaves: the same, byte for byte, at the places where they were. One member, who has everything; commits are
kept until it is closed, and nobody else sees them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from liberator.change import ConsumedBatch, Event, TopicPartition
from liberator.protocols import Rebalance, Start

_PAUSE = 0.002


class RecordedConsumer:
    """events: of each partition in the order of their offsets. done: called when all of them are committed."""

    def __init__(self, events: Sequence[Event], done: Callable[[], None] = lambda: None) -> None:
        self._events = events
        self._done = done
        self._ends = {event.place: event.offset + 1 for event in events}
        self._next = 0
        self._partitions = frozenset(event.place for event in events)
        self._paused: set[TopicPartition] = set()
        self._rebalance: Rebalance | None = None
        self._committed: dict[TopicPartition, int] = {}

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """Whatever the topics: these events are meant."""
        self._rebalance = rebalance

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """The next events. While a partition is paused nothing comes, so that their order stays."""
        if self._rebalance is not None:
            self._rebalance.assigned(self._partitions)
            self._rebalance = None
        batch = ConsumedBatch()
        if self._paused or self._next == len(self._events):
            time.sleep(min(timeout, _PAUSE))
            return batch
        for event in self._events[self._next : self._next + limit]:
            batch.topics.append(event.topic)
            batch.partitions.append(event.partition)
            batch.offsets.append(event.offset)
            batch.timestamps.append(event.timestamp)
            batch.keys.append(event.raw_key)
            batch.values.append(event.raw_value)
            batch.headers.append(event.raw_headers)
        self._next += len(batch)
        return batch

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See `Consumer.commit`."""
        self._committed.update(offsets)
        if not any(self.lag().values()):
            self._done()

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        self._paused.update(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        self._paused.difference_update(partitions)

    def assigned(self) -> frozenset[TopicPartition]:
        """See `Consumer.assigned`."""
        return self._partitions

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """What is recorded is given once, from its beginning."""

    def ends(self) -> Mapping[TopicPartition, int]:
        """See `Consumer.ends`."""
        return self._ends

    def lag(self) -> Mapping[TopicPartition, int]:
        """See `Consumer.lag`."""
        return {at: end - self._committed.get(at, 0) for at, end in self.ends().items()}

    def close(self) -> None:
        """Nothing is held."""
