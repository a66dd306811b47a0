"""A consumer group of Kafka, from outside. See `liberator.consume.group`.

That nobody is at work is for the brokers to say: they take offsets from who is no member only while a group has none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager

from liberator.change import TopicPartition
from liberator.consume.group import Bounds, active
from liberator.consume.kafka.client import EARLIEST, LATEST, GroupClient
from liberator.consume.kafka.errors import REBALANCING, consume_errors
from liberator.kafka.errors import KafkaFailure

_UNKNOWN_MEMBER = 25


class KafkaGroup:
    """Made by `liberator.consume.kafka.kafka_group`. where: the broker, for people."""

    def __init__(self, client: GroupClient, group: str, where: str) -> None:
        self._client = client
        self._group = group
        self._where = where

    def bounds(self, topics: Collection[str] | Callable[[str], object]) -> dict[TopicPartition, Bounds]:
        """Where partitions begin and end."""
        with self._errors():
            partitions = [
                TopicPartition(name, number)
                for name, count in self._client.topics().items()
                if (topics(name) if callable(topics) else name in topics)
                for number in range(count)
            ]
            if not partitions:
                return {}
            first = self._client.offsets(dict.fromkeys(partitions, EARLIEST))
            ends = self._client.offsets(dict.fromkeys(partitions, LATEST))
        return {at: Bounds(first[at], ends[at]) for at in partitions}

    def offsets_at(self, partitions: Collection[TopicPartition], time_ms: int) -> dict[TopicPartition, int]:
        """The first events of that time or later."""
        with self._errors():
            return self._client.offsets(dict.fromkeys(partitions, max(0, time_ms))) if partitions else {}

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """What the group has committed."""
        with self._errors():
            return self._client.committed(partitions) if partitions else {}

    def move(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Let the group go on there."""
        if not offsets:
            return
        with self._errors():
            try:
                self._client.commit(offsets)
            except KafkaFailure as failure:
                if failure.key in (_UNKNOWN_MEMBER, REBALANCING, "lost"):
                    raise active(self._group) from failure
                raise

    def close(self) -> None:
        """Give back connections."""
        self._client.close()

    def _errors(self) -> AbstractContextManager[None]:
        return consume_errors(self._where)
