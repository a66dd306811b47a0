"""Dead letters in a local log. See `liberator.deadletter.box`.

Nobody has to be kept from writing: events and marks are written while nobody else can, and what came meanwhile is looked at
in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from liberator.change import ConsumedBatch, PlacedRecord, TopicPartition
from liberator.deadletter.box import Bounds, Seen
from liberator.errors import DeadLetterError
from liberator.locallog import LocalLog, Transaction
from liberator.locallog.failure import told_as
from liberator.locallog.record import pack

_PIECE, _PIECE_BYTES = 1_000, 4 << 20

_LARGEST = 1 << 30
"""SQLite's own limit."""


class _OvertakenError(Exception):
    """Ends a transaction that shall leave nothing behind."""


class LocalBox:
    """The local log in `folder`. partitions, settings: how missing topics are made; None: they are refused."""

    def __init__(
        self, folder: str | Path, *, partitions: int | None, settings: Mapping[str, str] | None
    ) -> None:
        self._where = f"local:{folder}"
        self._partitions = partitions
        self._settings = dict(settings or {})
        if not LocalLog.exists(folder):
            raise DeadLetterError(
                "there is no local log, so there are no dead letters",
                code="dead_letter.no_topic",
                where=self._where,
                fix="check publish.url; the log is made when the connector publishes",
            )
        with self._errors():
            self._log = LocalLog(folder)

    def bounds(self, topic: str, *, complete: bool = True) -> dict[int, Bounds]:
        """Where the partitions begin and end: everything is committed here."""
        with self._errors():
            return {at.partition: Bounds(*found) for at, found in self._log.bounds([topic]).items()}

    def offset_at(self, at: TopicPartition, time_ms: int) -> int:
        """The first record of that time or later."""
        with self._errors():
            return self._log.offset_at(at, time_ms)

    def read(self, at: TopicPartition, start: int, end: int) -> Iterator[ConsumedBatch]:
        """The records from `start` to before `end`."""
        while start < end:
            batch = ConsumedBatch()
            with self._errors():
                start = self._log.read(at, start, min(_PIECE, end - start), _PIECE_BYTES, batch)
            yield _before(batch, end)

    def ensure(self, topic: str) -> int:
        """Make a missing topic."""
        with self._errors():
            if self._log.topic(topic) is None and self._partitions is not None:
                self._log.create_topic(topic, self._partitions, self._settings)
            found = self._log.topic(topic)
        if found is None:
            raise DeadLetterError(
                "the topic does not exist, and publish.create_topics is false",
                code="dead_letter.unknown_topic",
                where=f"topic {topic}",
                fix="let publish.create_topics make missing topics",
            )
        return len(found.partitions)

    def limit(self, topic: str) -> int:
        """The largest record."""
        return _LARGEST

    def take_over(self, topic: str) -> None:
        """Nothing to do."""

    def write(
        self,
        events: Sequence[PlacedRecord],
        marks: Sequence[PlacedRecord],
        seen: Seen,
        overtaken: Callable[[ConsumedBatch], bool],
    ) -> bool:
        """One transaction of the log."""
        with self._errors():
            try:
                with self._log.transaction() as transaction:
                    self._look(seen, overtaken)
                    _append(transaction, [*events, *marks])
            except _OvertakenError:
                return False
        return True

    def close(self) -> None:
        """Give back the file."""
        self._log.close()

    def _look(self, seen: Seen, overtaken: Callable[[ConsumedBatch], bool]) -> None:
        for at, start in seen.items():
            bounds = self.bounds(at.topic).get(at.partition)
            for batch in self.read(at, start, bounds.end) if bounds else ():
                if overtaken(batch):
                    raise _OvertakenError

    def _errors(self) -> AbstractContextManager[None]:
        return told_as(DeadLetterError, "dead_letter", self._where)


def _append(transaction: Transaction, records: Sequence[PlacedRecord]) -> None:
    transaction.append(
        [it.topic for it in records],
        [it.partition for it in records],
        [it.key for it in records],
        [it.value for it in records],
        [pack(it.headers) for it in records],
    )


def _before(batch: ConsumedBatch, end: int) -> ConsumedBatch:
    """Without what stands at `end` or later, which compaction may have brought near."""
    kept = sum(offset < end for offset in batch.offsets)
    if kept == len(batch):
        return batch
    return ConsumedBatch(
        batch.topics[:kept],
        batch.partitions[:kept],
        batch.offsets[:kept],
        batch.timestamps[:kept],
        batch.keys[:kept],
        batch.values[:kept],
        batch.headers[:kept],
    )
