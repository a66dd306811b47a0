"""Which partitions know a producer: the first request to each of the others has to travel alone.

Enters: where events are to go. Leaves: which of them must arrive before the others may follow. Called by the confluent
client, in the thread that sends. Pure: it sends nothing.

Not obvious (docs/adr/0046): a broker takes an idempotent producer's events in the order of their numbers only once it
knows that producer. Of the first requests that are under way at the same time it may refuse one, because it has not quite
become the partition's leader, and take the next. librdkafka then reports the first as delivered, too. Nothing can be
overtaken where nothing follows until the first has arrived.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from liberator.change import EncodedBatch
from liberator.kafka.partition import partition_of

_FORGET_AFTER = 3600.0
"""Seconds for which a partition is believed to know us: brokers forget a silent producer after a day by default."""

_MOST_KEYS = 10_000
"""Keys of a topic that are remembered. Many have reached all partitions long before."""

Lane = tuple[str, int]
"""A topic and one of its partitions."""


class First:
    """What one producer has to send alone. partitions: how many a topic has."""

    def __init__(self, partitions: Callable[[str], int], tick: Callable[[], float] = time.monotonic) -> None:
        self._partitions = partitions
        self._tick = tick
        self._since = tick()
        self._known: set[Lane] = set()
        self._complete: set[str] = set()
        self._keys: dict[str, set[bytes]] = defaultdict(set)
        """Keys of topics that are not complete, whose partitions are known: hashing them anew each time is slow."""
        self._counts: dict[str, int] = {}
        self._under_way: set[Lane] = set()

    @property
    def waits(self) -> bool:
        """Are first requests under way?"""
        return bool(self._under_way)

    def complete(self, topics: Iterable[str]) -> bool:
        """Do all partitions of all of them know us?"""
        if self._tick() - self._since > _FORGET_AFTER:
            self._since = self._tick()
            self._known.clear()
            self._complete.clear()
            self._keys.clear()
        return self._complete.issuperset(topics)

    def of_batch(self, batch: EncodedBatch, start: int, sent: Collection[int]) -> dict[int, int]:
        """The events from index `start` on, without those `sent`, that go first to a partition which does not know us: index
        -> partition."""
        found: dict[Lane, int] = {}
        self._counts.update((topic, self._partitions(topic)) for topic in {*batch.topics} - self._complete)
        for index in range(start, len(batch)):
            topic, key = batch.topics[index], batch.keys[index]
            if topic in self._complete or index in sent:
                continue
            lane = self._unknown(topic, found) if key is None else self._lane(topic, key)
            if lane is not None and lane not in self._known:
                found.setdefault(lane, index)
        return {index: partition for (_, partition), index in found.items()}

    def of_lanes(self, lanes: Sequence[Lane]) -> set[int]:
        """As `of_batch`, for records whose partitions are given: their indices."""
        found: dict[Lane, int] = {}
        for index, lane in enumerate(lanes):
            if lane not in self._known:
                found.setdefault(lane, index)
        return set(found.values())

    def went(self, lane: Lane) -> None:
        """A first request is under way."""
        self._under_way.add(lane)

    def arrived(self) -> None:
        """Whatever was under way is in its partition."""
        self._known |= self._under_way
        for topic in {topic for topic, _ in self._under_way} - self._complete:
            count = self._counts.get(topic)
            if count and self._known.issuperset((topic, number) for number in range(count)):
                self._complete.add(topic)
                self._keys.pop(topic, None)
        self._under_way.clear()

    def _unknown(self, topic: str, found: Mapping[Lane, int]) -> Lane | None:
        """A partition for an event without a key, which may go to any."""
        lanes = ((topic, number) for number in range(self._counts[topic]))
        return next((lane for lane in lanes if lane not in self._known and lane not in found), None)

    def _lane(self, topic: str, key: bytes) -> Lane | None:
        """None: it is known to know us."""
        keys = self._keys[topic]
        if key in keys:
            return None
        lane = (topic, partition_of(key, self._counts[topic]))
        if lane in self._known:
            if len(keys) >= _MOST_KEYS:
                keys.clear()
            keys.add(key)
        return lane
