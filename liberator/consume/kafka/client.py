"""What the consumer needs of a Kafka client. Two clients implement it: `confluent` and `kafkapython`.

Enters: topics, offsets. Leaves: events, and news of partitions, told to `Hooks` inside `poll`. Called by `consumer`. Raises
`KafkaFailure`; never commits on its own account.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from liberator.change import ConsumedBatch, TopicPartition

EARLIEST, LATEST = -2, -1
"""What is asked for in place of a time when an end of a partition is meant."""

REQUEST = 5.0
"""Seconds that one question to the brokers may take."""

SLICE = 0.1
"""Seconds after which a library's poll is interrupted, to see to what it has told."""

FETCH_WAIT_MS = 100
"""How long a broker waits for events before it answers that there are none. Our questions stand in line behind that."""


class Hooks(Protocol):
    """Who decides what happens to partitions that come and go. Called in the thread that polls."""

    def begin(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Partitions are being assigned: where to read each of them from."""

    def began(self, partitions: Collection[TopicPartition]) -> None:
        """They are assigned, and read from there."""

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """They go when this returns; until then they can be committed."""

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """They are gone."""

    def fell_behind(self, partition: TopicPartition) -> int:
        """What was to be read next does not exist any more: where to go on."""


class GroupClient(Protocol):
    """One member of a consumer group, reading committed events only."""

    def subscribe(self, topics: Collection[str], hooks: Hooks) -> None:
        """Read these topics from now on, instead of those before."""

    def poll(self, batch: ConsumedBatch, limit: int, timeout: float) -> None:
        """Add at most `limit` events to a batch, waiting at most `timeout` seconds for the first."""

    def passed(self, partition: TopicPartition) -> int:
        """An assigned partition's offset before which there is nothing left that was not given."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on there."""

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Give no events of these."""

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Go on with these."""

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Save, durable when this returns."""

    def member(self) -> object:
        """Who we are in the group, for a producer of the same library that commits for us."""

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """What the group has committed, where it has."""

    def offsets(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Of each partition the first offset of that time (milliseconds since the Unix epoch, `EARLIEST` or `LATEST`) or
        later; the end if there is none. The end is that of what is committed.
        """

    def topics(self) -> dict[str, int]:
        """All topics that we may see, and how many partitions they have."""

    def close(self) -> None:
        """Leave the group. Idempotent."""
