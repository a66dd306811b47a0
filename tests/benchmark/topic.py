"""A Kafka topic: made, watched while somebody publishes into it, and read back.

Enters: a bootstrap address and names. Leaves: how many records there are, and which rows arrived. Called by `ground` and by
the sides that publish to Kafka. Its clients are its own: nothing of the product is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]  # re-exported without saying so

PARTITIONS = 6

_PATIENCE = 30.0
_QUIET = {"log_level": 3}  # errors; the rest is remarks about our many short connections
_PAUSE = 0.2
_AT_ONCE = 5000
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the library forgot


def create(bootstrap: str, name: str) -> None:
    """Make a topic as every side gets one."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **_QUIET})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(_PATIENCE)


def delete(bootstrap: str, names: Sequence[str]) -> None:
    """Give the disk back."""
    if names:
        admin = AdminClient({"bootstrap.servers": bootstrap, **_QUIET})
        for future in admin.delete_topics(list(names)).values():
            future.result(_PATIENCE)


def progress(bootstrap: str, name: str) -> Callable[[], int]:
    """How many records of the topic can be read: those of a transaction when it is committed, with its marker."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **_QUIET})
    ends = {TopicPartition(name, partition): _LATEST for partition in range(PARTITIONS)}

    def readable() -> int:
        found = admin.list_offsets(ends, isolation_level=IsolationLevel.READ_COMMITTED)
        return sum(future.result(_PATIENCE).offset for future in found.values())

    readable()  # the first answer waits for connections: not while somebody is measured
    return readable


def records(bootstrap: str, name: str) -> Iterator[Any]:
    """All records of a topic that a reader gets to see who waits for transactions to be committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            **_QUIET,
            "group.id": "nobody",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        consumer.assign([TopicPartition(name, partition, 0) for partition in range(PARTITIONS)])
        ended, heard = 0, time.monotonic()
        while ended < PARTITIONS:
            batch = consumer.consume(_AT_ONCE, timeout=_PAUSE)
            if batch:
                heard = time.monotonic()
            elif time.monotonic() > heard + _PATIENCE:
                raise RuntimeError(f"the end of {name} did not come within {_PATIENCE:.0f} s")
            for record in batch:
                error = record.error()
                if error is None:
                    yield record
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


@dataclass(frozen=True, slots=True)
class Arrived:
    """events: that came at least once. repeated: those beyond the first."""

    events: int
    repeated: int


def read_back(bootstrap: str, name: str) -> Arrived:
    """Which events arrived; see `identity`."""
    seen: set[tuple[int, str]] = set()
    count = 0
    for record in records(bootstrap, name):
        value = record.value()
        seen.add(identity(orjson.loads(record.key()), None if value is None else orjson.loads(value)))
        count += 1
    return Arrived(len(seen), count - len(seen))


def identity(key: dict[str, Any], value: dict[str, Any] | None) -> tuple[int, str]:
    """What an event is known by: its key ``{"id": N}`` and its operation, where "-" is a tombstone."""
    return key["id"], "-" if value is None else value["op"]
