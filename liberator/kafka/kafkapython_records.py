"""What kafka-python's consumers give, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liberator.change import ConsumedBatch


def take(records: Sequence[Any], batch: ConsumedBatch) -> None:
    """Add `kafka.consumer.fetcher.ConsumerRecord`s to a batch."""
    batch.topics += [record.topic for record in records]
    batch.partitions += [record.partition for record in records]
    batch.offsets += [record.offset for record in records]
    batch.timestamps += [record.timestamp for record in records]
    batch.keys += [record.key for record in records]
    batch.values += [record.value for record in records]
    batch.headers += [tuple(record.headers) for record in records]
