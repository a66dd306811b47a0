"""What is done to a batch before a transaction takes it: topics that exist, events that fit.

Enters: encoded batches. Leaves: the same, control records among the events, too large events turned into dead letters.
Called by `transactional`. What brokers refuse in spite of that is remembered for the next attempt: nothing that failed is
sent again as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from liberator.change import EncodedBatch
from liberator.errors import PublishError
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.size import fits, too_large
from liberator.kafka.topics import Topics
from liberator.publish.kafka.too_large import DeadLetters, divert

BATCH_BYTES = 1_000_000
"""What goes to a partition at once: below every broker's default limit (1,048,588)."""

LEAST_BATCH_BYTES = 512

_EVENT_BYTES = 400
"""What an event costs here and in the client besides its key and value."""


@dataclass(slots=True)
class Lessons:
    """What brokers taught publishers of one connector: it outlives each of them. limits: of topics, in bytes. batch_bytes:
    what goes to a partition at once."""

    limits: dict[str, int] = field(default_factory=dict)
    batch_bytes: int = BATCH_BYTES


def weight_of(batch: EncodedBatch) -> int:
    """Bytes that a batch takes here and in the client until it is acknowledged, about."""
    return 2 * batch.size() + _EVENT_BYTES * len(batch)


class Preparing:
    """Makes batches ready. largest: the largest event that the client can send, in bytes."""

    def __init__(
        self, topics: Topics, largest: int, dead_letters: DeadLetters | None, lessons: Lessons
    ) -> None:
        self._topics = topics
        self._largest = largest
        self._dead_letters = dead_letters
        self._lessons = lessons

    @property
    def batch_bytes(self) -> int:
        """What may go to a partition at once."""
        return self._lessons.batch_bytes

    @property
    def partitions(self) -> Callable[[str], int]:
        """How many partitions a topic has."""
        return self._topics.partitions

    def prepare(self, batch: EncodedBatch) -> EncodedBatch | None:
        """The batch as it is sent; None: no broker answers. Raises `PublishError`, also (retryable) when requests must
        become smaller first."""
        batch = batch.with_control()
        names = set(batch.topics)
        if not self._topics.ensure(names):
            return None
        smallest = min(map(self._limit, names), default=self.batch_bytes)
        if smallest < self.batch_bytes:
            self._lessons.batch_bytes = smallest
            raise PublishError(
                f"a topic takes only {smallest} bytes at once",
                code="publish.smaller_requests",
                fix="nothing to do: the connector goes on with smaller requests",
                retryable=True,
            )
        if fits(batch, smallest) or not too_large(batch, self._fresh_limit):
            return batch
        if self._dead_letters is not None and not self._topics.ensure([self._dead_letters.topic]):
            return None
        return divert(batch, self._limit, self._dead_letters)

    def gone(self, names: Collection[str]) -> str | None:
        """One of those topics that was deleted meanwhile. Raises `KafkaFailure`."""
        return self._topics.gone(names)

    def refused(self, failure: KafkaFailure) -> PublishError:
        """What brokers refused, as an error. Retryable when the next attempt does it in another way."""
        error = failure.publish_error()
        action = failure.verdict.action
        if action == "dead_letter" and failure.topic is not None:
            if not self._learn(failure.topic, failure):
                return error
        elif action != "create":
            return error
        return PublishError(error.what, code=error.code, where=error.where, fix=error.fix, retryable=True)

    def _learn(self, topic: str, failure: KafkaFailure) -> bool:
        """Did we learn something from it?"""
        if failure.alone:
            self._lessons.limits[topic] = min(failure.size - 1, self._limit(topic))
        elif self.batch_bytes > LEAST_BATCH_BYTES:
            self._lessons.batch_bytes //= 8
        else:
            return False
        return True

    def _limit(self, topic: str) -> int:
        return min(self._topics.limit(topic), self._largest, self._lessons.limits.get(topic, self._largest))

    def _fresh_limit(self, topic: str) -> int:
        self._topics.fresh_limit(topic)
        return self._limit(topic)
