"""What the suite for consumers works with: streams under test, numbered events, and who watches a group change.

Enters: nothing. Leaves: an interface for a broker under test, and functions that read from it with patience. Used by
`liberator.testing.conformance.consumer`, and by tests of what stands on consumers.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from liberator.change import ConsumedBatch, ReadHeaders, TopicPartition
from liberator.protocols import Consumer, Start

PATIENCE = 120.0
"""Seconds for what must happen in the end."""

QUIET = 0.3
"""Seconds in which nothing more may come."""


class Event(NamedTuple):
    """What is written to a stream under test."""

    key: bytes | None
    value: bytes | None
    headers: ReadHeaders = ()


class Stream(ABC):
    """A broker under test. topic: a name that nobody else uses; further topics and groups are called after it.

    session_timeout, poll_interval: of the consumers it opens, seconds; such that nobody is given up because the machine is
    busy. shortest: both, as short as the broker allows.
    """

    topic: str
    session_timeout: float = 30.0
    poll_interval: float = 30.0
    shortest: tuple[float, float]

    def hasten(self) -> None:
        """Whoever is opened from now on is given up as soon as the broker allows, if it dies or does not poll."""
        self.session_timeout, self.poll_interval = self.shortest

    @abstractmethod
    def create(self, topic: str, partitions: int = 1) -> None:
        """Make a topic."""

    @abstractmethod
    def append(self, topic: str, partition: int, events: Sequence[Event], *, commit: bool = True) -> None:
        """Write events in one transaction, and commit or abort it; durable when this returns."""

    @abstractmethod
    def open(self, group: str, start: Start = "earliest") -> Consumer:
        """A new consumer, as a new process would make it."""


class DurableStream(Stream):
    """A broker that other processes can use too."""

    @abstractmethod
    def program(self, group: str) -> str:
        """Python statements that bind ``consumer`` to a consumer of that group."""


@dataclass
class Watcher:
    """Keeps a record of what a consumer is told. at_assigned, at_revoked: called with every assignment, every revocation."""

    told: list[tuple[str, frozenset[TopicPartition]]] = field(default_factory=list)
    at_assigned: Callable[[Collection[TopicPartition]], None] = lambda partitions: None
    at_revoked: Callable[[Collection[TopicPartition]], None] = lambda partitions: None

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """See `Rebalance.assigned`."""
        self.told.append(("assigned", frozenset(partitions)))
        self.at_assigned(partitions)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """See `Rebalance.revoked`."""
        self.told.append(("revoked", frozenset(partitions)))
        self.at_revoked(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """See `Rebalance.lost`."""
        self.told.append(("lost", frozenset(partitions)))

    def balance(self) -> frozenset[TopicPartition]:
        """What is left when all that was told is added up."""
        held: set[TopicPartition] = set()
        for what, partitions in self.told:
            if what == "assigned":
                assert not held & partitions, "a partition was assigned twice"
                held |= partitions
            else:
                assert partitions <= held, "a partition went that was not there"
                held -= partitions
        return frozenset(held)


def numbered(numbers: Iterable[int]) -> list[Event]:
    """Events that carry their number."""
    return [Event(b"%d" % (number % 7), b'{"n":%d}' % number) for number in numbers]


def numbers(batch: ConsumedBatch) -> list[int]:
    """The numbers of `numbered`, in the order of the batch."""
    return [json.loads(value)["n"] for value in batch.values if value is not None]


def joined(batches: Iterable[ConsumedBatch]) -> ConsumedBatch:
    """Several batches as one."""
    whole = ConsumedBatch()
    for batch in batches:
        for column in ConsumedBatch.__slots__:
            getattr(whole, column).extend(getattr(batch, column))
    return whole


def read(consumer: Consumer, count: int, *, quiet: float = 0) -> ConsumedBatch:
    """Poll until `count` events have come, and then for `quiet` seconds none."""
    batches: list[ConsumedBatch] = []
    deadline = time.monotonic() + PATIENCE
    while sum(map(len, batches)) < count:
        assert time.monotonic() < deadline, f"only {sum(map(len, batches))} of {count} events came"
        batches.append(consumer.poll(100, 0.2))
    end = time.monotonic() + quiet
    while (left := end - time.monotonic()) > 0:
        batches.append(consumer.poll(100, left))
    whole = joined(batches)
    assert len(whole) == count, f"{len(whole)} events came instead of {count}"
    return whole


def turns(consumers: Iterable[Consumer], until: Callable[[], bool]) -> ConsumedBatch:
    """Let all of them poll in turn until something is true; what they were given meanwhile."""
    batches = []
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, "it never came true"
        batches += [consumer.poll(100, 0.05) for consumer in consumers]
    return joined(batches)


def done(batch: ConsumedBatch) -> dict[TopicPartition, int]:
    """What is to be committed when all of a batch is done."""
    offsets: dict[TopicPartition, int] = {}
    for topic, partition, offset in zip(batch.topics, batch.partitions, batch.offsets, strict=True):
        offsets[TopicPartition(topic, partition)] = offset + 1
    return offsets
