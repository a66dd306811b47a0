"""The topic of positions through confluent-kafka. See `liberator.checkpoint.kafka.Journal`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from liberator.checkpoint.kafka import READ_WITHIN, TRANSACTION_TIMEOUT_MS, WRITE_WITHIN
from liberator.kafka.confluent import failure_of, library
from liberator.kafka.errors import KafkaFailure

_ABOUT_THE_GROUP = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.COORDINATOR_NOT_AVAILABLE)
"""librdkafka wants a group's name and asks for its coordinator; we read without a group, and need no right to one."""


class ConfluentJournal:
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
        consumer = library(Consumer, self._consuming("read_committed"))
        try:
            end = self._end() if complete else 0
            # By its number: librdkafka takes half a second to look the beginning up.
            consumer.assign([TopicPartition(self._topic, 0, 0)])
            return _read_to(consumer, end)
        except KafkaException as error:
            raise failure_of(error.args[0]) from error
        finally:
            consumer.close()

    def fence(self) -> None:
        """Start the transactional producer anew."""
        self.close()
        settings = {
            **self._base,
            "transactional.id": self._transactional_id,
            "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
            "message.max.bytes": "1000000000",
            "linger.ms": "0",
        }
        self._producer = library(Producer, settings)
        self._guarded(lambda: self._producer.init_transactions(READ_WITHIN))

    def write(self, records: Mapping[bytes, bytes | None]) -> None:
        """All or nothing."""
        self._guarded(lambda: self._write(records))

    def close(self) -> None:
        """Give back the producer."""
        # Without the library's `close`: that would first try to abort what the broker aborts by itself.
        self._producer = None

    def _write(self, records: Mapping[bytes, bytes | None]) -> None:
        self._producer.begin_transaction()
        for key, value in records.items():
            self._producer.produce(self._topic, value, key, 0)
        self._producer.commit_transaction(WRITE_WITHIN)

    def _guarded(self, call: Any) -> None:
        try:
            call()
        except KafkaException as error:
            self.close()
            raise failure_of(error.args[0]) from error

    def _consuming(self, isolation: str) -> dict[str, Any]:
        return {
            **self._base,
            "group.id": self._transactional_id,
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
            "isolation.level": isolation,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": "50",
        }

    def _end(self) -> int:
        """The end of the topic, transactions under way included."""
        consumer = library(Consumer, self._consuming("read_uncommitted"))
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), WRITE_WITHIN)
            return int(end)
        finally:
            consumer.close()


def _read_to(consumer: Consumer, end: int) -> list[tuple[bytes | None, bytes | None]]:
    records = []
    deadline = time.monotonic() + READ_WITHIN
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        error = None if message is None else message.error()
        if message is None or (error is not None and error.code() in _ABOUT_THE_GROUP):
            continue
        if error is None:
            records.append((message.key(), message.value()))
        elif error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        elif (message.offset() or 0) >= end:
            return records
    raise KafkaFailure("timeout", "a transaction of another connector is still open, or no broker answers")
