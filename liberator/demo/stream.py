"""What was published, read back as any consumer would: from Kafka, the local log or a file.

Enters: a broker's address or a path, and the topics. Leaves: every event in the order of its partition, and counts while
it goes. Called by the demo's story; runs on a thread of its own. Knows nothing of the database and trusts nobody's counts:
it is the evidence of `proof`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from liberator.change import ConsumedBatch, TopicPartition
from liberator.errors import ConsumeError
from liberator.letters import MARK
from liberator.locallog import LocalLog
from liberator.locallog.failure import told_as

ORIGIN = "__connect.errors.topic"
"""Header of a dead letter: the topic it was meant for."""

REASON = "__connect.errors.exception.message"
"""And why it is one."""

_LAST_SHOWN = 4
_PAUSE = 0.1


@dataclass(slots=True)
class Event:
    """One event as it was read. key, value: JSON as bytes, None for null. id: header ``id``."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]

    @property
    def id(self) -> str:
        """Stable over redelivery."""
        return self.headers.get("id", "")


@dataclass(frozen=True)
class Glance:
    """An event for people to see in passing. dead: why it is a dead letter; None: it is none."""

    table: str
    op: str
    key: str
    dead: str | None = None


def glance_at(event: Event) -> Glance:
    """What people see of it."""
    key = "(no key)" if event.key is None else event.key.decode()
    dead = event.headers.get(REASON, "") if ORIGIN in event.headers else None
    return Glance(table_of(event), op_of(event), key, dead)


@dataclass
class Counts:
    """ops: (table, op) -> events, each id once; ``tombstone`` is an op too. again: events whose id came before.
    dead: dead letters, each once. last: a few of the newest events.
    """

    events: int = 0
    again: int = 0
    ops: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead: Sequence[Glance] = ()
    last: Sequence[Glance] = ()


class Stream(ABC):
    """Reads all events of `topics`, from `start` until `finish`, and keeps them."""

    def __init__(self, topics: Sequence[str]) -> None:
        self.events: list[Event] = []
        self._topics = topics
        self._counts = Counts()
        self._dead: list[Glance] = []
        self._last: deque[Glance] = deque(maxlen=_LAST_SHOWN)
        self._ids: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._finishing = threading.Event()
        self._failure: Exception | None = None
        self._done = False
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def start(self) -> None:
        """Begin to read. Once only."""
        self._thread.start()

    def finish(self) -> None:
        """Nobody publishes any more: read to the present end, and stop."""
        self._finishing.set()

    @property
    def finished(self) -> bool:
        """Has all been read, after `finish`?"""
        return self._done

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def counts(self) -> Counts:
        """What was read so far. Raises what the reader died of."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            counts = self._counts
            return Counts(
                counts.events, counts.again, Counter(counts.ops), tuple(self._dead), tuple(self._last)
            )

    @abstractmethod
    def _open(self) -> None:
        """Connect."""

    @abstractmethod
    def _read(self) -> Iterable[Event]:
        """What has come since the last call; waits for a moment when that is nothing."""

    @abstractmethod
    def _end(self) -> bool:
        """Has everything been read that there is?"""

    @abstractmethod
    def _shut(self) -> None:
        """Give the connection back."""

    def _run(self) -> None:
        try:
            self._open()
            try:
                while not self._closing.is_set():
                    last = self._finishing.is_set()
                    self._take(self._read())
                    if last and self._end():
                        self._done = True
                        return
            finally:
                self._shut()
        except Exception as failure:
            self._failure = failure

    def _take(self, events: Iterable[Event]) -> None:
        """Keep them. They come topic by topic: the few that are shown are taken from all over."""
        seen = []
        for event in events:
            if MARK in event.headers:  # tells what became of a dead letter, and is none
                continue
            self.events.append(event)
            with self._lock:
                if self._is_new(event) and event.value is not None:
                    seen.append(event)
        step = max(1, -(-len(seen) // _LAST_SHOWN))
        with self._lock:
            self._last.extend(map(glance_at, seen[::step]))

    def _is_new(self, event: Event) -> bool:
        counts = self._counts
        counts.events += 1
        if event.id in self._ids:
            counts.again += 1
            return False
        self._ids.add(event.id)
        if ORIGIN in event.headers:
            self._dead.append(glance_at(event))
        else:
            counts.ops[table_of(event), op_of(event)] += 1
        return True


def table_of(event: Event) -> str:
    """The table's name: what stands last in the topic that the event was meant for."""
    return event.headers.get(ORIGIN, event.topic).rpartition(".")[2]


def op_of(event: Event) -> str:
    """``c``, ``u``, ``d``, ``r`` or ``t`` as the envelope says, ``tombstone`` for an event without a value, ``event`` for
    one that is in no envelope."""
    return "tombstone" if event.value is None else str(orjson.loads(event.value).get("op", "event"))


class FileStream(Stream):
    """Follows a file of JSON lines; all its topics are one partition, as their order is one."""

    def __init__(self, path: Path, topics: Sequence[str]) -> None:
        super().__init__(topics)
        self._path = path
        self._offset = 0
        self._torn = b""

    def _open(self) -> None:
        """The file is opened when it is there."""

    def _read(self) -> Iterable[Event]:
        lines = self._lines()
        if not lines:
            time.sleep(_PAUSE)
        return [event for event in map(event_of_line, lines) if event.topic in self._topics]

    def _lines(self) -> list[bytes]:
        """Whole lines only. A torn one may be cut off and written anew: then reading goes on before it."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._torn = new[len(whole) :]
        return whole.splitlines()

    def _end(self) -> bool:
        return not self._torn

    def _shut(self) -> None:
        """Nothing is kept open."""


def event_of_line(line: bytes) -> Event:
    """A line of the file as the event that Kafka would have got."""
    fields = orjson.loads(line)
    return Event(fields["topic"], 0, _bytes(fields["key"]), _bytes(fields["value"]), fields["headers"])


def _bytes(value: Any) -> bytes | None:
    return None if value is None else orjson.dumps(value)


class LocalStream(Stream):
    """Reads the topics of a local log from their beginning, as no member of any group."""

    _AT_ONCE, _BYTES = 1000, 4 << 20

    def __init__(self, folder: Path, topics: Sequence[str]) -> None:
        super().__init__(topics)
        self._folder = folder
        self._next: dict[TopicPartition, int] = {}

    def _open(self) -> None:
        with self._errors():
            self._log = LocalLog(self._folder)

    def _read(self) -> Iterable[Event]:
        batch = ConsumedBatch()
        with self._errors():
            for partition, bounds in self._log.bounds(self._topics).items():
                begin = self._next.get(partition, bounds.first)
                if begin < bounds.next:
                    self._next[partition] = self._log.read(
                        partition, begin, self._AT_ONCE, self._BYTES, batch
                    )
        if not len(batch):
            time.sleep(_PAUSE)
        return _events_of_batch(batch)

    def _end(self) -> bool:
        with self._errors():
            ends = self._log.bounds(self._topics)
        return all(
            self._next.get(partition, bounds.first) >= bounds.next for partition, bounds in ends.items()
        )

    def _shut(self) -> None:
        self._log.close()

    def _errors(self) -> AbstractContextManager[None]:
        return told_as(ConsumeError, "consume", f"local:{self._folder}")


def _events_of_batch(batch: ConsumedBatch) -> Iterator[Event]:
    columns = zip(batch.topics, batch.partitions, batch.keys, batch.values, batch.headers, strict=True)
    for topic, partition, key, value, headers in columns:
        yield Event(topic, partition, key, value, {name: (it or b"").decode() for name, it in headers})


class KafkaStream(Stream):
    """Reads the topics from their beginning, without a consumer group: nothing is left behind in the cluster."""

    def __init__(self, bootstrap: Sequence[str], topics: Sequence[str]) -> None:
        super().__init__(topics)
        self._bootstrap = list(bootstrap)
        self._look_at = 0.0

    def _open(self) -> None:
        from kafka import KafkaConsumer

        self._consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
        )

    def _read(self) -> Iterable[Event]:
        if time.monotonic() >= self._look_at:
            self._assign()
        if not self._consumer.assignment():
            time.sleep(_PAUSE)
            return []
        polled = self._consumer.poll(timeout_ms=200)
        return [_event_of_record(record) for records in polled.values() for record in records]

    def _assign(self) -> None:
        """Topics are made when their first event comes: look again while some are missing."""
        from kafka import TopicPartition

        there = self._consumer.topics() & set(self._topics)
        partitions = {TopicPartition(t, p) for t in there for p in self._consumer.partitions_for_topic(t)}
        if partitions != self._consumer.assignment():
            self._consumer.assign(sorted(partitions))
        self._look_at = time.monotonic() + (0.5 if len(there) < len(self._topics) else float("inf"))

    def _end(self) -> bool:
        self._assign()
        ends = self._consumer.end_offsets(self._consumer.assignment())
        return all(self._consumer.position(partition) >= end for partition, end in ends.items())

    def _shut(self) -> None:
        self._consumer.close()


def _event_of_record(record: Any) -> Event:
    headers = {name: value.decode() for name, value in record.headers}
    return Event(record.topic, record.partition, record.key, record.value, headers)
