"""Events as a reader of the published file sees them, and what must hold for any list of them.

Enters: lines of JSON. Leaves: `Event`s that compare and print well in a failing test. Called by the connector under test and
by the tests. Knows nothing of how events are made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex, overload

Row = dict[str, Any]
Change = tuple[str, Row | None, Row | None]
"""op, before, after. The op of a tombstone is ``tombstone``."""

TOMBSTONE: Change = ("tombstone", None, None)

_MEMBERS = {"topic", "key", "value", "headers", "position"}
_VALUE = {"before", "after", "source", "op", "ts_ms", "ts_us", "ts_ns", "transaction"}
_SOURCE = {
    "version",
    "connector",
    "name",
    "ts_ms",
    "ts_us",
    "ts_ns",
    "snapshot",
    "db",
    "sequence",
    "schema",
    "table",
}
_SOURCE |= {"txId", "lsn", "xmin"}
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_STREAM_ID = re.compile(
    r"(?P<slot>\d+/[^/]+)/(?P<high>[0-9A-F]+)/(?P<low>[0-9A-F]+)/(?P<n>\d+)(?P<part>/[tc])?"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One published event."""

    topic: str
    key: Any
    value: dict[str, Any] | None
    headers: dict[str, str]

    @property
    def id(self) -> str:
        return self.headers["id"]

    @property
    def op(self) -> str:
        return "tombstone" if self.value is None else str(self.value["op"])

    @property
    def before(self) -> Row | None:
        return None if self.value is None else self.value["before"]

    @property
    def after(self) -> Row | None:
        return None if self.value is None else self.value["after"]

    @property
    def row(self) -> Row:
        """The row in ``after``."""
        assert self.after is not None, f"{self} holds no row"
        return self.after

    @property
    def source(self) -> dict[str, Any]:
        assert self.value is not None, f"{self} has no source"
        source: dict[str, Any] = self.value["source"]
        return source

    @property
    def message(self) -> dict[str, str] | None:
        """Prefix and content (base64) of a logical message."""
        return None if self.value is None else self.value.get("message")

    @property
    def unchanged(self) -> list[str]:
        """The columns that the server did not send; empty when it sent all."""
        columns: list[str] = self.source.get("unchanged", [])
        return columns

    @property
    def change(self) -> Change:
        """What happened to the row."""
        return (self.op, self.before, self.after)

    def __repr__(self) -> str:
        if self.value is None:
            return f"<tombstone {self.topic} {_shorten(self.key)}>"
        what = [
            self.op,
            self.topic,
            _shorten(self.key),
            "before",
            _shorten(self.before),
            "after",
            _shorten(self.after),
        ]
        if self.unchanged:
            what += ["unchanged", str(self.unchanged)]
        return f"<{' '.join(what)} xid {self.source['txId']} id {self.id}>"


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


class Events(list[Event]):
    """Events in the order in which they were published."""

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Event: ...
    @overload
    def __getitem__(self, index: slice, /) -> Events: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> Event | Events:
        return Events(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    @property
    def changes(self) -> list[Change]:
        """The changes without their tombstones."""
        return [event.change for event in self if event.op != "tombstone"]

    @property
    def keys(self) -> list[Any]:
        return [event.key for event in self]

    @property
    def topics(self) -> list[str]:
        return [event.topic for event in self]

    @property
    def rows(self) -> list[Row | None]:
        """What is in ``after``, tombstones left out."""
        return [event.after for event in self if event.op != "tombstone"]

    def of(self, *tables: str) -> Events:
        """Those of the topics that end with these names."""
        return Events(event for event in self if event.topic.endswith(tuple(f".{table}" for table in tables)))

    def ops(self, *ops: str) -> Events:
        """Those with these ops."""
        return Events(event for event in self if event.op in ops)

    def __repr__(self) -> str:
        return "[" + "".join(f"\n  {event!r}" for event in self) + "\n]"


def created(row: Row) -> Change:
    """An insert in the stream."""
    return ("c", None, row)


def read(row: Row) -> Change:
    """A row of the snapshot."""
    return ("r", None, row)


def updated(row: Row, *, before: Row | None = None) -> Change:
    return ("u", before, row)


def deleted(before: Row) -> Change:
    return ("d", before, None)


TRUNCATED: Change = ("t", None, None)


def parse(lines: Iterable[bytes]) -> list[Event]:
    """One event a line, checked for the members that every event has."""
    return [_parse(line) for line in lines]


def _parse(line: bytes) -> Event:
    members = json.loads(line, parse_constant=_no_json)
    assert set(members) == _MEMBERS, members
    assert members["headers"]["id"] == members["position"] != "", members
    event = Event(members["topic"], members["key"], members["value"], members["headers"])
    assert _TOPIC.fullmatch(event.topic), event
    if event.value is not None:
        assert set(event.value) == _VALUE | ({"message"} if event.op == "m" else set()), event
        assert set(event.source) - {"unchanged", "truncate"} == _SOURCE, event
        assert "unchanged" not in event.source or event.unchanged, event
        assert ("truncate" in event.source) == (event.op == "t"), event
    return event


def _no_json(token: str) -> None:
    raise AssertionError(f"{token} is no JSON")


class Order:
    """No id twice, and the stream in commit order: what holds for every run that nothing interrupted."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._newest = (0, -1)

    def check(self, events: Iterable[Event]) -> None:
        """Look at what comes next."""
        for event in events:
            assert event.id not in self._seen, f"the id of {event} was published twice"
            self._seen.add(event.id)
            if found := _STREAM_ID.fullmatch(event.id):
                place = (int(found["high"], 16) << 32 | int(found["low"], 16), int(found["n"]))
                assert place >= self._newest, f"{event} came after {self._newest}"
                self._newest = place
