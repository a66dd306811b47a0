"""Recorded events -> events: lines as ``liberate`` prints them, whatever the envelope, and CloudEvents.

Enters: text. Leaves: `Event`s, as the function would be given them. Pure; the time is passed in.

    {"topic", "key", "value", "headers", "position"}    a line of standard output or of a file; of a dead letter the
                                                        event that it is about, where that was
    {"topic", "partition", "offset", "timestamp", ...}  a line as a program gets it on its standard input
    {"specversion", "id", "type", "data", ...}          a CloudEvent; an array of them is a batch

A file holds one of these a line, or is one JSON document: an object, or an array of them. ``key_base64`` and
``value_base64`` are bytes that are no JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liberator.change import Event, ReadHeaders
from liberator.errors import ConfigError
from liberator.letters import OFFSET, PARTITION, TOPIC, split

_STRUCTURED = b"application/cloudevents+json; charset=UTF-8"


def read_recorded(text: str, *, where: str, now_ms: int, topic: str | None = None) -> list[Event]:
    """The events in `text`, in their order. where: what it is, for people. now_ms: the time of events that tell none. topic:
    of CloudEvents, which name none. Raises `ConfigError` (events.malformed)."""
    events: list[Event] = []
    for place, fields in _objects(text, where):
        try:
            events.append(_event(fields, topic, now_ms, len(events)))
        except (ValueError, TypeError, binascii.Error) as error:
            raise _malformed(place, str(error)) from None
    return placed(events)


def placed(events: Sequence[Event]) -> list[Event]:
    """The same, each with an offset behind the one before it in its partition: as they are, where they are so already."""
    ends: dict[tuple[str, int], int] = {}
    for event in events:
        if event.offset <= ends.get(event.place, -1):
            return [_at(event, 0, offset) for offset, event in enumerate(events)]
        ends[event.place] = event.offset
    return list(events)


def _at(event: Event, partition: int, offset: int) -> Event:
    headers = event.raw_headers
    if not any(name == "id" for name, _ in headers):
        headers = (("id", event.id.encode()), *headers)
    return Event(event.topic, partition, offset, event.timestamp, event.raw_key, event.raw_value, headers)


def _objects(text: str, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each with its place."""
    try:
        whole = json.loads(text)
    except ValueError:
        numbered = ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
        found = [(f"{where}:{number}", _parsed(line, f"{where}:{number}")) for number, line in numbered]
    else:
        several = whole if isinstance(whole, list) else [whole]
        found = [(f"{where}, event {number}", each) for number, each in enumerate(several, 1)]
    for place, fields in found:
        if not isinstance(fields, dict):
            raise _malformed(place, "it is no JSON object")
        yield place, fields


def _parsed(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise _malformed(place, "it is no JSON") from None


def _event(fields: Mapping[str, Any], topic: str | None, now_ms: int, number: int) -> Event:
    if "specversion" in fields:
        return _cloud_event(fields, topic, now_ms, number)
    if not isinstance(fields.get("topic"), str) or "value" not in fields:
        raise ValueError(
            "it has neither topic and value, as liberate prints them, nor specversion, as CloudEvents have"
        )
    given = fields.get("headers") or {}
    headers: ReadHeaders = tuple((name, str(text).encode()) for name, text in given.items())
    if "id" in fields and "id" not in given:
        headers = (("id", str(fields["id"]).encode()), *headers)
    name, partition, offset = fields["topic"], fields.get("partition", 0), fields.get("offset", number)
    letter = split(headers)
    if letter is not None:
        headers, name = letter.own, letter.said[TOPIC]
        partition = max(0, int(letter.said.get(PARTITION, 0)))
        offset = max(0, int(letter.said.get(OFFSET, number)))
    value = fields["value"]
    return Event(
        name,
        int(partition),
        int(offset),
        int(fields.get("timestamp") or _committed(value) or now_ms),
        _bytes(fields, "key"),
        _bytes(fields, "value"),
        headers,
    )


def _cloud_event(fields: Mapping[str, Any], topic: str | None, now_ms: int, number: int) -> Event:
    """As a structured one stands in a topic."""
    if topic is None:
        raise ValueError("a CloudEvent names no topic, and the stream has not just one")
    key = fields.get("subject")
    headers = (("content-type", _STRUCTURED), ("id", str(fields.get("id", number)).encode()))
    return Event(
        topic, 0, number, now_ms, key.encode() if isinstance(key, str) else None, dump(fields), headers
    )


def _committed(value: Any) -> int | None:
    """When the row of an event was committed, in milliseconds."""
    source = value.get("source") if isinstance(value, dict) else None
    found = source.get("ts_ms") if isinstance(source, dict) else None
    return found if isinstance(found, int) else None


def _bytes(fields: Mapping[str, Any], member: str) -> bytes | None:
    encoded = fields.get(f"{member}_base64")
    if encoded is not None:
        return base64.b64decode(encoded, validate=True)
    given = fields.get(member)
    # A key that is text stands in a topic as it is: an aggregate's id, say.
    return given.encode() if member == "key" and isinstance(given, str) else dump(given)


def dump(value: Any) -> bytes | None:
    """As a record carries it. Raises `TypeError` for what JSON does not know, `ValueError` for NaN."""
    if value is None or isinstance(value, bytes):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _malformed(place: str, why: str) -> ConfigError:
    return ConfigError(
        f"this is no event: {why}",
        code="events.malformed",
        where=place,
        fix="record events with `liberate ... --publish file:events.ndjson`, or write CloudEvents, one a line",
    )
