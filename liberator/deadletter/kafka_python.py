"""Reading partitions through kafka-python. See `liberator.deadletter.kafka.Reader`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import kafka.errors
from kafka import KafkaConsumer
from kafka import TopicPartition as Place

from liberator.change import ConsumedBatch, TopicPartition
from liberator.deadletter.box import Bounds
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.kafkapython_network import connected, failure_of
from liberator.kafka.kafkapython_records import take

_ASK_MS = 10_000


class KafkaPythonReader:
    """Two consumers without a group: one of committed records, one of all. quiet: seconds without anything new."""

    def __init__(self, base: Mapping[str, Any], quiet: float) -> None:
        self._base = base
        self._quiet = quiet
        self._consumers: dict[bool, tuple[Any, Any]] = {}
        self._turn = 0

    def bounds(self, topic: str, partitions: int, *, committed: bool) -> dict[int, Bounds]:
        """Where partitions begin and end."""
        consumer = self._consumer(committed)
        places = [Place(topic, number) for number in range(partitions)]
        firsts = self._ask(lambda: consumer.beginning_offsets(places, timeout_ms=_ASK_MS))
        ends = self._ask(lambda: consumer.end_offsets(places, timeout_ms=_ASK_MS))
        return {place.partition: Bounds(int(firsts[place]), int(ends[place])) for place in places}

    def offset_at(self, at: TopicPartition, time_ms: int) -> int:
        """The first record of that time or later."""
        place = Place(*at)
        consumer = self._consumer(True)
        found = self._ask(lambda: consumer.offsets_for_times({place: time_ms}, timeout_ms=_ASK_MS))[place]
        if found is not None:
            return int(found.offset)
        return int(self._ask(lambda: self._consumer(False).end_offsets([place], timeout_ms=_ASK_MS))[place])

    def read(self, at: TopicPartition, start: int, end: int, *, committed: bool) -> Iterator[ConsumedBatch]:
        """Records from `start` to before `end`."""
        place = Place(*at)
        consumer = self._consumer(committed)
        turn = -1
        deadline = time.monotonic() + self._quiet
        while start < end:
            if turn != self._turn:  # at the beginning, and when something else was read between two pieces
                turn = self._turn = self._turn + 1
                self._ask(lambda: consumer.assign([place]))
                self._ask(partial(consumer.seek, place, start))
            batch = ConsumedBatch()
            for records in self._ask(lambda: consumer.poll(timeout_ms=200)).values():
                take([record for record in records if record.offset < end], batch)
            start = self._ask(lambda: consumer.position(place, timeout_ms=_ASK_MS))
            if len(batch):
                yield batch
                deadline = time.monotonic() + self._quiet
            elif time.monotonic() > deadline:
                raise KafkaFailure("timeout", "a transaction is still open there, or no broker answers")

    def close(self) -> None:
        """Give back connections."""
        for consumer, network in self._consumers.values():
            consumer.close()
            network.end()
        self._consumers.clear()

    def _consumer(self, committed: bool) -> Any:
        if committed not in self._consumers:
            settings = {
                **self._base,
                "group_id": None,
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest",
                "isolation_level": "read_committed" if committed else "read_uncommitted",
                "allow_auto_create_topics": False,
                "fetch_max_wait_ms": 50,
                "max_partition_fetch_bytes": 4 << 20,
                "max_poll_records": 1_000,
                "metrics_enabled": False,
            }
            self._consumers[committed] = connected(KafkaConsumer, settings)
        return self._consumers[committed][0]

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (kafka.errors.KafkaError, OSError, RuntimeError) as error:
            for _, network in self._consumers.values():
                if network.refusal is not None:
                    raise network.refusal from error
            raise failure_of(error) from error
