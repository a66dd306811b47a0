"""Events that an application wrote itself -> events ready to be sent. Pure; one call per event.

Enters: the parts of an event, as a row or a message held them. Leaves: topic, key, headers and value in an `EncodedBatch`.
Called by the executors of every way to read an outbox. An event that breaks its contract, or that can't be routed, goes
where `on_invalid` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from liberator.change import EncodedBatch, Headers
from liberator.contract.payload import PayloadGate, is_json
from liberator.contract.violation import Violation
from liberator.plan.invalid import Meant

Form = Literal["json", "text", "bytes"]
"""Of a payload: JSON for sure, text that must be JSON, bytes that may be anything."""


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """What of the configuration decides about events.

    names: what id, aggregate type, aggregate id, type and payload are called, and perhaps the time. topic: (aggregate type,
    type) -> topic; None: they can't be part of one. contract: (topic, type) -> what holds, None: nothing. headers, envelope:
    further parts.
    """

    names: OutboxNames
    topic: Callable[[str, str], str | None]
    contract: Callable[[str, str], PayloadGate | None]
    headers: tuple[str, ...] = ()
    envelope: tuple[str, ...] = ()
    tombstones: bool = False
    on_update: Literal["warn", "stop", "ignore"] = "warn"


@dataclass(frozen=True, slots=True)
class OutboxNames:
    """Columns of the table, or members of the message."""

    id: str = "id"
    aggregate_type: str = "aggregatetype"
    aggregate_id: str = "aggregateid"
    type: str = "type"
    payload: str = "payload"
    timestamp: str | None = None

    def all(self) -> tuple[str, ...]:
        """All that every event has."""
        return (self.id, self.aggregate_type, self.aggregate_id, self.type, self.payload)


@dataclass(slots=True)
class Entry:
    """One event as it was written. Text in UTF-8; None: NULL. extras: name as a JSON string, and the value's JSON.
    timestamp: when it happened, milliseconds since the Unix epoch; None: the row does not say."""

    id: bytes | None
    aggregate_type: bytes | None
    aggregate_id: bytes | None
    type: bytes | None
    payload: bytes | None
    form: Form
    headers: Headers = ()
    extras: tuple[tuple[bytes, bytes], ...] = ()
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """See `plan.invalid.Meant`: the outbox, and the topic that an event of it was meant for."""

    label: str
    topic: str


class Invalid(Protocol):
    """What becomes of events that break their contract. `plan.invalid.InvalidRows` is for what nobody waits for."""

    def handle(
        self,
        violation: Violation,
        plan: Meant,
        key: bytes | None,
        id: bytes,
        headers: Headers | None,
        *,
        publishable: bool = True,
    ) -> tuple[str, Headers | None]:
        """The topic and headers with which the event goes out."""


Prefix = Callable[[str, str, PayloadGate | None], bytes]
"""(topic, type, the contract that holds) -> what stands in front of a value."""


class Router:
    """Turns entries into events. label: of the outbox, for messages. now_ms: the time, milliseconds since the Unix epoch.
    prefix: where a schema registry is used; then every value is JSON."""

    def __init__(
        self,
        settings: OutboxSettings,
        invalid: Invalid,
        label: str,
        now_ms: Callable[[], int],
        prefix: Prefix | None = None,
    ) -> None:
        self._settings = settings
        self._prefix = prefix
        self._invalid = invalid
        self._label = label
        self._now_ms = now_ms

    def add(self, out: EncodedBatch, entry: Entry, spare_id: bytes, committed_ms: int | None = None) -> None:
        """Append the event. spare_id: its id, should it have none. committed_ms: its time, should it have none. Raises
        `ContractError` when the policy is to stop."""
        names = self._settings.names
        kind, type = _text(entry.aggregate_type), _text(entry.type)
        headers = entry.headers if entry.type is None else (("type", entry.type), *entry.headers)
        topic = self._settings.topic(kind, type)
        id = entry.id or spare_id
        timestamp = self._time(entry.timestamp or committed_ms)
        violation = None
        if topic is None:
            violation = Violation(
                f"/{names.aggregate_type}", "topic", "", "can't be part of the name of a topic"
            )
        elif not entry.id:
            violation = Violation(f"/{names.id}", "id", "", "is empty, and the event has no other")
        if topic is None or violation is not None:
            assert violation is not None
            self.refuse(out, violation, entry.payload, entry.aggregate_id, id, headers, topic, timestamp)
            return
        value, violation = self._value(entry)
        gate = None if value is None else self._settings.contract(topic, type)
        if violation is None and value is not None and gate is not None:
            violation = gate.violation(value)
        if value is not None:
            value = self._finished(entry, value, topic, type, gate, is_alone=violation is not None)
        if violation is not None:
            meant = Destination(self._label, topic)
            topic, more = self._invalid.handle(violation, meant, entry.aggregate_id, id, headers)
            headers = more or ()
        out.add(topic, entry.aggregate_id, value, id, headers, timestamp)

    def _finished(
        self, entry: Entry, payload: bytes, topic: str, type: str, gate: PayloadGate | None, *, is_alone: bool
    ) -> bytes:
        """The value. is_alone: a payload that breaks its contract goes without the envelope, so no schema speaks of it."""
        value = payload
        if self._settings.envelope:
            if is_alone:
                return payload
            parts = [b'"payload":' + payload, *(b"%b:%b" % extra for extra in entry.extras)]
            value = b"{%b}" % b",".join(parts)
        return value if self._prefix is None else self._prefix(topic, type, gate) + value

    def refuse(
        self,
        out: EncodedBatch,
        violation: Violation,
        content: bytes | None,
        key: bytes | None,
        id: bytes,
        headers: Headers = (),
        topic: str | None = None,
        timestamp: int | None = None,
    ) -> None:
        """What can't be an event: a dead letter, or the end."""
        meant = Destination(self._label, topic or self._label)
        to, more = self._invalid.handle(violation, meant, key, id, headers, publishable=False)
        out.add(to, key, content, id, more, timestamp)

    def _time(self, timestamp: int | None) -> int | None:
        """One that lies ahead would be refused by brokers, so it is the present."""
        return None if timestamp is None or timestamp > self._now_ms() else timestamp

    def _value(self, entry: Entry) -> tuple[bytes | None, Violation | None]:
        """The payload as it goes out, and what is wrong with it. Without one it is null, or a tombstone."""
        settings, payload = self._settings, entry.payload
        if not payload and settings.tombstones:
            return None, None
        if payload is None:
            return b"null", None
        is_json_only = bool(settings.envelope) or self._prefix is not None
        must_be_json = entry.form == "text" or (entry.form == "bytes" and is_json_only)
        if must_be_json and not is_json(payload):
            return payload, Violation(f"/{settings.names.payload}", "json", "", "is no JSON")
        return payload, None


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")
