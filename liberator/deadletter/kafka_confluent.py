"""Reading partitions through confluent-kafka. See `liberator.deadletter.kafka.Reader`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place

from liberator.change import ConsumedBatch, TopicPartition
from liberator.deadletter.box import Bounds
from liberator.kafka.confluent import failure_of, library
from liberator.kafka.errors import KafkaFailure

_ABOUT_THE_GROUP = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.COORDINATOR_NOT_AVAILABLE)
"""librdkafka wants a group's name and asks for its coordinator; we read without a group, and need no right to one."""

_ASK = 10.0
_PIECE = 1_000
_QUEUE_KIB = 16 << 10


class ConfluentReader:
    """Two consumers without a group: one of committed records, one of all. quiet: seconds without anything new."""

    def __init__(self, base: Mapping[str, Any], quiet: float) -> None:
        self._base = base
        self._quiet = quiet
        self._consumers: dict[bool, Any] = {}
        self._turn = 0

    def bounds(self, topic: str, partitions: int, *, committed: bool) -> dict[int, Bounds]:
        """Where partitions begin and end."""
        consumer = self._consumer(committed)
        found = {}
        for number in range(partitions):
            ask = partial(consumer.get_watermark_offsets, Place(topic, number), _ASK)
            found[number] = Bounds(*_ask(ask))
        return found

    def offset_at(self, at: TopicPartition, time_ms: int) -> int:
        """The first record of that time or later."""
        consumer = self._consumer(True)
        (found,) = _ask(lambda: consumer.offsets_for_times([Place(*at, time_ms)], _ASK))
        if found.error is not None:
            raise failure_of(found.error)
        if found.offset >= 0:
            return int(found.offset)
        return int(_ask(lambda: self._consumer(False).get_watermark_offsets(Place(*at), _ASK))[1])

    def read(self, at: TopicPartition, start: int, end: int, *, committed: bool) -> Iterator[ConsumedBatch]:
        """Records from `start` to before `end`."""
        consumer = self._consumer(committed)
        turn = -1
        deadline = time.monotonic() + self._quiet
        while start < end:
            if turn != self._turn:  # at the beginning, and when something else was read between two pieces
                turn = self._turn = self._turn + 1
                _ask(partial(consumer.assign, [Place(*at, start)]))
            batch = ConsumedBatch()
            first = _ask(lambda: consumer.poll(0.5))
            if first is not None:  # and what is here already; waiting for more would take its whole time
                for message in (first, *_ask(lambda: consumer.consume(_PIECE - 1, 0))):
                    start = max(start, _take(message, batch, at, end))
            if len(batch):
                yield batch
                deadline = time.monotonic() + self._quiet
            elif time.monotonic() > deadline:
                raise KafkaFailure("timeout", "a transaction is still open there, or no broker answers")

    def close(self) -> None:
        """Give back connections."""
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    def _consumer(self, committed: bool) -> Any:
        if committed not in self._consumers:
            self._consumers[committed] = library(
                Consumer,
                {
                    **self._base,
                    "group.id": "liberator-dlq",
                    "enable.auto.commit": "false",
                    "enable.partition.eof": "true",
                    "isolation.level": "read_committed" if committed else "read_uncommitted",
                    "auto.offset.reset": "earliest",
                    "allow.auto.create.topics": "false",
                    "fetch.wait.max.ms": "50",
                    "queued.max.messages.kbytes": str(_QUEUE_KIB),
                },
            )
        return self._consumers[committed]


def _take(message: Any, batch: ConsumedBatch, at: TopicPartition, end: int) -> int:
    """Add a record to a batch; where to go on."""
    error = message.error()
    if error is not None and error.code() in _ABOUT_THE_GROUP:
        return 0
    if (message.topic(), message.partition()) != at:
        return 0
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:
            raise failure_of(error)
        return int(message.offset() or 0)
    offset = int(message.offset())
    if offset < end:
        batch.topics.append(message.topic())
        batch.partitions.append(message.partition())
        batch.offsets.append(offset)
        batch.timestamps.append(message.timestamp()[1])
        batch.keys.append(message.key())
        batch.values.append(message.value())
        batch.headers.append(tuple(message.headers() or ()))
    return offset + 1


def _ask(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except KafkaException as error:
        raise failure_of(error.args[0]) from error
