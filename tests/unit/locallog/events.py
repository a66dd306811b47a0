"""Writing to and reading from a local log, past publishers and consumers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from liberator.change import ConsumedBatch, TopicPartition
from liberator.locallog import LocalLog


class Row(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None


def append(
    log: LocalLog, events: Sequence[tuple[bytes | None, bytes | None]], topic: str = "t", partition: int = 0
) -> None:
    """Write events (key, value) in one transaction."""
    count = len(events)
    with log.transaction() as transaction:
        transaction.append(
            [topic] * count,
            [partition] * count,
            [key for key, _ in events],
            [value for _, value in events],
            [None] * count,
        )


def read(log: LocalLog, topic: str = "t", partition: int = 0, offset: int = 0) -> ConsumedBatch:
    """All events of a partition from `offset` on."""
    batch = ConsumedBatch()
    at = TopicPartition(topic, partition)
    while offset < log.bounds([topic])[at].next:
        offset = log.read(at, offset, 1_000, 1 << 20, batch)
    return batch


def rows(log: LocalLog, topic: str = "t", partition: int = 0) -> list[Row]:
    """All events of a partition."""
    batch = read(log, topic, partition)
    return list(map(Row, batch.offsets, batch.keys, batch.values))


def keys(log: LocalLog, topic: str = "t", partition: int = 0) -> list[bytes | None]:
    """The keys of all events of a partition."""
    return [row.key for row in rows(log, topic, partition)]
