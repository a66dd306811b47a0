"""Batches as lines of JSON, for standard output and files.

Enters: an `EncodedBatch`. Leaves: bytes, one line an event: ``{"topic", "key", "value", "headers",
"position"}``. Called by `stdout` and `file`. Never parses what is JSON already: keys and values are spliced
in as they are, and three cheap looks at the whole batch tell whether any event needs the slow, careful way. Where none
does, the module in Rust writes the lines, if it is there.
"""

from __future__ import annotations

import base64

import orjson

from liberator.change import EncodedBatch, Headers
from liberator.rust import in_use, liberator_native

_VALUE = b',"value":'
_HEADERS = b',"headers":{"id":"'
_POSITION = b'"},"position":"'
_END = b'"}\n'
_NULL = b"null"

# What a JSON string may not hold as it is.
_ESCAPED = bytes([*range(0x20), ord('"'), ord("\\")])
_BESIDES_QUOTES = bytes([*range(0x20), ord("\\")])
_NEWLINES = bytes.maketrans(b"\r\n", b"  ")
_DEAD_LETTER = "__connect.errors."


def encode(batch: EncodedBatch) -> bytes:
    """All events of the batch as lines. Control records are left out: they are for brokers only."""
    if in_use and not batch.string_keys and (packed := batch.packed()):
        pieces = [events.lines() for events in packed]
        if None not in pieces:
            return b"".join(pieces)  # type: ignore[arg-type]  # none of them is None
    if batch.string_keys or batch.headers.count(None) != len(batch):
        return _carefully(batch)
    if in_use:
        made: bytes | None = liberator_native.lines(batch.topics, batch.keys, batch.values, batch.ids)
        if made is not None:
            return made
    # A newline in pretty-printed JSON would break the line in two; NUL begins a registry's binary wire format.
    for column in (batch.keys, batch.values):
        together = b"".join(filter(None, column))
        if b"\n" in together or b"\0" in together:
            return _carefully(batch)
    return _spliced(batch)


def _spliced(batch: EncodedBatch) -> bytes:
    begin = {topic: _begin(topic) for topic in set(batch.topics)}
    ids = _escaped(batch.ids)
    if len(begin) == 1 and None not in batch.keys and None not in batch.values:
        [head] = begin.values()
        line = (
            head.replace(b"%", b"%%") + b"%b" + _VALUE + b"%b" + _HEADERS + b"%b" + _POSITION + b"%b" + _END
        )
        return b"".join(map(line.__mod__, zip(batch.keys, batch.values, ids, ids, strict=True)))
    pieces: list[bytes] = []
    for topic, key, value, id in zip(batch.topics, batch.keys, batch.values, ids, strict=True):
        pieces += (
            begin[topic],
            _NULL if key is None else key,
            _VALUE,
            _NULL if value is None else value,
            _HEADERS,
            id,
            _POSITION,
            id,
            _END,
        )
    return b"".join(pieces)


def _begin(topic: str) -> bytes:
    return b'{"topic":' + orjson.dumps(topic) + b',"key":'


def _escaped(ids: list[bytes]) -> list[bytes]:
    """Ids as they stand between quotes. Nearly all are plain ASCII, with
    quotes at most, which one look at all of them together shows."""
    together = b"".join(ids)
    if together.isascii():
        if len(together.translate(None, _ESCAPED)) == len(together):
            return ids
        if len(together.translate(None, _BESIDES_QUOTES)) == len(together):
            return b"\n".join(ids).replace(b'"', b'\\"').split(b"\n") if ids else ids
    return [_string(id)[1:-1] for id in ids]


def _string(text: bytes) -> bytes:
    return orjson.dumps(text.decode("utf-8", "replace"))


def _carefully(batch: EncodedBatch) -> bytes:
    return b"".join(
        _line(topic, key, value, id, headers or (), batch.string_keys)
        for topic, key, value, id, headers in zip(
            batch.topics, batch.keys, batch.values, batch.ids, batch.headers, strict=True
        )
    )


def _line(
    topic: str, key: bytes | None, value: bytes | None, id: bytes, headers: Headers, string_key: bool
) -> bytes:
    # The application's own payload (an outbox) and dead letters may carry anything; all else is JSON by construction.
    anything = string_key or any(name.startswith(_DEAD_LETTER) for name, _ in headers)
    return b"".join(
        (
            _begin(topic),
            _text(key) if string_key and key is not None else _payload(key, b"key", anything),
            _VALUE,
            _payload(value, b"value", anything),
            b',"headers":',
            orjson.dumps(_readable(id, headers)),
            b',"position":',
            _string(id),
            b"}\n",
        )
    )


def _text(key: bytes) -> bytes:
    try:
        return orjson.dumps(key.decode())
    except UnicodeDecodeError:
        return _base64(key, b"key")


def _payload(payload: bytes | None, member: bytes, anything: bool) -> bytes:
    if payload is None:
        return _NULL
    if payload[:1] == b"\0" or (anything and not _is_json(payload)):
        return _base64(payload, member)
    return payload.translate(_NEWLINES)


def _is_json(payload: bytes) -> bool:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return True


def _base64(payload: bytes, member: bytes) -> bytes:
    """The member's own value is null, and ``<member>_base64`` beside it holds the bytes."""
    return b'null,"%b_base64":"%b"' % (member, base64.b64encode(payload))


def _readable(id: bytes, headers: Headers) -> dict[str, str]:
    readable = {"id": id.decode("utf-8", "replace")}
    readable.update((name, value.decode("utf-8", "replace")) for name, value in headers)
    return readable
