"""Several things that give events, read as one: a stream, files, the times of a schedule.

Enters: consumers, each with partitions of its own. Leaves: the events of all. Read by the dispatch loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack

from liberator.change import ConsumedBatch, TopicPartition
from liberator.errors import ConsumeError
from liberator.protocols import Consumer, Rebalance, Start


class SeveralConsumers:
    """See `liberator.protocols.Consumer`. Each of them is polled in turn, and all of them all the time."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = consumers
        self._untold: ConsumeError | None = None

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """See `Consumer.subscribe`. Those that are no stream know what they read."""
        for consumer in self._consumers:
            consumer.subscribe(topics, rebalance)

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """What the next of them gives. What fails beside events that came is raised by the next call."""
        failure, self._untold = self._untold, None
        if failure is not None:
            raise failure
        together = ConsumedBatch()
        for consumer in self._consumers:
            left = limit - len(together)
            # A consumer that is not polled loses its partitions, also when there is room for nothing more.
            wait = 0.0 if len(together) else timeout / len(self._consumers)
            try:
                together.extend(consumer.poll(max(1, left), wait))
            except ConsumeError as error:
                failure = failure or error
        if failure is not None and not len(together):
            raise failure
        self._untold = failure
        return together

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """To each what is its own."""
        for consumer in self._consumers:
            ours = consumer.assigned()
            if own := {place: offset for place, offset in offsets.items() if place in ours}:
                consumer.commit(own)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        for consumer in self._consumers:
            if own := consumer.assigned() & set(partitions):
                consumer.pause(own)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        for consumer in self._consumers:
            if own := consumer.assigned() & set(partitions):
                consumer.resume(own)

    def assigned(self) -> frozenset[TopicPartition]:
        """What all of them read."""
        return frozenset().union(*(consumer.assigned() for consumer in self._consumers))

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """See `Consumer.seek`."""
        for consumer in self._consumers:
            if partition in consumer.assigned():
                consumer.seek(partition, to)

    def lag(self) -> Mapping[TopicPartition, int]:
        """See `Consumer.lag`."""
        return {place: lag for consumer in self._consumers for place, lag in consumer.lag().items()}

    def ends(self) -> Mapping[TopicPartition, int]:
        """See `Consumer.ends`."""
        return {place: end for consumer in self._consumers for place, end in consumer.ends().items()}

    def close(self) -> None:
        """Close all of them."""
        with ExitStack() as stack:
            for consumer in self._consumers:
                stack.callback(consumer.close)
