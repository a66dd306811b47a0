"""The words everyone speaks: state, batch, change, encoded batch. Of ours it imports only what reads JSON.

A `Batch` is what a source hands on, an `EncodedBatch` what a publisher takes. Stages hand each other batches, never
single records. `Change` objects exist only where a person, a test or Python code asks for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, repeat
from typing import Any, NamedTuple, Protocol

from liberator.content import payload, read

State = Mapping[str, bytes]
"""Partition -> opaque, versioned position. Only its source parses and compares it.

In a delta (what a batch carries, what a checkpoint saves) a partition with the value ``b""`` is forgotten.
"""

Headers = tuple[tuple[str, bytes], ...]

ReadHeaders = tuple[tuple[str, bytes | None], ...]
"""As they are read: of other producers a value may be null, and a name may come twice."""


class UnreadHeaders(Protocol):
    """What has headers still to be read, when somebody wants them."""

    def headers(self) -> Iterable[tuple[str, bytes | None]] | None:
        """The headers; None: there are none."""


class TopicPartition(NamedTuple):
    """One partition of a topic of a broker."""

    topic: str
    partition: int


@dataclass(slots=True)
class Batch:
    """What a source hands on: the server's own bytes, in order.

    frames: for a log source CopyData payloads that begin with ``w`` (XLogData); subclasses carry other wire text.
    state: delta that is safe to save once every event of this and all earlier batches is durable; None: nothing new
    (inside a transaction). May come with no frames (idle keepalive).
    final: the last batch of a bounded run (``--once``).
    size: bytes of frames, for the memory budget.
    """

    frames: Sequence[bytes]
    state: State | None = None
    final: bool = False
    size: int = 0


@dataclass(slots=True)
class Change:
    """One change of one row, decoded for people: `before` and `after` hold JSON values (see the guide on types).

    op: ``c`` create, ``u`` update, ``d`` delete, ``r`` read by a snapshot, ``t`` truncate, ``m`` logical message.
    unchanged: columns the server did not send because their TOASTed value did not change.
    """

    op: str
    schema: str
    table: str
    key: Mapping[str, Any] | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    id: str
    topic: str
    unchanged: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """One event that is not row data: transaction marker, change of a schema.

    before: index of the event of its batch that it stands before; None: behind all of them.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    id: bytes
    headers: Headers = ()
    before: int | None = None


@dataclass(frozen=True, slots=True)
class PlacedRecord:
    """A record for one partition, byte for byte as it is to stand there: nothing is added."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: ReadHeaders = ()


Columns = tuple[list[str], list[bytes | None], list[bytes | None], list[bytes], list[Headers | None]]
"""Of an `EncodedBatch`: topics, keys, values, ids, headers."""


class Packed(Protocol):
    """Events that were made together, and are still in one piece of memory: no object stands for one of them."""

    def __len__(self) -> int: ...

    def size(self) -> int:
        """Bytes of keys and values."""

    def counts(self) -> Mapping[str, int]:
        """How many of them go to each topic."""

    def lines(self) -> bytes | None:
        """All of them as lines of JSON (see `liberator.publish.ndjson`); None: some need more care than that."""

    def give(self, columns: Columns) -> None:
        """Append them to columns."""


class EncodedBatch:
    """Events ready to send, as columns: index i of every list is one event, in publishing order.

    keys, values: JSON as UTF-8 bytes, None for null (tombstone, no key).
    ids: the event id, published as header ``id``.
    headers: further headers, or None (the usual case).
    control: records for a broker that never go to standard output or a file.
    timestamps: when events happened, milliseconds since the Unix epoch, 1 or more; None in the place of one, or of all (the
    usual case): the time at which it is published. Neither standard output nor a file shows them.
    string_keys: keys are plain UTF-8 text instead of JSON (outbox aggregate ids).

    What is given `packed` becomes columns when somebody looks at one of them.
    """

    __slots__ = ("_columns", "_packed", "control", "string_keys", "timestamps")

    def __init__(
        self,
        *,
        control: list[Record] | None = None,
        string_keys: bool = False,
        timestamps: list[int | None] | None = None,
    ) -> None:
        self._columns: Columns = ([], [], [], [], [])
        self._packed: list[Packed] = []
        self.control: list[Record] = [] if control is None else control
        self.string_keys = string_keys
        self.timestamps = timestamps

    def __len__(self) -> int:
        count = len(self._columns[0])
        return count + sum(map(len, self._packed)) if self._packed else count

    @property
    def topics(self) -> list[str]:
        """See the class, as of the other columns."""
        return self._apart()[0]

    @property
    def keys(self) -> list[bytes | None]:
        """See the class."""
        return self._apart()[1]

    @property
    def values(self) -> list[bytes | None]:
        """See the class."""
        return self._apart()[2]

    @property
    def ids(self) -> list[bytes]:
        """See the class."""
        return self._apart()[3]

    @property
    def headers(self) -> list[Headers | None]:
        """See the class."""
        return self._apart()[4]

    def packed(self) -> Sequence[Packed] | None:
        """All events, as long as none of them had to be taken out; None: some are columns already."""
        return None if self._columns[0] else self._packed

    def take(self, events: Packed) -> None:
        """Append events that stay together until somebody looks at a column."""
        if len(events):
            self._packed.append(events)

    def add(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        id: bytes,
        headers: Headers | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Append one event."""
        topics, keys, values, ids, all_headers = self._apart()
        if self.timestamps is not None:
            self.timestamps.append(timestamp)
        elif timestamp is not None:
            self.timestamps = [*[None] * len(ids), timestamp]
        topics.append(topic)
        keys.append(key)
        values.append(value)
        ids.append(id)
        all_headers.append(headers)

    def columns(self) -> Iterator[list[Any]]:
        """Every column, for whoever takes events out of the batch."""
        yield from self._apart()
        if self.timestamps is not None:
            yield self.timestamps

    def times(self) -> Iterable[int | None]:
        """The timestamp of every event."""
        return repeat(None, len(self)) if self.timestamps is None else self.timestamps

    def size(self) -> int:
        """Bytes of keys and values, for the memory budget."""
        _, keys, values, _, _ = self._columns
        apart = sum(map(len, filter(None, values))) + sum(map(len, filter(None, keys)))
        return apart + sum(events.size() for events in self._packed)

    def counts(self) -> Mapping[str, int]:
        """How many events go to each topic."""
        counts = Counter(self._columns[0])
        for events in self._packed:
            counts.update(events.counts())
        return counts

    def _apart(self) -> Columns:
        """The columns of all events."""
        if self._packed:
            packed, self._packed = self._packed, []
            for events in packed:
                events.give(self._columns)
                if self.timestamps is not None:
                    self.timestamps += repeat(None, len(events))
        return self._columns

    def with_control(self) -> EncodedBatch:
        """All that a broker gets: the control records at their places among the events. Itself when it has none."""
        if not self.control:
            return self
        end = len(self)
        whole = EncodedBatch(string_keys=self.string_keys, timestamps=None if self.timestamps is None else [])
        done = 0
        for record in sorted(
            self.control, key=lambda record: end if record.before is None else record.before
        ):
            place = end if record.before is None else min(record.before, end)
            whole._copy(self, done, place)
            whole.add(record.topic, record.key, record.value, record.id, record.headers or None)
            done = place
        whole._copy(self, done, end)
        return whole

    def _copy(self, other: EncodedBatch, first: int, end: int) -> None:
        for column, more in zip(self.columns(), other.columns(), strict=True):
            column += more[first:end]


@dataclass(slots=True)
class ConsumedBatch:
    """Events as a broker keeps them, as columns: index i of every list is one event, those of a partition in their order.

    timestamps: milliseconds since the Unix epoch. keys, values, headers: byte for byte; None for null. unread: what has
    the headers of each event, in place of `headers`, for clients where reading them costs more than all the rest.
    """

    topics: list[str] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[ReadHeaders] = field(default_factory=list)
    unread: list[UnreadHeaders] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    def read_headers(self) -> list[ReadHeaders]:
        """The headers of all events."""
        return list(map(_read_headers, self.unread)) if self.unread else self.headers

    def runs(self) -> Iterator[tuple[TopicPartition, int, int]]:
        """Where events of one partition follow each other: the partition, the index of the first, and of the next that is
        another's."""
        return runs(self.topics, self.partitions)

    def size(self) -> int:
        """Bytes of keys and values, for the memory budget."""
        return sum(map(len, filter(None, self.values))) + sum(map(len, filter(None, self.keys)))

    def extend(self, more: ConsumedBatch) -> None:
        """Add the events of another one."""
        if len(self.unread) == len(self) and len(more.unread) == len(more):
            self.unread += more.unread
        else:
            self.headers, self.unread = [*self.read_headers(), *more.read_headers()], []
        self.topics += more.topics
        self.partitions += more.partitions
        self.offsets += more.offsets
        self.timestamps += more.timestamps
        self.keys += more.keys
        self.values += more.values


def runs(topics: Sequence[str], partitions: Sequence[int]) -> Iterator[tuple[TopicPartition, int, int]]:
    """See `ConsumedBatch.runs`."""
    start = 0
    for place, same in groupby(zip(topics, partitions, strict=True)):
        end = start + sum(1 for _ in same)
        yield TopicPartition(*place), start, end
        start = end


def _read_headers(headers: ReadHeaders | UnreadHeaders) -> ReadHeaders:
    return headers if isinstance(headers, tuple) else tuple(headers.headers() or ())


_UNREAD: Any = object()
"""In the place of what nobody has asked for: an exception in its place would cost more than reading it."""


class Event:
    """One event as a function gets it; it is never changed.

    timestamp: milliseconds since the Unix epoch. key, value: what the JSON says, text that is no JSON as it is, bytes that
    are no text as they are, None for null. headers: as text. id: header ``id``, else the event's place. raw_key,
    raw_value, raw_headers: byte for byte. JSON may stand behind the head of a schema registry, which the raw bytes alone
    have.
    """

    __slots__ = (
        "_headers",
        "_key",
        "_raw_headers",
        "_value",
        "offset",
        "partition",
        "raw_key",
        "raw_value",
        "timestamp",
        "topic",
    )
    _headers: dict[str, str] | None
    _key: Any
    _raw_headers: ReadHeaders | UnreadHeaders
    _value: Any

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: ReadHeaders | UnreadHeaders = (),
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.timestamp = timestamp
        self.raw_key = key
        self.raw_value = value
        self._raw_headers = headers
        self._headers = None
        self._key = self._value = _UNREAD

    def __reduce__(self) -> tuple[type[Event], tuple[Any, ...]]:
        """What was read from the bytes stays here: whoever gets a copy reads what it needs itself."""
        return Event, (
            self.topic,
            self.partition,
            self.offset,
            self.timestamp,
            self.raw_key,
            self.raw_value,
            self.raw_headers,
        )

    @property
    def raw_headers(self) -> ReadHeaders:
        """The headers, byte for byte."""
        if not isinstance(self._raw_headers, tuple):
            self._raw_headers = _read_headers(self._raw_headers)
        return self._raw_headers

    @property
    def key(self) -> Any:
        """The key."""
        if self._key is _UNREAD:
            self._key = read(self.raw_key)
        return self._key

    @property
    def value(self) -> Any:
        """The value."""
        if self._value is _UNREAD:
            self._value = read(self.raw_value)
        return self._value

    @property
    def key_payload(self) -> bytes | None:
        """The bytes of the key, without the head of a schema registry in front of JSON."""
        return payload(self.raw_key)

    @property
    def payload(self) -> bytes | None:
        """The bytes of the value, without the head of a schema registry in front of JSON."""
        return payload(self.raw_value)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; of several with one name the last one."""
        if self._headers is None:
            self._headers = {
                name: (value or b"").decode("utf-8", "replace") for name, value in self.raw_headers
            }
        return self._headers

    @property
    def id(self) -> str:
        """Stable over redelivery."""
        return self.headers.get("id") or f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def place(self) -> TopicPartition:
        """Where it was read."""
        return TopicPartition(self.topic, self.partition)

    def __repr__(self) -> str:
        return f"Event({self.topic}/{self.partition}/{self.offset})"


def of_streams(events: Sequence[Event]) -> list[Event]:
    """Those that a stream holds. A call that no stream started has an event of a topic without a name, so that the call can
    fail, and be tried again; the function is not told of it."""
    return [event for event in events if event.topic]


def events_of(batch: ConsumedBatch) -> list[Event]:
    """The events of a batch, one by one."""
    return list(
        map(
            Event,
            batch.topics,
            batch.partitions,
            batch.offsets,
            batch.timestamps,
            batch.keys,
            batch.values,
            batch.unread or batch.headers,
        )
    )


def columns_of(events: Sequence[Event]) -> ConsumedBatch:
    """The events as columns again, all headers read: what another process can be sent at once."""
    return ConsumedBatch(
        [event.topic for event in events],
        [event.partition for event in events],
        [event.offset for event in events],
        [event.timestamp for event in events],
        [event.raw_key for event in events],
        [event.raw_value for event in events],
        [event.raw_headers for event in events],
    )
