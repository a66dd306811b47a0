"""Confluent's wire format: a zero byte, the schema's id as four bytes (big-endian), then the JSON.

Enters and leaves: bytes. Called once per message. It never asks the registry anything.
"""

from __future__ import annotations

from liberator.content import HEAD
from liberator.errors import DecodeError

MAGIC = 0
HIGHEST_ID = 2**32 - 1


def encode(schema_id: int, payload: bytes) -> bytes:
    """`payload` with the id of its schema in front. Raises `ValueError` for an id that four bytes can't hold."""
    if not 0 <= schema_id <= HIGHEST_ID:
        raise ValueError(f"{schema_id} is no schema id: four bytes hold 0 to {HIGHEST_ID}")
    return HEAD.pack(MAGIC, schema_id) + payload


def decode(message: bytes) -> tuple[int, bytes]:
    """The schema's id and the payload. Raises `DecodeError` for a message that is not in this format."""
    if len(message) < HEAD.size:
        raise _malformed(f"a message of {len(message)} bytes has no room for a schema id")
    magic, schema_id = HEAD.unpack_from(message)
    if magic != MAGIC:
        raise _malformed(f"the message begins with byte {magic}, not with 0")
    return schema_id, message[HEAD.size :]


def _malformed(what: str) -> DecodeError:
    return DecodeError(
        what,
        code="decode.no_schema_id",
        fix="the topic holds messages without a schema id: read them as plain JSON",
    )
