"""The topic of positions through confluent-kafka. See `liberator.checkpoint.kafka.Reader`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from liberator.checkpoint.kafka import READ_WITHIN, WRITE_WITHIN
from liberator.kafka.confluent import failure_of, library
from liberator.kafka.errors import KafkaFailure

_ABOUT_THE_GROUP = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.COORDINATOR_NOT_AVAILABLE)
"""librdkafka wants a group's name and asks for its coordinator; we read without a group, and need no right to one."""


class ConfluentReader:
    """Reads with a consumer made for each reading."""

    def __init__(self, base: Mapping[str, Any], topic: str, group: str) -> None:
        self._base = base
        self._topic = topic
        self._group = group

    def __call__(self, *, complete: bool) -> list[tuple[bytes | None, bytes | None]]:
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

    def _consuming(self, isolation: str) -> dict[str, Any]:
        return {
            **self._base,
            "group.id": self._group,
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
