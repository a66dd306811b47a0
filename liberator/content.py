"""Bytes of a key or a value -> what they say: JSON, with or without the head that a schema registry's clients put in front.

The head is Confluent's: a zero byte and the id of the schema in four more. No JSON begins with a zero byte, so JSON behind
one is told from all else, but for what other formats write there in so few bytes that they look like a number, or that are
a whole number of eight bytes themselves: these stay as they are. Called by `change`, and by whoever shows records. Pure.
"""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import orjson

HEAD = struct.Struct(">BI")
"""A zero byte, the id of a schema."""

_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19
"""So many digits may be a whole number beyond 64 bits, of which orjson makes a float."""

_NUMBER = 8
"""Bytes of what Kafka's own serializers make of a long or a double."""

_NOTHING: Any = object()


def read(data: bytes | None) -> Any:
    """What the JSON says, text that is no JSON as it is, bytes that are no text as they are, None for null."""
    if data is None:
        return None
    try:
        if _LONG not in data.translate(_ZEROS):
            return orjson.loads(data)
    except ValueError:
        pass  # it refuses some that the standard library reads: NaN, halves of surrogate pairs, 1e400
    found = _behind_head(data)
    if found is not _NOTHING:
        return found
    try:
        return json.loads(data)
    except ValueError:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def payload(data: bytes | None) -> bytes | None:
    """The JSON behind a registry's head; all bytes where there is none."""
    return data if data is None or _behind_head(data) is _NOTHING else data[HEAD.size :]


def schema_id(data: bytes | None) -> int | None:
    """The id of the schema in a registry's head; None: there is none."""
    if data is None or _behind_head(data) is _NOTHING:
        return None
    found: int = HEAD.unpack_from(data)[1]
    return found


def _behind_head(data: bytes) -> Any:
    if data[:1] != b"\0" or len(data) == _NUMBER:
        return _NOTHING
    try:
        found = _exact(data[HEAD.size :])
    except (ValueError, RecursionError):
        return _NOTHING
    return _NOTHING if type(found) in (int, float) else found  # an Avro long of 24 is the byte of "0"


def _exact(data: bytes) -> Any:
    if _LONG not in data.translate(_ZEROS):
        with contextlib.suppress(ValueError):
            return orjson.loads(data)
    return json.loads(data.decode())
