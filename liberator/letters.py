"""The headers of a dead letter: what an event carries, besides its own, when it can't go where it was meant to go.

Enters: why. Leaves: headers, and from headers again what they say. Written by whoever gives an event up (the plan, the
publisher for Kafka, the loop of sinks), read by `liberator.deadletter`. The names are Kafka Connect's. Pure.

The event's own headers come first and are never changed; what begins with the last ``__connect.errors.topic`` is ours. So
an event that came with such headers, because it was a dead letter before, keeps them.
"""

from __future__ import annotations

from typing import NamedTuple

from liberator.change import Headers, ReadHeaders

PREFIX = "__connect.errors."
TOPIC = PREFIX + "topic"
PARTITION = PREFIX + "partition"
OFFSET = PREFIX + "offset"
CONNECTOR = PREFIX + "connector.name"
STAGE = PREFIX + "stage"
CLASS = PREFIX + "exception.class.name"
MESSAGE = PREFIX + "exception.message"
STACKTRACE = PREFIX + "exception.stacktrace"
ATTEMPTS = PREFIX + "attempts"
TIMESTAMP = PREFIX + "timestamp"

TRANSFORMATION = "TRANSFORMATION"
"""The stage of an event that a transform failed on: it stands there half done."""

VALUE_BYTES = "__liberator.value.bytes"
"""How long the value was that did not fit into the dead letter."""

KEY_BYTES = "__liberator.key.bytes"
HEADERS_GONE = "__liberator.headers.gone"
ID_ADDED = "__liberator.id.added"
"""The event had no header ``id`` of its own."""

MARK = "__liberator.mark"
"""Header of a record in a dead-letter topic that is no dead letter: it tells what became of one."""

_NOWHERE = -1
"""An event that was never in a topic has no partition and no offset: Kafka's own number for that."""

_SHORT = 200
"""Bytes of a message that has to be short."""


class Split(NamedTuple):
    """own: the event's headers as they were. said: what is wrong, by header."""

    own: ReadHeaders
    said: dict[str, str]


def diagnostics(
    *,
    topic: str,
    connector: str,
    stage: str,
    error: str,
    message: str,
    now_ms: int,
    stacktrace: str = "",
    attempts: int = 1,
    partition: int = _NOWHERE,
    offset: int = _NOWHERE,
) -> Headers:
    """What a dead letter says of itself.

    topic, partition, offset: where the event was, or was meant to go. stage: what it was in. error: the class. now_ms:
    milliseconds since the Unix epoch.
    """
    said = {
        TOPIC: topic,
        PARTITION: str(partition),
        OFFSET: str(offset),
        CONNECTOR: connector,
        STAGE: stage,
        CLASS: error,
        MESSAGE: message,
        STACKTRACE: stacktrace,
        ATTEMPTS: str(attempts),
        TIMESTAMP: str(now_ms),
    }
    return tuple((name, text.encode("utf-8", "replace")) for name, text in said.items())


def split(headers: ReadHeaders) -> Split | None:
    """The parts of a dead letter's headers; None: it is no dead letter."""
    names = [name for name, _ in headers]
    if TOPIC not in names:
        return None
    begin = len(names) - 1 - names[::-1].index(TOPIC)
    said = {name: (value or b"").decode("utf-8", "replace") for name, value in headers[begin:]}
    own = headers[:begin]
    if ID_ADDED in said:
        own = tuple(header for index, header in enumerate(own) if index or header[0] != "id")
    return Split(own, said)


def own_headers(headers: Headers) -> Headers:
    """The event's headers without what a dead letter says of itself."""
    begin = _begin(headers)
    return headers if begin is None else headers[:begin]


def said_of(headers: Headers) -> Headers:
    """What a dead letter says of itself; nothing, if it is none."""
    begin = _begin(headers)
    return () if begin is None else headers[begin:]


def shortened(said: Headers) -> Headers:
    """The same without stack trace and long words."""
    return tuple(
        (name, b"" if name == STACKTRACE else value[:_SHORT] if name == MESSAGE else value)
        for name, value in said
    )


def _begin(headers: Headers) -> int | None:
    found = [index for index, (name, _) in enumerate(headers) if name == TOPIC]
    return found[-1] if found else None
