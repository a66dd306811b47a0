"""The consumer of Kafka, whatever the client: which topics, what may be committed, how far behind the group is.

Enters: topics, commits. Leaves: events in batches. Called by the dispatch loop, in one thread. Where reading stands in each
partition is `reading`'s; what the client does is behind `client.GroupClient`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.kafka.client import LATEST, GroupClient
from liberator.consume.kafka.errors import consume_errors, lost
from liberator.consume.kafka.reading import Reading
from liberator.errors import LiberatorError
from liberator.kafka.errors import KafkaFailure
from liberator.protocols import Rebalance, Start

_LOOK = 0.1


class KafkaConsumer:
    """Made by `liberator.consume.kafka.kafka_consumer`. See `liberator.protocols.Consumer`.

    refresh: seconds between two looks for new topics.
    """

    def __init__(self, client: GroupClient, start: Start, *, refresh: float, where: str) -> None:
        self._client = client
        self._start = start
        self._refresh = refresh
        self._where = where
        self._topics: Collection[str] | Callable[[str], object] = ()
        self._reading: Reading | None = None
        self._subscribed: frozenset[str] = frozenset()
        self._look_at = 0.0
        self._untold: Exception | None = None

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """Read these topics, or those whose name the function accepts."""
        self._topics = topics
        self._reading = Reading(self._client, self._start, rebalance)

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """What comes next, waiting at most `timeout` seconds for the first event. Brokers give an event once: what fails
        behind events that came is raised by the next call."""
        deadline = time.monotonic() + timeout
        batch = ConsumedBatch()
        reading = self._read()
        with self._errors():
            untold, self._untold = self._untold, None
            if untold is not None:
                raise untold
            while not self._follow_topics(reading):
                left = deadline - time.monotonic()
                if left <= 0:
                    return batch
                time.sleep(min(left, _LOOK))
            try:
                self._client.poll(batch, limit, max(0.0, deadline - time.monotonic()))
                reading.note(batch)
                reading.pass_what_nobody_sees()
            except (KafkaFailure, LiberatorError) as failure:
                if not len(batch):
                    raise
                reading.note(batch)
                self._untold = failure
        return batch

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Save the first offsets that are not done yet."""
        reading = self._read()
        if foreign := offsets.keys() - reading.given.keys():
            raise lost(foreign, self._where)
        if offsets:
            with self._errors():
                reading.commit(offsets)

    def member(self) -> object:
        """Who this is in its group, for a producer of the same library that commits for it."""
        return self._client.member()

    def was_committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Such a producer has committed these."""
        self._read().was_committed(offsets)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Give no events of these until `resume`."""
        with self._errors():
            self._client.pause(self._read().given.keys() & set(partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Go on with these."""
        with self._errors():
            self._client.resume(self._read().given.keys() & set(partitions))

    def assigned(self) -> frozenset[TopicPartition]:
        """What is read here."""
        return frozenset(self._read().given)

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """Go on elsewhere in a partition."""
        reading = self._read()
        if partition not in reading.given:
            raise lost([partition], self._where)
        with self._errors():
            offset = to if isinstance(to, int) else reading.offsets([partition], to)[partition]
            self._client.seek(partition, offset)
            reading.given[partition] = offset

    def lag(self) -> Mapping[TopicPartition, int]:
        """Offsets that the group has not done, by partition."""
        with self._errors():
            partitions = self._partitions()
            if not partitions:
                return {}
            ends = self._client.offsets(dict.fromkeys(partitions, LATEST))
            done = self._client.committed(partitions)
            missing = [partition for partition in partitions if partition not in done]
            done.update(self._read().offsets(missing, self._start))
        return {partition: max(0, end - done[partition]) for partition, end in ends.items()}

    def ends(self) -> Mapping[TopicPartition, int]:
        """The offsets behind the last events."""
        with self._errors():
            partitions = self._partitions()
            return self._client.offsets(dict.fromkeys(partitions, LATEST)) if partitions else {}

    def close(self) -> None:
        """Leave the group."""
        if self._reading is not None:
            self._reading.end()
        self._client.close()

    def _partitions(self) -> list[TopicPartition]:
        known = self._client.topics()
        return [
            TopicPartition(topic, number)
            for topic in self._matching(known)
            for number in range(known.get(topic, 0))
        ]

    def _read(self) -> Reading:
        assert self._reading is not None, "subscribe comes first"
        return self._reading

    def _follow_topics(self, reading: Reading) -> bool:
        """Subscribe to what is there now; False: nothing is."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + self._refresh
            wanted = frozenset(self._matching(self._client.topics() if callable(self._topics) else {}))
            if wanted - self._subscribed:
                self._subscribed |= wanted
                self._client.subscribe(self._subscribed, reading)
        return bool(self._subscribed)

    def _matching(self, known: Mapping[str, int]) -> list[str]:
        if callable(self._topics):
            return [name for name in known if self._topics(name)]
        return list(self._topics)

    def _errors(self) -> AbstractContextManager[None]:
        return consume_errors(self._where)
