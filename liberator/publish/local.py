"""The local log as a destination: events in a SQLite file of this machine.

Enters: encoded batches. Leaves: their states, durable when `publish` returns: one sync to the disk for a batch.
Called by the capture loop, or whoever else publishes. Never lets a reader see a part of a batch.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from liberator.change import EncodedBatch, Headers, State
from liberator.errors import PublishError
from liberator.kafka.partition import partition_of
from liberator.locallog import LocalLog, LocalLogFailure, Transaction
from liberator.locallog.record import pack


class LocalPublisher:
    """Publishes into the local log in `folder`; keys choose partitions as Kafka's Java client does.

    partitions, settings: how missing topics are made; None: they are refused. dead_letter_topic: is never compacted.
    exactly_once: the connector whose states are written in the transaction of their events, where `checkpoint.local`
    finds them; who made the newest publisher of that name fences all others. None: at least once, without fencing.

    Raises `PublishError`: publish.unknown_topic, publish.topic_name, publish.topic_settings, publish.record_refused,
    publish.too_large, publish.fenced, publish.busy and publish.full (both retryable: nothing of the batch was
    written), publish.unavailable, publish.corrupt.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        partitions: int | None = 1,
        settings: Mapping[str, str] | None = None,
        dead_letter_topic: str | None = None,
        exactly_once: str | None = None,
    ) -> None:
        self._where = f"local:{folder}"
        self._partitions = partitions
        self._settings = dict(settings or {})
        self._dead_letter_topic = dead_letter_topic
        self._connector = exactly_once
        self.owns_state = exactly_once is not None
        self._known: dict[str, int] = {}
        self._durable: dict[str, bytes] = {}
        self._held: list[EncodedBatch] = []
        self._keyless = random.randrange(1 << 16)
        self._failure: PublishError | None = None
        with self._errors():
            self._log = LocalLog(folder)
            try:
                self._epoch = self._start()
            except BaseException:
                self._log.close()
                raise

    def ready(self, timeout: float) -> bool:
        """Always: what is accepted is written at once."""
        return True

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        """Write a batch, or raise and leave nothing of it. Exactly once: events without a state wait for the next."""
        if self._failure is not None:
            raise self._failure
        if self._connector is not None and state is None:
            self._held.append(batch)
            return
        with self._errors():
            self._make_topics(batch)
            with self._log.transaction() as transaction:
                self._write(transaction, batch, state)
            self._log.clean_when_due()
        self._held.clear()
        self._durable.update(state or {})

    def durable(self) -> State | None:
        """The merged states that were written since the last call."""
        durable, self._durable = self._durable, {}
        return durable or None

    def flush(self, timeout: float) -> bool:
        """Nothing to wait for: events that still wait for their state come again with it, never alone."""
        return True

    def close(self) -> None:
        """Give back the file."""
        self._held.clear()
        self._log.close()

    def _start(self) -> int:
        if self._connector is None:
            return 0
        with self._log.transaction() as transaction:
            return transaction.start_producer(_transactional_id(self._connector))

    def _make_topics(self, batch: EncodedBatch) -> None:
        """Look up the topics of the batch, and make those that are missing."""
        names = {*chain.from_iterable(held.topics for held in self._held), *batch.topics}
        names.update(record.topic for record in chain(*(held.control for held in self._held), batch.control))
        for name in names - self._known.keys():
            topic = self._log.topic(name)
            if topic is None and self._partitions is not None:
                self._log.create_topic(name, self._partitions, self._settings_of(name))
                topic = self._log.topic(name)
            if topic is None:
                raise PublishError(
                    "the topic does not exist, and publish.create_topics is false",
                    code="publish.unknown_topic",
                    where=f"topic {name}",
                    fix="let publish.create_topics make missing topics",
                )
            self._known[name] = len(topic.partitions)

    def _settings_of(self, topic: str) -> dict[str, str]:
        if topic != self._dead_letter_topic:
            return self._settings
        # Compaction would drop all but the last dead letter of a key, and refuse those without one.
        return {name: value for name, value in self._settings.items() if name != "cleanup.policy"}

    def _write(self, transaction: Transaction, batch: EncodedBatch, state: State | None) -> None:
        if self._connector is not None:
            transaction.check_producer(_transactional_id(self._connector), self._epoch)
        for events in (*self._held, batch):
            self._append(transaction, events)
        if self._connector is not None:
            transaction.save_positions(self._connector, state or {})

    def _append(self, transaction: Transaction, batch: EncodedBatch) -> None:
        self._keyless += 1  # events without a key stay together within a batch, as Kafka's clients do it
        topics = [*batch.topics, *(record.topic for record in batch.control)]
        keys = [*batch.keys, *(record.key for record in batch.control)]
        known, keyless = self._known, self._keyless
        transaction.append(
            topics,
            [
                keyless % known[topic] if key is None else partition_of(key, known[topic])
                for topic, key in zip(topics, keys, strict=True)
            ],
            keys,
            [*batch.values, *(record.value for record in batch.control)],
            [
                *map(_packed, batch.ids, batch.headers),
                *(_packed(record.id, record.headers) for record in batch.control),
            ],
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except LocalLogFailure as failure:
            error = failure.error(PublishError, "publish", self._where)
            if not error.retryable:
                self._failure = error
            raise error from failure
        except PublishError as error:
            self._failure = error
            raise


_ID = b"\0\2id"


def _packed(id: bytes, more: Headers | None) -> bytes:
    """Header ``id`` and those that follow, as the log keeps them."""
    first = _ID + len(id).to_bytes(4, "big") + id
    return first if not more else first + (pack(more) or b"")


def _transactional_id(connector: str) -> str:
    return f"liberator.{connector}"
