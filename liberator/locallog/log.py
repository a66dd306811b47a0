"""The log itself: topics, what is in them, and transactions.

Enters: names, offsets, times. Leaves: events in columns, and a `Transaction` to write with. Called by publisher,
consumer and checkpoint, each with a `LocalLog` of its own. Raises `LocalLogFailure`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from liberator.change import ConsumedBatch, TopicPartition
from liberator.locallog import cleaning
from liberator.locallog.failure import LocalLogFailure
from liberator.locallog.file import NAME, PATIENCE, LogFile
from liberator.locallog.positions import load_positions
from liberator.locallog.record import OFFSET_MASK, place, unpack
from liberator.locallog.search import first_at
from liberator.locallog.settings import TopicSettings
from liberator.locallog.transaction import Transaction

log = logging.getLogger(__name__)

_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")

_BOUNDS = "SELECT first, next FROM partitions WHERE id = ?"
_FIND = """
SELECT p.id, p.number, t.name, t.settings FROM partitions p JOIN topics t ON t.id = p.topic ORDER BY t.name, p.number
"""


class Bounds(NamedTuple):
    """first: offset of the oldest event that is left. next: the one that the next event will have."""

    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Topic:
    """What never changes of a topic. partitions: their ids, by number."""

    name: str
    partitions: tuple[int, ...]
    settings: TopicSettings


class LocalLog:
    """The local log in `folder`, made if it is not there. For one thread at a time, and never across a fork.

    patience: seconds to wait for other writers. now_ms: the clock that records are stamped with.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        patience: float = PATIENCE,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.file = LogFile(folder, patience=patience)
        self._now_ms = now_ms
        self._topics: dict[str, Topic] = {}
        self._cleaning: Iterator[None] | None = None

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Is there a local log in this folder?"""
        return (Path(folder) / NAME).exists()

    # Topics

    def topics(self) -> Mapping[str, Topic]:
        """All topics by name, as they are now."""
        with self.file.read() as connection:
            (count,) = connection.execute("SELECT count(*) FROM topics").fetchone()
            if count != len(self._topics):
                self._topics = _topics(connection.execute(_FIND))
        return self._topics

    def topic(self, name: str) -> Topic | None:
        """One of them; None: there is none of this name."""
        return self._topics.get(name) or self.topics().get(name)

    def create_topic(self, name: str, partitions: int = 1, settings: Mapping[str, str] | None = None) -> None:
        """Make a topic; one that exists stays as it is. Partitions are never added later.

        Raises `LocalLogFailure`: topic_name, topic_settings.
        """
        if not _LEGAL.fullmatch(name) or name in (".", ".."):
            raise LocalLogFailure(
                "topic_name",
                f"{name!r} is no name for a topic",
                "use at most 249 of A-Z a-z 0-9 . _ - in publish.topic, or route the table to another topic",
            )
        if partitions < 1:
            raise LocalLogFailure(
                "topic_settings", "a topic has one partition or more", "correct publish.create_topics"
            )
        TopicSettings.parse(settings or {})
        with self.file.write() as connection:
            row = (name, json.dumps(dict(settings or {})))
            made = connection.execute("INSERT OR IGNORE INTO topics (name, settings) VALUES (?, ?)", row)
            if made.rowcount:
                rows = [(made.lastrowid, number) for number in range(partitions)]
                connection.executemany("INSERT INTO partitions (topic, number) VALUES (?, ?)", rows)

    # Reading

    def read(self, partition: TopicPartition, offset: int, limit: int, size: int, into: ConsumedBatch) -> int:
        """Add events from `offset` on to a batch, at most `limit` of them and about `size` bytes.

        Returns where to go on: beyond the last one, and beyond what compaction and retention have taken.
        """
        id = self._find(partition)[1]
        with self.file.read() as connection:
            first, end = connection.execute(_BOUNDS, (id,)).fetchone()
            if offset < first:
                log.warning("%d events of %s/%d are gone before they were read", first - offset, *partition)
                offset = first
            if offset >= end:
                return offset
            rows = connection.execute(
                "SELECT place, timestamp, key, value, headers FROM records"
                " WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
                (place(id, offset), place(id, end), limit),
            )
            count = len(into)
            for at, timestamp, key, value, headers in rows:
                into.offsets.append(at & OFFSET_MASK)
                into.timestamps.append(timestamp)
                into.keys.append(key)
                into.values.append(value)
                into.headers.append(unpack(headers))
                size -= (len(value) if value else 0) + (len(key) if key else 0)
                if size <= 0:
                    break
            rows.close()
        read = len(into) - count
        into.topics += [partition.topic] * read
        into.partitions += [partition.partition] * read
        stopped = read == limit or size <= 0
        return into.offsets[-1] + 1 if stopped else int(end)

    def bounds(self, topics: Collection[str]) -> dict[TopicPartition, Bounds]:
        """Where the partitions of these topics begin and end; nothing for a topic that does not exist."""
        found = {}
        with self.file.read() as connection:
            for name in topics:
                topic = self.topic(name)
                for number, id in enumerate(topic.partitions if topic else ()):
                    found[TopicPartition(name, number)] = Bounds(
                        *connection.execute(_BOUNDS, (id,)).fetchone()
                    )
        return found

    def offset_at(self, partition: TopicPartition, timestamp: int) -> int:
        """Offset of the first event of that time (milliseconds since the Unix epoch) or later; the end if there is none."""
        with self.file.read() as connection:
            return first_at(connection, self._find(partition)[1], timestamp)

    def positions(self, connector: str) -> list[tuple[str, bytes, str]]:
        """(partition, value, when it was saved) of a connector's positions. Raises `LocalLogFailure`: corrupt."""
        with self.file.read() as connection:
            return load_positions(connection, connector)

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """What a consumer group has committed: the first offset of each partition that is not done."""
        with self.file.read() as connection:
            rows = connection.execute(
                "SELECT t.name, p.number, o.next FROM offsets o JOIN partitions p ON p.id = o.partition"
                " JOIN topics t ON t.id = p.topic WHERE o.in_group = ?",
                (group,),
            ).fetchall()
        return {TopicPartition(name, number): offset for name, number, offset in rows}

    # Writing

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing, durable when it ends. While it is open nobody else can write: fill it and leave."""
        with self.file.write() as connection:
            yield Transaction(connection, self._find, self._now_ms(), self.file.folder)

    # Cleaning

    def clean_when_due(self) -> None:
        """Do a step of cleaning, if it is time and nobody else does it: milliseconds, seldom more."""
        if self._cleaning is None and cleaning.claim(self.file, self._now_ms()):
            self._cleaning = self.clean()
        if self._cleaning is not None and next(self._cleaning, self) is self:
            self._cleaning = None

    def clean(self) -> Iterator[None]:
        """Clean everything now, in steps."""
        return cleaning.clean(self.file, self._settings, self._now_ms())

    def close(self) -> None:
        """Give back the file. Idempotent."""
        self.file.close()

    def _settings(self) -> Iterator[tuple[int, TopicSettings]]:
        for topic in self.topics().values():
            yield from ((id, topic.settings) for id in topic.partitions)

    def _find(self, partition: TopicPartition) -> tuple[Topic, int]:
        """The topic, and the partition's id. Raises `LocalLogFailure` (unknown_topic)."""
        topic = self.topic(partition.topic)
        if topic is None or not 0 <= partition.partition < len(topic.partitions):
            raise LocalLogFailure(
                "unknown_topic",
                f"there is no partition {partition.partition} of topic {partition.topic}",
                "create the topic, or let publish.create_topics make it",
            )
        return topic, topic.partitions[partition.partition]


def _topics(rows: Iterable[tuple[int, int, str, str]]) -> dict[str, Topic]:
    ids: dict[str, list[int]] = {}
    settings: dict[str, str] = {}
    for id, _, name, text in rows:
        ids.setdefault(name, []).append(id)
        settings[name] = text
    return {
        name: Topic(name, tuple(partitions), TopicSettings.parse(json.loads(settings[name])))
        for name, partitions in ids.items()
    }
