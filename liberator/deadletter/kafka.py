"""Dead letters in Kafka, through either client. See `liberator.deadletter.box`.

Theory of operation: events and marks are written in one Kafka transaction of a producer whose transactional id is made of
the dead-letter topic's name. Whoever starts it fences those before, and what they left open is ended. Before the commit
the partitions are read once more, uncommitted records too, up to where our own events are by then: what stands before
them came before them, and what comes later stands behind them. So who reads committed events never sees an older event
behind a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from liberator.change import ConsumedBatch, PlacedRecord, TopicPartition
from liberator.deadletter.box import Bounds, Seen
from liberator.errors import DeadLetterError, PublishError
from liberator.kafka import Client, Driver, TopicSettings, driver
from liberator.kafka.client import Transactions, TransactionTimeouts
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.topics import Topics

CONNECT_WITHIN = 10.0
"""Seconds in which a broker must answer."""

QUIET = 30.0
"""Seconds without anything new after which reading is given up: a transaction that a killed writer left open ends sooner."""

_COMMIT_WITHIN = 30.0

_ABORT_WITHIN = 5.0

_TIMEOUTS = TransactionTimeouts(start=30.0, open=60.0)

_ONE_BY_ONE = 1
"""Bytes of a batch: every record goes by itself, so that none is refused for its neighbours' size."""


class Reader(Protocol):
    """Reads partitions without a group. Raises `KafkaFailure`."""

    def bounds(self, topic: str, partitions: int, *, committed: bool) -> dict[int, Bounds]:
        """Where partitions begin and end. committed: to where the oldest open transaction begins."""

    def offset_at(self, at: TopicPartition, time_ms: int) -> int:
        """The first record of that time or later; the end if there is none."""

    def read(self, at: TopicPartition, start: int, end: int, *, committed: bool) -> Iterator[ConsumedBatch]:
        """Records from `start` to before `end`; with `committed` those of transactions under way are waited for."""

    def close(self) -> None:
        """Give back connections. Idempotent."""


class KafkaBox:
    """The Kafka at `url`. create_topics: how missing topics are made; None: they are refused."""

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, str],
        create_topics: TopicSettings | None,
        client: Client = "auto",
    ) -> None:
        self._url = url
        self._library = driver(url, options, client=client, client_id="liberator-dlq")
        self._cluster = self._library.cluster()
        self._topics = Topics(self._cluster, create_topics, None)
        self._reader = _reader(self._library)
        self._producer: Transactions | None = None
        self._id = ""
        with self._errors():
            self._cluster.check(CONNECT_WITHIN)

    def bounds(self, topic: str, *, complete: bool = True) -> dict[int, Bounds]:
        """Where the partitions begin and end."""
        with self._errors():
            partitions = self._cluster.describe([topic]).get(topic, 0)
            return self._reader.bounds(topic, partitions, committed=not complete) if partitions else {}

    def offset_at(self, at: TopicPartition, time_ms: int) -> int:
        """The first record of that time or later."""
        with self._errors():
            return self._reader.offset_at(at, max(0, time_ms))

    def read(self, at: TopicPartition, start: int, end: int) -> Iterator[ConsumedBatch]:
        """The committed records from `start` to before `end`."""
        if start < end:
            with self._errors():
                yield from self._reader.read(at, start, end, committed=True)

    def ensure(self, topic: str) -> int:
        """Make a missing topic."""
        with self._errors():
            if not self._topics.ensure([topic]):
                raise KafkaFailure("unreachable")
            return self._topics.partitions(topic)

    def limit(self, topic: str) -> int:
        """``max.message.bytes``."""
        with self._errors():
            return min(self._topics.limit(topic), self._library.largest)

    def take_over(self, topic: str) -> None:
        """Start the producer of this dead-letter topic."""
        self._id = f"liberator.dead-letters.{topic}"
        with self._errors():
            self._start()

    def write(
        self,
        events: Sequence[PlacedRecord],
        marks: Sequence[PlacedRecord],
        seen: Seen,
        overtaken: Callable[[ConsumedBatch], bool],
    ) -> bool:
        """One transaction."""
        assert self._producer is not None, "take_over comes first"
        with self._errors():
            self._producer.begin()
            self._producer.place(events)
            if not self._producer.arrived(_COMMIT_WITHIN):
                raise KafkaFailure("timeout", "the events were not taken")
            if self._is_overtaken(seen, overtaken):
                self._producer.abort(_ABORT_WITHIN)
                self._start()
                return False
            self._producer.place(marks)
            self._commit(self._producer)
        return True

    def close(self) -> None:
        """Give back connections; what is not committed is aborted by the brokers."""
        self._drop()
        self._reader.close()
        self._cluster.close()

    def _is_overtaken(self, seen: Seen, overtaken: Callable[[ConsumedBatch], bool]) -> bool:
        for topic in {at.topic for at in seen}:
            places = [at for at in seen if at.topic == topic]
            count = max(at.partition for at in places) + 1
            ends = self._reader.bounds(topic, count, committed=False)
            for at in places:
                for batch in self._reader.read(at, seen[at], ends[at.partition].end, committed=False):
                    if overtaken(batch):
                        return True
        return False

    def _commit(self, producer: Transactions) -> None:
        deadline = time.monotonic() + _COMMIT_WITHIN
        while not producer.commit(1.0):
            if time.monotonic() > deadline:
                raise KafkaFailure("timeout", "whether the last round was committed is not known")

    def _start(self) -> None:
        self._drop()
        self._producer = self._library.transactions(self._id, _ONE_BY_ONE, self._topics.partitions, _TIMEOUTS)

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.abandon()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except KafkaFailure as failure:
            verdict = failure.verdict
            if verdict.code == "publish.fenced":
                raise DeadLetterError(
                    "somebody else has begun to redrive or discard these dead letters",
                    code="dead_letter.fenced",
                    where=self._url,
                    fix="nothing is lost or doubled: what this command has not told of is left to the other one",
                ) from failure
            detail = f" ({failure.detail})" if failure.detail else ""
            raise DeadLetterError(
                f"Kafka: {verdict.what}{detail}",
                code=verdict.code.replace("publish.", "dead_letter.", 1),
                where=f"topic {failure.topic}" if failure.topic else self._url,
                fix=_AGAIN if verdict.action == "wait" else verdict.fix,
                retryable=verdict.action == "wait",
            ) from failure
        except PublishError as error:  # what `Topics` says
            raise DeadLetterError(
                error.what,
                code=error.code.replace("publish.", "dead_letter.", 1),
                where=error.where,
                fix=error.fix,
                retryable=error.retryable,
            ) from error


_AGAIN = "look at the brokers, then run the command again: what was done is not done twice"


def _reader(library: Driver) -> Reader:
    if library.name == "confluent":
        from liberator.deadletter.kafka_confluent import ConfluentReader

        return ConfluentReader(library.base, QUIET)
    from liberator.deadletter.kafka_python import KafkaPythonReader

    return KafkaPythonReader(library.base, QUIET)
