"""The topic of positions through kafka-python. See `liberator.checkpoint.kafka.Reader`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import kafka.errors
from kafka import KafkaConsumer, TopicPartition

from liberator.checkpoint.kafka import READ_WITHIN, WRITE_WITHIN
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.kafkapython_network import connected, failure_of


class KafkaPythonReader:
    """Reads with a consumer made for each reading."""

    def __init__(self, base: Mapping[str, Any], topic: str) -> None:
        self._base = base
        self._topic = topic

    def __call__(self, *, complete: bool) -> list[tuple[bytes | None, bytes | None]]:
        """Committed records from the beginning on."""
        try:
            with self._consumer("read_committed") as consumer:
                end = self._end() if complete else _end_of(consumer, self._topic)
                return _read_to(consumer, TopicPartition(self._topic, 0), end)
        except kafka.errors.KafkaError as error:
            raise failure_of(error) from error

    @contextmanager
    def _consumer(self, isolation: str) -> Iterator[Any]:
        settings = {
            **self._base,
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": isolation,
            "allow_auto_create_topics": False,
            "fetch_max_wait_ms": 50,
            "max_partition_fetch_bytes": 32 << 20,
            "max_poll_records": 10_000,
            "metrics_enabled": False,
        }
        consumer, network = connected(KafkaConsumer, settings)
        try:
            consumer.assign([TopicPartition(self._topic, 0)])
            yield consumer
        finally:
            consumer.close()
            network.end()

    def _end(self) -> int:
        """The end of the topic, transactions under way included."""
        with self._consumer("read_uncommitted") as consumer:
            return _end_of(consumer, self._topic)


def _end_of(consumer: Any, topic: str) -> int:
    partition = TopicPartition(topic, 0)
    return int(consumer.end_offsets([partition], timeout_ms=WRITE_WITHIN * 1000)[partition])


def _read_to(consumer: Any, partition: Any, end: int) -> list[tuple[bytes | None, bytes | None]]:
    records: list[tuple[bytes | None, bytes | None]] = []
    deadline = time.monotonic() + READ_WITHIN
    while time.monotonic() < deadline:
        if (consumer.position(partition, timeout_ms=WRITE_WITHIN * 1000) or 0) >= end:
            return records
        for batch in consumer.poll(timeout_ms=100).values():
            records += [(record.key, record.value) for record in batch]
    raise KafkaFailure("timeout", "a transaction of another connector is still open, or no broker answers")
