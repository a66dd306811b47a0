"""What the broker knows of a sink: how far its group is, whoever of it runs. Called by `operate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import closing
from typing import TYPE_CHECKING, Any

from liberator.build.dispatching import Until, stream_consumer
from liberator.change import TopicPartition
from liberator.errors import PreconditionError

if TYPE_CHECKING:
    from liberator.config import SinkConfig


def status_sink(config: SinkConfig) -> dict[str, Any]:
    """Group, and events of each topic that are not done. Joins no group. Raises `ConsumeError`, and `PreconditionError`
    (observe.no_stream) where there is no broker to ask."""
    if config.stream is None:
        raise PreconditionError(
            "it has no stream, so nobody but itself can tell",
            code="observe.no_stream",
            fix="give it observe.listen, and ask it while it runs",
        )
    with closing(stream_consumer(config, Until())) as consumer:
        consumer.subscribe(config.stream.topics or config.reads, _Nobody())
        lag = consumer.lag()
    events: Counter[str] = Counter()
    for partition, count in lag.items():
        events[partition.topic] += count
    return {"group": config.name, "lag_events": events.total(), "topics": dict(sorted(events.items()))}


class _Nobody:
    """Reads no partitions: see `liberator.protocols.Rebalance`."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Never called."""

    revoked = lost = assigned
