"""The topic of positions through kafka-python. See `liberator.checkpoint.kafka.Journal`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import kafka.errors
from kafka import KafkaConsumer, TopicPartition

from liberator.checkpoint.kafka import READ_WITHIN, TRANSACTION_TIMEOUT_MS, WRITE_WITHIN
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.kafkapython import LibraryProducer
from liberator.kafka.kafkapython_network import connected, failure_of

_BROKEN = kafka.errors.KafkaError
"""What a producer says, without more, about every call after its first failure."""


class _TransactionalProducer(LibraryProducer):
    """The library's producer, with commits that end in time."""

    def commit_within(self, timeout: float) -> None:
        """As `commit_transaction`, which waits for ever while no broker answers."""
        result = self._transaction_manager.begin_commit()
        self._sender.wakeup()
        if not result.wait(timeout * 1000):
            raise kafka.errors.KafkaTimeoutError(f"no broker has committed within {timeout:.0f} s")


class KafkaPythonJournal:
    """Reads with a consumer made for each reading, writes with one producer."""

    def __init__(self, base: Mapping[str, Any], topic: str, transactional_id: str) -> None:
        self._base = base
        self._topic = topic
        self._transactional_id = transactional_id
        self._producer: Any = None

    @property
    def writable(self) -> bool:
        """Is there a producer, started and unbroken?"""
        return self._producer is not None

    def read(self, *, complete: bool) -> list[tuple[bytes | None, bytes | None]]:
        """Committed records from the beginning on."""
        try:
            with self._consumer("read_committed") as consumer:
                end = self._end() if complete else _end_of(consumer, self._topic)
                return _read_to(consumer, TopicPartition(self._topic, 0), end)
        except kafka.errors.KafkaError as error:
            raise failure_of(error) from error

    def fence(self) -> None:
        """Start the transactional producer anew."""
        self.close()
        settings = {
            **self._base,
            "transactional_id": self._transactional_id,
            "transaction_timeout_ms": TRANSACTION_TIMEOUT_MS,
            "max_block_ms": READ_WITHIN * 1000,
            "max_request_size": 64 << 20,
            "metrics_enabled": False,
        }
        self._producer, self._network = connected(_TransactionalProducer, settings)
        self._guarded(self._producer.init_transactions)

    def write(self, records: Mapping[bytes, bytes | None]) -> None:
        """All or nothing."""
        self._guarded(lambda: self._write(records))

    def close(self) -> None:
        """Give back the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.abandon()
            self._network.end()

    def _write(self, records: Mapping[bytes, bytes | None]) -> None:
        self._producer.begin_transaction()
        for key, value in records.items():
            self._producer.send(self._topic, value, key, partition=0)
        self._producer.commit_within(WRITE_WITHIN)

    def _guarded(self, call: Any) -> None:
        try:
            call()
        except kafka.errors.KafkaError as error:
            self.close()
            failure = failure_of(error)
            raise KafkaFailure("sequence", failure.detail) if type(error) is _BROKEN else failure from error

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
