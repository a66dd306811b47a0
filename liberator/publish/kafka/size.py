"""How large an event is to a broker, and what becomes of one that is too large.

Enters: a batch and its topics' limits. Leaves: the same batch, or one in which too large events have become
dead letters. Called by `publisher` before anything is sent, so that neighbours are never held up and order is
never in doubt. Sizes count before compression, as in Java's producer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from liberator.change import EncodedBatch, Headers
from liberator.errors import PublishError

log = logging.getLogger(__name__)

_BATCH_HEADER = 61
"""Bytes of a record batch before its first record (Kafka protocol, RecordBatch, magic 2)."""

_FIXED_FIELDS = 3
"""Attributes, timestamp delta and offset delta of a record that is alone in its batch: a byte each."""

_SLACK = 256
"""More than all length fields, the batch header and the name of the ``id`` header take together."""

_KEY_IN_LOG = 200


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Where too large events go: the topic, and the connector's name for the diagnostics."""

    topic: str
    connector: str


def record_batch_bytes(key: bytes | None, value: bytes | None, id: bytes, headers: Headers | None) -> int:
    """Size of an uncompressed batch that holds just this event: what a broker compares with
    max.message.bytes.
    """
    body = _FIXED_FIELDS + _field(key) + _field(value) + _varint(1 + len(headers or ())) + _header("id", id)
    body += _header_bytes(headers)
    return _BATCH_HEADER + _varint(body) + body


def _field(content: bytes | None) -> int:
    return 1 if content is None else _varint(len(content)) + len(content)


def _header(name: str, content: bytes) -> int:
    return _field(name.encode()) + _field(content)


def _varint(number: int) -> int:
    """Bytes of a zigzag variable-length integer (seven bits a byte, one of them for the sign)."""
    return max(1, -(-(2 * number).bit_length() // 7))


def fits(batch: EncodedBatch, limit: int) -> bool:
    """Can no event of the batch be larger than `limit`? A few quick looks; False is not yet a no."""
    longest = _longest(batch.keys) + _longest(batch.values) + _longest(batch.ids)
    if batch.headers.count(None) != len(batch):
        longest += max(_header_bytes(headers) for headers in batch.headers)
    return longest + _SLACK <= limit


def _longest(contents: list[bytes] | list[bytes | None]) -> int:
    return max(map(len, filter(None, contents)), default=0)


def _header_bytes(headers: Headers | None) -> int:
    return sum(_header(name, content) for name, content in headers or ())


def too_large(batch: EncodedBatch, limit: Callable[[str], int]) -> bool:
    """Is any event of the batch larger than its topic's limit, exactly?"""
    events = zip(batch.topics, batch.keys, batch.values, batch.ids, batch.headers, strict=True)
    return any(
        record_batch_bytes(key, value, id, headers) > limit(topic)
        for topic, key, value, id, headers in events
    )


def divert(
    batch: EncodedBatch, limit: Callable[[str], int], dead_letters: DeadLetters | None
) -> EncodedBatch:
    """The batch with every too large event turned into a dead letter, in its place.

    limit: of a topic, in bytes. Raises `PublishError` (publish.too_large) when there is no dead letter topic.
    """
    diverted = EncodedBatch(string_keys=batch.string_keys)
    for topic, key, value, id, headers in zip(
        batch.topics, batch.keys, batch.values, batch.ids, batch.headers, strict=True
    ):
        size = record_batch_bytes(key, value, id, headers)
        if size <= limit(topic):
            diverted.add(topic, key, value, id, headers)
            continue
        if dead_letters is None:
            raise _refused(topic, size, limit(topic))
        _log(topic, key, id, size, limit(topic), dead_letters)
        why = _diagnostics(topic, size, limit(topic), dead_letters)
        shortened = _shortened(key, value, id, headers or (), why, limit(dead_letters.topic))
        if shortened is None:
            raise _refused(dead_letters.topic, size, limit(dead_letters.topic))
        diverted.add(dead_letters.topic, shortened[0], shortened[1], id, shortened[2])
    return diverted


def _shortened(
    key: bytes | None, value: bytes | None, id: bytes, headers: Headers, why: Headers, room: int
) -> tuple[bytes | None, bytes | None, Headers] | None:
    """Key, value and headers of a dead letter that fits: whole; or without its value; its key; its own headers."""
    value_gone = (("__liberator.value.bytes", b"%d" % len(value or b"")), *why)
    key_gone = (("__liberator.key.bytes", b"%d" % len(key or b"")), *value_gone)
    forms: tuple[tuple[bytes | None, bytes | None, Headers], ...] = (
        (key, value, (*headers, *why)),
        (key, None, (*headers, *value_gone)),
        (None, None, (*headers, *key_gone)),
        (None, None, key_gone),
    )
    return next((form for form in forms if record_batch_bytes(form[0], form[1], id, form[2]) <= room), None)


def _diagnostics(topic: str, size: int, limit: int, dead_letters: DeadLetters) -> Headers:
    message = f"an event of {size} bytes is larger than max.message.bytes of its topic, {limit}"
    return (
        ("__connect.errors.topic", topic.encode()),
        ("__connect.errors.connector.name", dead_letters.connector.encode()),
        ("__connect.errors.stage", b"KAFKA_PRODUCE"),
        ("__connect.errors.exception.class.name", b"liberator.PublishError"),
        ("__connect.errors.exception.message", message.encode()),
        ("__connect.errors.attempts", b"1"),
        ("__connect.errors.timestamp", b"%d" % (time.time() * 1000)),
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
