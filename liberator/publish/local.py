"""The local log as a destination: events in a SQLite file of this machine.

Enters: encoded batches. Leaves: their states, durable when `publish` returns: one sync to the disk for a batch.
Called by the capture loop, or whoever else publishes. Never lets a reader see a part of a batch.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from liberator.change import EncodedBatch, Headers, State
from liberator.errors import PublishError
from liberator.kafka.partition import partition_of
from liberator.locallog import LocalLog, LocalLogFailure, Transaction
from liberator.locallog.record import pack

log = logging.getLogger(__name__)


class LocalPublisher:
    """Publishes into the local log in `folder`; keys choose partitions as Kafka's Java client does.

    partitions, settings: how missing topics are made; None: they are refused. dead_letter_topic: is never compacted.
    exactly_once: the connector whose states are written in the transaction of their events, where `checkpoint.local`
    finds them; who takes over fences all others of that name. None: at least once, without fencing. memory: bytes of events
    that wait for their state; a transaction that is larger is cut where that can be done.

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
        memory: int = 64 << 20,
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
        self._held_bytes = 0
        self._memory = memory
        self._inside: State | None = None
        self._epoch: int | None = None
        self._durable_events = 0
        self._keyless = random.randrange(1 << 16)
        self._failure: PublishError | None = None
        with self._errors():
            self._log = LocalLog(folder)

    def take_over(self) -> State:
        """Fence all others of this connector, and tell what is saved. Only for exactly once."""
        assert self._connector is not None
        with self._errors():
            with self._log.transaction() as transaction:
                self._epoch = transaction.next_epoch(self._connector)
            return {partition: value for partition, value, _ in self._log.positions(self._connector)}

    def ready(self, timeout: float) -> bool:
        """Always: what is accepted is written at once."""
        return True

    def publish(self, batch: EncodedBatch, state: State | None, inside: State | None = None) -> None:
        """Write a batch, or raise and leave nothing of it. Exactly once: events without a state wait for the next, or until
        there are so many of them that their transaction is cut."""
        if self._failure is not None:
            raise self._failure
        if self._connector is None:
            self._write_all([batch], state)
            return
        assert self._epoch is not None, "take_over comes first"
        self._held.append(batch)
        self._held_bytes += batch.size()
        self._inside = inside
        if state is None and self._held_bytes >= self._memory:
            state = inside
        if state is None:
            return
        try:
            self._write_held(state)
        except PublishError:
            self._held_bytes -= self._held.pop().size()
            raise

    def durable(self) -> State | None:
        """The merged states that were written since the last call."""
        durable, self._durable = self._durable, {}
        return durable or None

    def durable_events(self) -> int:
        """How many more events were written since the last call."""
        count, self._durable_events = self._durable_events, 0
        return count

    def soon(self, most: float) -> float:
        """Nothing waits: what can be written is."""
        return most

    def flush(self, timeout: float) -> bool:
        """Nothing to wait for: a transaction under way is cut; what can't be cut comes again."""
        if self._held and self._inside is not None:
            self._write_held(self._inside)
        return True

    def close(self) -> None:
        """Give back the file."""
        self._held.clear()
        self._log.close()

    def _write_held(self, state: State) -> None:
        self._write_all(self._held, state)
        self._durable_events += sum(map(len, self._held))
        self._held.clear()
        self._held_bytes, self._inside = 0, None

    def _write_all(self, batches: Sequence[EncodedBatch], state: State | None) -> None:
        with self._errors():
            self._make_topics(batches)
            with self._log.transaction() as transaction:
                for batch in batches:
                    self._append(transaction, batch)
                if self._connector is not None:
                    transaction.save_positions(self._connector, state or {}, self._epoch)
        self._durable.update(state or {})
        with self._errors():
            self._clean()

    def _clean(self) -> None:
        """The batch is written: that cleaning has to wait says nothing about it."""
        try:
            self._log.clean_when_due()
        except LocalLogFailure as failure:
            if not failure.retryable:
                raise
            log.warning("the local log is cleaned later: %s", failure.what)

    def _make_topics(self, batches: Sequence[EncodedBatch]) -> None:
        """Look up the topics of the batches, and make those that are missing."""
        names = set(chain.from_iterable(batch.topics for batch in batches))
        names.update(record.topic for batch in batches for record in batch.control)
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

    def _append(self, transaction: Transaction, batch: EncodedBatch) -> None:
        self._keyless += 1  # events without a key stay together within a batch, as Kafka's clients do it
        batch = batch.with_control()
        known, keyless = self._known, self._keyless
        transaction.append(
            batch.topics,
            [
                keyless % known[topic] if key is None else partition_of(key, known[topic])
                for topic, key in zip(batch.topics, batch.keys, strict=True)
            ],
            batch.keys,
            batch.values,
            list(map(_packed, batch.ids, batch.headers)),
            batch.timestamps,
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
