"""The replay oracle: do the events of a stream add up to the table?

Enters: events in the order in which a consumer sees them (lines of JSON, Kafka records or dicts, in the Debezium
envelope) and the rows of the table. Leaves: what is wrong with the stream in itself (`Replay.problems`) and what
differs from the table (`Replay.compare`); both empty when all is well. Called by tests, by the demo, and by whoever
wants to know. Only `read_table` and `assert_complete` connect to anything.

What must hold: replaying all events by key gives exactly the table's content; per key, order is commit order; no event
id comes twice with different content, and whatever comes again has the same id.

How: a table is kept as a simple consumer would keep it: by key, redeliveries included; without a key as a multiset, in
which an id counts once. Beside every row stands the place in commit order of the newest event of its key, so that an
event that is merely delivered again is told apart from one that comes too late.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from liberator.contract.reading import has_long_number
from liberator.contract.reading import read as read_exactly
from liberator.letters import MARK

if TYPE_CHECKING:
    from liberator.postgres.values import TypeOptions

Row = Mapping[str, Any]
Event = Mapping[str, Any]

_SHOWN_FAULTS = 20
_SHOWN_CHARACTERS = 80
_NOWHERE = -1
_LONG = 20
"""More digits than a 64-bit integer or the shortest text of a double has."""

_LOG_ID = re.compile(r"[^/]+/[^/]+/([0-9A-F]{1,8})/([0-9A-F]{1,8})/([0-9]+)(?:/[tc])?")
_SNAPSHOT_ID = re.compile(r"[^/]+/[^/]+/snapshot/([0-9A-F]{1,8})/([0-9A-F]{1,8})/")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a stream must never do. id: of the event that shows it.

    kind: ``content`` (an id with two contents), ``order`` (older than what its key already had), ``stale`` (a snapshot's
    row after a newer change of it), ``unseen`` (a change of a row that never came), ``twice`` (a row created again),
    ``tombstone`` (of a row that is there), ``behind`` (the last delivery of a key ends before its newest event),
    ``id`` (an event without one).
    """

    kind: str
    topic: str
    key: str
    id: str

    def __str__(self) -> str:
        return f"{self.topic} key {self.key}: {_MEANINGS[self.kind]} (event {self.id})"


_MEANINGS = {
    "content": "this event id came before with other content",
    "order": "older than an event of this key that came before",
    "stale": "read by a snapshot that is older than a change of this key that came before",
    "unseen": "changes a row that never came",
    "twice": "creates a row that is already there",
    "tombstone": "a tombstone for a row that is there",
    "behind": "delivered again, but not up to the newest event of this key",
    "id": "an event without an id",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that stream and table do not agree on. kind: ``missing`` in the stream, ``unexpected`` there, ``different``."""

    kind: str
    table: str
    key: str
    detail: str

    def __str__(self) -> str:
        return f"{self.table} key {self.key}: {self.kind} in the stream: {self.detail}"


@dataclass(slots=True)
class _Kept:
    """A row by its key. row: as JSON, None: deleted. newest: the furthest place of its events; last: that of the last
    one. again: the last event's id when it was a redelivery."""

    row: bytes | None = None
    newest: int = _NOWHERE
    last: int = _NOWHERE
    again: str = ""


@dataclass(slots=True)
class _Stream:
    """What a consumer of one topic has. moving: rows on the way from one key to another, by the key they leave."""

    table: str = ""
    rows: dict[bytes, _Kept] = field(default_factory=dict)
    keyless: Counter[bytes] = field(default_factory=Counter)
    moving: dict[bytes, bytes] = field(default_factory=dict)
    key_names: tuple[str, ...] = ()


class Replay:
    """A consumer that remembers.

    complete: the stream began with a snapshot or with empty tables, so that a row is created once and was seen before it
    is changed. False: it begins in the middle (``snapshot: never``).
    """

    def __init__(self, *, complete: bool = True) -> None:
        self.events = 0
        """Events taken, tombstones and redeliveries included."""
        self.redelivered = 0
        """Events of which the id had come before."""
        self.dead_letters = 0
        """Events that broke a contract or a limit, and are no part of their stream."""
        self._complete = complete
        self._streams: dict[str, _Stream] = {}
        self._contents: dict[int, int] = {}
        self._found: list[Problem] = []

    def read(self, events: Iterable[bytes | str | Event]) -> Replay:
        """Take events one after the other: dicts, or the lines that standard output or a file got. Returns itself."""
        for event in events:
            if isinstance(event, Mapping):
                self.add(event)
            elif event.strip():
                self.add(_parsed(event))
        return self

    def add_record(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]
    ) -> None:
        """Take a record as a Kafka consumer gets it."""
        event = {
            "topic": topic,
            "key": None if key is None else _parsed(key),
            "value": None if value is None else _parsed(value),
            "headers": {name: text.decode("utf-8", "replace") for name, text in headers},
        }
        self.add(event)

    def add(self, event: Event) -> None:
        """Take the next event. What changes no row (heartbeat, transaction marker, message) is passed over."""
        if "__connect.errors.topic" in event["headers"]:
            self.dead_letters += 1
            return
        if MARK in event["headers"]:
            return  # it tells what became of a dead letter
        change = _change(event)
        if change.op not in _OPERATIONS:
            return
        self.events += 1
        stream = self._streams.get(change.topic) or self._streams.setdefault(change.topic, _Stream())
        if change.source:
            stream.table = f"{change.source['schema']}.{change.source['table']}"
        again = self._is_known(change)
        if change.op == "t":
            _truncate(stream, change.place())
        elif change.key is None:
            if not again:
                self._apply_without_key(stream, change)
        else:
            stream.key_names = tuple(event["key"])
            self._apply(stream, change, change.key, again)

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """What the stream says that ``schema.table`` holds, in no particular order."""
        for stream in self._of(table):
            yield from map(_parsed, _held(stream))

    def problems(self) -> list[Problem]:
        """What the stream must not have done, in the order of the events."""
        behind = [
            Problem("behind", topic, key.decode(), kept.again)
            for topic, stream in self._streams.items()
            for key, kept in stream.rows.items()
            if kept.last < kept.newest
        ]
        return self._found + behind

    def compare(
        self, table: str, rows: Iterable[Row], columns: Iterable[str] | None = None
    ) -> list[Difference]:
        """How the stream differs from the rows that ``schema.table`` really has. columns: compare these only."""
        chosen = None if columns is None else frozenset(columns)
        streams = self._of(table)
        names = streams[0].key_names if len(streams) == 1 else ()
        held = Counter(_only(text, chosen) for stream in streams for text in _held(stream))
        wanted = Counter(_only(_canonical(row), chosen) for row in rows)
        return _differences(table, names, wanted - held, held - wanted)

    def _of(self, table: str) -> list[_Stream]:
        return [stream for stream in self._streams.values() if stream.table == table]

    def _report(self, kind: str, change: _Change) -> None:
        key = "null" if change.key is None else change.key.decode()
        self._found.append(Problem(kind, change.topic, key, change.id))

    def _is_known(self, change: _Change) -> bool:
        """Has an event with this id come before?"""
        if not change.id:
            self._report("id", change)
            return False
        name, content = _digest(change.id.encode()), _digest(change.content())
        known = self._contents.get(name)
        if known is None:
            self._contents[name] = content
            return False
        if known != content:
            self._report("content", change)
        self.redelivered += 1
        return True

    def _apply(self, stream: _Stream, change: _Change, key: bytes, again: bool) -> None:
        """An event of a row with a key, as a simple consumer takes it: the last one holds."""
        kept = stream.rows.get(key) or stream.rows.setdefault(key, _Kept())
        place = change.place()
        if not again:
            self._judge(change, kept, place)
        kept.last = place
        kept.newest = max(kept.newest, place)
        kept.again = change.id if again else ""
        if change.op in "cur":
            kept.row = self._filled(stream, change, kept, again)
        else:
            if change.op == "d" and kept.row is not None and "__debezium.newkey" in change.headers:
                stream.moving[key] = kept.row
            kept.row = None

    def _judge(self, change: _Change, kept: _Kept, place: int) -> None:
        """An event that comes for the first time must fit what came before."""
        if place < kept.newest:
            self._report("stale" if change.op == "r" else "order", change)
            kept.newest = _NOWHERE
        if change.op == "tombstone" and kept.row is not None:
            self._report("tombstone", change)
        if self._complete and change.op == "c" and kept.row is not None:
            self._report("twice", change)
        if self._complete and change.op == "u" and kept.row is None:
            self._report("unseen", change)

    def _filled(self, stream: _Stream, change: _Change, kept: _Kept, again: bool) -> bytes:
        """The new row, with the values that were not sent taken from the one it replaces."""
        unchanged = change.source.get("unchanged", ())
        old_key = change.headers.get("__debezium.oldkey")
        moved = stream.moving.pop(_canonical(_parsed(old_key)), None) if old_key else None
        if not unchanged:
            return _canonical(change.after)
        # What is delivered again may begin in the middle of a row's life, without the values that were sent before it.
        known = _parsed(kept.row or b"{}") if again or moved is None else {}
        old = {**known, **_parsed(moved or b"{}")}
        if self._complete and not again and change.op == "c" and not set(unchanged) <= old.keys():
            self._report("unseen", change)
        return _canonical({**change.after, **{name: old[name] for name in unchanged if name in old}})

    def _apply_without_key(self, stream: _Stream, change: _Change) -> None:
        """An event of a row without a key: one such row more, or less."""
        if change.op in "ud":
            old = _canonical(change.before)
            if stream.keyless[old] > 0:
                stream.keyless[old] -= 1
            elif self._complete:
                self._report("unseen", change)
        if change.op in "cur":
            filled = {**change.after, **_pick(change.before or {}, change.source.get("unchanged", ()))}
            stream.keyless[_canonical(filled)] += 1


_OPERATIONS = frozenset({"c", "u", "d", "r", "t", "tombstone"})


@dataclass(frozen=True, slots=True)
class _Change:
    """An event of a row. op: as in the envelope, or ``tombstone``. key: as JSON."""

    topic: str
    op: str
    id: str
    key: bytes | None
    before: Row | None
    after: Any
    source: Mapping[str, Any]
    headers: Mapping[str, str]

    def content(self) -> bytes:
        """What must be the same whenever this event is delivered."""
        return _canonical([self.op, self.before, self.after]) + (self.key or b"")

    def place(self) -> int:
        """Where in commit order it stands: the commit's LSN, then the number in the transaction.

        A snapshot's rows stand before the transaction that commits at the snapshot's own LSN, which it does not show.
        """
        found = _LOG_ID.fullmatch(self.id) or _SNAPSHOT_ID.match(self.id)
        if found is None:
            return (self.source.get("lsn") or 0) << 32
        high, low, *number = found.groups()
        return (int(high, 16) << 32 | int(low, 16)) << 32 | (int(number[0]) + 1 if number else 0)


def _change(event: Event) -> _Change:
    value = event["value"]
    is_change = isinstance(value, Mapping) and "op" in value
    return _Change(
        topic=event["topic"],
        op=value["op"] if is_change else "tombstone" if value is None else "",
        id=event["headers"].get("id", ""),
        key=None if event["key"] is None else _canonical(event["key"]),
        before=value["before"] if is_change else None,
        after=value["after"] if is_change else None,
        source=value["source"] if is_change else {},
        headers=event["headers"],
    )


def _truncate(stream: _Stream, place: int) -> None:
    """No row is left; and what was delivered again up to here need not go on to what the truncate is newer than."""
    stream.keyless.clear()
    for kept in stream.rows.values():
        kept.row = None
        if place >= kept.newest:
            kept.last = kept.newest


def _held(stream: _Stream) -> Iterator[bytes]:
    """The rows that a consumer has now, as JSON."""
    yield from (kept.row for kept in stream.rows.values() if kept.row is not None)
    yield from stream.keyless.elements()


def _differences(
    table: str, names: Sequence[str], missing: Counter[bytes], unexpected: Counter[bytes]
) -> list[Difference]:
    """Rows that only the table has, and rows that only the stream has; two with the same key are one difference."""
    found = []
    streamed: dict[str, list[Row]] = {}
    for text in unexpected.elements():
        row = _parsed(text)
        streamed.setdefault(_key_text(row, names), []).append(row)
    for text in missing.elements():
        row = _parsed(text)
        key = _key_text(row, names)
        if names and streamed.get(key):
            found.append(Difference("different", table, key, _contrast(row, streamed[key].pop())))
        else:
            found.append(Difference("missing", table, key, f"the table has {_short(row)}"))
    for key, rows in streamed.items():
        found += [Difference("unexpected", table, key, f"the stream has {_short(row)}") for row in rows]
    return found


def _key_text(row: Row, names: Sequence[str]) -> str:
    return _canonical(_pick(row, names)).decode() if names else "null"


def _contrast(row: Row, streamed: Row) -> str:
    """The columns in which two rows differ."""
    parts = []
    for name in sorted(row.keys() | streamed.keys()):
        ours, theirs = (_short(each[name]) if name in each else "nothing" for each in (row, streamed))
        if ours != theirs or row.get(name) != streamed.get(name):
            parts.append(f"{name}: the table has {ours}, the stream {theirs}")
    return "; ".join(parts)


def _pick(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row}


def _only(text: bytes, columns: frozenset[str] | None) -> bytes:
    return text if columns is None else _canonical(_pick(_parsed(text), columns))


def _short(value: Any) -> str:
    text = _canonical(value).decode("utf-8", "replace")
    return (
        text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}... ({len(text)} characters)"
    )


def _parsed(text: bytes | str) -> Any:
    """JSON as values, exactly: what a double cannot hold is not pressed into one."""
    raw = text.encode() if isinstance(text, str) else text
    return read_exactly(raw) if has_long_number(raw, _LONG) else orjson.loads(raw)


def _canonical(value: Any) -> bytes:
    """The same bytes for the same JSON value."""
    try:
        # A copy: what orjson returns may hold the whole buffer that it was made in (4 KiB), and rows are kept.
        return bytes(memoryview(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))
    except TypeError:  # an integer beyond 64 bits, or a decimal that no double holds
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big")


def read_table(
    dsn: str, schema: str, table: str, options: TypeOptions | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a table as events show them: the server's own text, converted as the stream converts it.

    Generated columns are left out. Raises `LookupError` when there is no such table.
    """
    from psycopg import sql

    from liberator.postgres.catalogue import load_table
    from liberator.postgres.session import connect
    from liberator.postgres.values import TypeOptions, converter

    with connect(dsn, "liberator oracle") as connection:
        found = connection.execute(_OID, [schema, table]).fetchone()
        shape = load_table(connection, found[0]) if found else None
        if shape is None:
            raise LookupError(f"there is no table {schema}.{table}")
        columns = [(c.name, converter(c.type, c.typmod, options or TypeOptions())) for c in shape.columns]
        names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
        query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, sql.Identifier(schema, table))
        with connection.cursor().copy(query) as copy:
            for texts in copy.rows():
                yield {
                    name: None if text is None else _parsed(convert(text.encode()))
                    for (name, convert), text in zip(columns, texts, strict=False)
                }


_OID = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = %s"


def assert_complete(
    events: Replay | Iterable[bytes | str | Event],
    dsn: str,
    tables: Iterable[str],
    *,
    options: TypeOptions | None = None,
    complete: bool = True,
) -> Replay:
    """Fail unless the events are well-ordered and add up to the tables (``schema.table``) as they are now.

    complete: as `Replay` takes it. Raises `AssertionError` with the first faults, a line each.
    """
    replay = events if isinstance(events, Replay) else Replay(complete=complete).read(events)
    faults: list[Problem | Difference] = [*replay.problems()]
    for table in tables:
        schema, _, name = table.partition(".")
        faults += replay.compare(table, read_table(dsn, schema, name, options))
    if faults:
        lines = [f"  {fault}" for fault in islice(faults, _SHOWN_FAULTS)]
        head = (
            f"the stream of {replay.events} events has {len(faults)} faults, of which the first {len(lines)}:"
        )
        raise AssertionError("\n".join([head, *lines]))
    return replay
