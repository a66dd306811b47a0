"""How large an event is to a broker.

Enters: events and batches of them. Leaves: bytes, counted before compression as in Java's producer. Called by both clients
and by the publisher, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable

from liberator.change import EncodedBatch, Headers

_BATCH_HEADER = 61
"""Bytes of a record batch before its first record (Kafka protocol, RecordBatch, magic 2)."""

_FIXED_FIELDS = 3
"""Attributes, timestamp delta and offset delta of a record that is alone in its batch: a byte each."""

_SLACK = 256
"""More than all length fields, the batch header and the name of the ``id`` header take together."""


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
