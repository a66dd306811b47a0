"""An in-memory broker and its consumers: the stream of functions under test.

Enters: events that a test appends. Leaves: what the consumers of a group are given. One process, one thread; no clock but
for what a consumer that does not poll loses. Passes the same conformance suite as the real ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from liberator.change import ConsumedBatch, ReadHeaders, TopicPartition
from liberator.errors import ConsumeError
from liberator.locallog.share import share
from liberator.protocols import Rebalance, Start

_Event = tuple[int, "bytes | None", "bytes | None", ReadHeaders]


class MemoryStream:
    """A broker in memory. poll_interval: seconds after which a consumer that does not poll loses its partitions."""

    def __init__(self, poll_interval: float = 300.0) -> None:
        self.poll_interval = poll_interval
        self.events: dict[TopicPartition, list[_Event]] = {}
        self._groups: dict[str, _Group] = {}

    def create(self, topic: str, partitions: int = 1) -> None:
        """Make a topic."""
        for number in range(partitions):
            self.events.setdefault(TopicPartition(topic, number), [])

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: ReadHeaders = (),
        *,
        partition: int = 0,
    ) -> None:
        """Add an event; a topic that does not exist is made, with one partition."""
        events = self.events.setdefault(TopicPartition(topic, partition), [])
        events.append((time.time_ns() // 1_000_000, key, value, headers))

    def consumer(self, group: str, start: Start = "earliest") -> MemoryConsumer:
        """A new consumer of a group."""
        return MemoryConsumer(self, self._groups.setdefault(group, _Group()), start)

    def committed(self, group: str) -> Mapping[TopicPartition, int]:
        """What a group has committed."""
        return dict(self._groups[group].committed) if group in self._groups else {}


class MemoryConsumer:
    """Made by `MemoryStream.consumer`. See `liberator.protocols.Consumer`."""

    def __init__(self, stream: MemoryStream, group: _Group, start: Start) -> None:
        self._stream = stream
        self._group = group
        self._start = start
        self._made_at = time.time_ns() // 1_000_000
        self._begun = False
        self._name = ""
        self._topics: Collection[str] | Callable[[str], object] = ()
        self._rebalance: Rebalance | None = None
        self._position: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = 0
        self.polled = time.monotonic()

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """Read these topics, or those whose name the function accepts."""
        self._topics = topics
        self._rebalance = rebalance

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """What comes next, waiting at most `timeout` seconds for the first event."""
        deadline = time.monotonic() + timeout
        while True:
            self._tend()
            batch = self._read(limit)
            left = deadline - time.monotonic()
            if len(batch) or left <= 0:
                return batch
            time.sleep(min(left, 0.005))

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Keep the first offsets that are not done yet."""
        for partition in offsets:
            if self._group.owners.get(partition) != self._name:
                raise _lost(partition)
        self._group.committed.update(offsets)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Give no events of these until `resume`."""
        self._paused.update(self._position.keys() & set(partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Go on with these."""
        self._paused.difference_update(partitions)

    def assigned(self) -> frozenset[TopicPartition]:
        """What is read here."""
        return frozenset(self._position)

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """Go on elsewhere in a partition."""
        if partition not in self._position:
            raise _lost(partition)
        self._position[partition] = self._offset(partition, to)

    def lag(self) -> Mapping[TopicPartition, int]:
        """Events that the group has not done, by partition."""
        committed = self._group.committed
        return {
            partition: len(events) - committed.get(partition, self._offset(partition, self._start))
            for partition, events in self._stream.events.items()
            if self.wants(partition.topic)
        }

    def ends(self) -> Mapping[TopicPartition, int]:
        """The offsets behind the last events."""
        events = self._stream.events
        return {partition: len(events[partition]) for partition in events if self.wants(partition.topic)}

    def close(self) -> None:
        """Leave the group."""
        self._group.leave(self._name)
        self._position.clear()

    def wants(self, topic: str) -> bool:
        """Is it one of those subscribed to?"""
        return bool(self._topics(topic)) if callable(self._topics) else topic in self._topics

    def _tend(self) -> None:
        assert self._rebalance is not None
        self.polled = time.monotonic()
        group = self._group
        if self._name not in group.members:
            self._go(self._position.keys(), self._rebalance.lost)
            self._name = group.join(self)
        group.share_out(self._stream.events, self.polled - self._stream.poll_interval)
        mine = {partition for partition, owner in group.owners.items() if owner == self._name}
        leaving = {partition for partition in mine if group.heirs[partition] != self._name}
        self._go(self._position.keys() & leaving, self._rebalance.revoked)
        group.owners.update({partition: group.heirs[partition] for partition in leaving})
        fresh = mine - leaving - self._position.keys()
        if fresh:
            self._begin(fresh)
            self._rebalance.assigned(fresh)

    def _go(
        self, partitions: Collection[TopicPartition], tell: Callable[[Collection[TopicPartition]], None]
    ) -> None:
        if partitions:
            gone = frozenset(partitions)
            tell(gone)
            for partition in gone:
                del self._position[partition]
            self._paused -= gone

    def _begin(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            offset = self._group.committed.get(partition)
            if offset is None:
                late = self._start == "latest" and self._begun
                offset = (
                    self._first_since(partition, self._made_at)
                    if late
                    else self._offset(partition, self._start)
                )
                if self._start != "earliest":
                    self._group.committed[partition] = offset
            self._position[partition] = offset
        self._begun = True

    def _offset(self, partition: TopicPartition, to: Start | int) -> int:
        if isinstance(to, int):
            return to
        if isinstance(to, datetime):
            return self._first_since(partition, round(to.timestamp() * 1000))
        return 0 if to == "earliest" else len(self._stream.events[partition])

    def _first_since(self, partition: TopicPartition, timestamp: int) -> int:
        events = self._stream.events[partition]
        return next((offset for offset, event in enumerate(events) if event[0] >= timestamp), len(events))

    def _read(self, limit: int) -> ConsumedBatch:
        batch = ConsumedBatch()
        partitions = sorted(self._position.keys() - self._paused)
        self._turn += 1
        for index in range(len(partitions)):
            partition = partitions[(self._turn + index) % len(partitions)]
            start = self._position[partition]
            events = self._stream.events[partition][start : start + limit - len(batch)]
            self._position[partition] += len(events)
            for offset, (timestamp, key, value, headers) in enumerate(events, start):
                batch.topics.append(partition.topic)
                batch.partitions.append(partition.partition)
                batch.offsets.append(offset)
                batch.timestamps.append(timestamp)
                batch.keys.append(key)
                batch.values.append(value)
                batch.headers.append(headers)
        return batch


class _Group:
    def __init__(self) -> None:
        self.members: dict[str, MemoryConsumer] = {}
        self.owners: dict[TopicPartition, str] = {}
        self.heirs: dict[TopicPartition, str] = {}
        self.committed: dict[TopicPartition, int] = {}
        self._count = 0

    def join(self, consumer: MemoryConsumer) -> str:
        self._count += 1
        name = f"member {self._count}"
        self.members[name] = consumer
        return name

    def leave(self, name: str) -> None:
        self.members.pop(name, None)

    def share_out(self, events: Mapping[TopicPartition, object], alive_since: float) -> None:
        """Bury who has not polled since then, and give every partition an heir, and an owner that lives."""
        self.members = {name: member for name, member in self.members.items() if member.polled >= alive_since}
        topics = {partition.topic for partition in events}
        wanted = {
            name: {topic for topic in topics if member.wants(topic)} for name, member in self.members.items()
        }
        self.heirs = share(wanted, {partition: partition.topic for partition in sorted(events)}, self.heirs)
        self.owners = {
            partition: owner if (owner := self.owners.get(partition, "")) in self.members else heir
            for partition, heir in self.heirs.items()
        }


def _lost(partition: TopicPartition) -> ConsumeError:
    return ConsumeError(
        f"partition {partition.partition} of {partition.topic} is not this consumer's", code="consume.lost"
    )
