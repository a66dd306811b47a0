"""What becomes of an event that is larger than its topic takes.

Enters: a batch and its topics' limits. Leaves: the same batch with too large events turned into dead letters. Called by
`publisher` before anything is sent, so that neighbours are never held up and order is never in doubt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from liberator.change import EncodedBatch, Headers
from liberator.errors import PublishError
from liberator.kafka.size import record_batch_bytes
from liberator.letters import (
    HEADERS_GONE,
    KEY_BYTES,
    VALUE_BYTES,
    diagnostics,
    own_headers,
    said_of,
    shortened,
)

log = logging.getLogger(__name__)

_KEY_IN_LOG = 200


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Where too large events go: the topic, and the connector's name for the diagnostics."""

    topic: str
    connector: str


def divert(
    batch: EncodedBatch, limit: Callable[[str], int], dead_letters: DeadLetters | None
) -> EncodedBatch:
    """The batch with every too large event turned into a dead letter, in its place.

    limit: of a topic, in bytes. Raises `PublishError` (publish.too_large) when there is no dead letter topic.
    """
    diverted = EncodedBatch(string_keys=batch.string_keys)
    for topic, key, value, id, headers, timestamp in zip(
        batch.topics, batch.keys, batch.values, batch.ids, batch.headers, batch.times(), strict=True
    ):
        size = record_batch_bytes(key, value, id, headers)
        if size <= limit(topic):
            diverted.add(topic, key, value, id, headers, timestamp)
            continue
        if dead_letters is None:
            raise _refused(topic, size, limit(topic))
        _log(topic, key, id, size, limit(topic), dead_letters)
        own, why = headers or (), said_of(headers or ())
        if topic == dead_letters.topic and why:
            own = own_headers(own)  # it is a dead letter already, and stays the one that it is
        else:
            why = _diagnostics(topic, size, limit(topic), dead_letters)
        letter = _fitting(key, value, id, own, why, limit(dead_letters.topic))
        if letter is None:
            raise _refused(dead_letters.topic, size, limit(dead_letters.topic))
        diverted.add(dead_letters.topic, letter[0], letter[1], id, letter[2], timestamp)
    return diverted


def _fitting(
    key: bytes | None, value: bytes | None, id: bytes, own: Headers, why: Headers, room: int
) -> tuple[bytes | None, bytes | None, Headers] | None:
    """Key, value and headers of a dead letter that fits: whole; with short diagnostics; without its value; its key; its own
    headers."""
    short = shortened(why)
    value_gone = (*short, (VALUE_BYTES, b"%d" % len(value or b"")))
    key_gone = (*value_gone, (KEY_BYTES, b"%d" % len(key or b"")))
    forms: tuple[tuple[bytes | None, bytes | None, Headers], ...] = (
        (key, value, (*own, *why)),
        (key, value, (*own, *short)),
        (key, None, (*own, *value_gone)),
        (None, None, (*own, *key_gone)),
        (None, None, (*key_gone, (HEADERS_GONE, b"1"))),
    )
    return next((form for form in forms if record_batch_bytes(form[0], form[1], id, form[2]) <= room), None)


def _diagnostics(topic: str, size: int, limit: int, dead_letters: DeadLetters) -> Headers:
    message = f"an event of {size} bytes is larger than max.message.bytes of its topic, {limit}"
    return diagnostics(
        topic=topic,
        connector=dead_letters.connector,
        stage="KAFKA_PRODUCE",
        error="liberator.PublishError",
        message=message,
        stacktrace=f"liberator.PublishError: {message}",
        now_ms=int(time.time() * 1000),
    )


def _log(topic: str, key: bytes | None, id: bytes, size: int, limit: int, dead_letters: DeadLetters) -> None:
    log.warning(
        "event %s with key %s is too large for topic %s (%d bytes, max.message.bytes is %d): dead letter in %s",
        id.decode("utf-8", "replace"),
        "null" if key is None else key[:_KEY_IN_LOG].decode("utf-8", "replace"),
        topic,
        size,
        limit,
        dead_letters.topic,
    )


def _refused(topic: str, size: int, limit: int) -> PublishError:
    return PublishError(
        f"an event of {size} bytes is larger than its topic takes ({limit})",
        code="publish.too_large",
        where=f"topic {topic}",
        fix="raise max.message.bytes of the topic, drop the large column, or name a publish.dead_letter_topic",
    )
