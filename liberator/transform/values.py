"""Masks and casts: the JSON of one value -> the JSON that takes its place. THE HOT PATH of the columns that have one.

NULL never comes here: it stays null under every mask and cast. The schema of what comes out is made together with the
function, so that the two can't drift apart. An error never holds the value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from liberator.postgres.values import ConversionError, Described

Change = Callable[[bytes], bytes]
"""JSON of a value that is not null -> JSON."""

Kind = Literal["string", "number", "integer", "boolean"]

Schema = dict[str, Any]


class CastError(ConversionError):
    """A mask or cast does not work on this value; the value is what its type says. The message never holds it."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a mask does. described: `change` as data. schema: of what comes out, None: whatever came in. distinct: different
    values stay different, so a key may be masked. texts_only: it works on text alone."""

    name: str
    change: Change
    described: Described = field(repr=False)
    schema: Schema
    distinct: bool = False
    texts_only: bool = False


def mask(name: str, salt: str = "") -> Way:
    """``sha256``, ``redact``, ``null`` or ``truncate:N``. salt: secret, goes before the value. Raises `ValueError`."""
    if name == "sha256":
        schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
        return Way(name, _sha256(salt.encode()), ("sha256", salt), schema, distinct=True)
    if name == "redact":
        return Way(name, lambda value: b'"***"', ("redact",), {"type": "string", "const": "***"})
    if name == "null":
        return Way(name, lambda value: b"null", ("null",), {"enum": [None]})
    length = re.fullmatch(r"truncate:([0-9]{1,9})", name)
    if length is None:
        raise ValueError("write sha256, redact, null or truncate:N (truncate:3)")
    most = int(length[1])
    return Way(
        name, _truncate(most), ("truncate", most), {"type": "string", "maxLength": most}, texts_only=True
    )


def text_of(value: bytes) -> bytes:
    """What a JSON string says, or any other JSON as it is."""
    if value[:1] != b'"':
        return value
    if b"\\" not in value:
        return value[1:-1]
    return _said(value).encode("utf-8", "surrogatepass")


def _said(value: bytes) -> str:
    """What a JSON string says, halves of characters included: a document that is embedded may be one."""
    try:
        text: str = orjson.loads(value)
    except orjson.JSONDecodeError:
        text = json.loads(value)
    return text


def _sha256(salt: bytes) -> Change:
    """Of the salt and the value's text, in hexadecimal: the same value has the same digest everywhere."""
    salted = hashlib.sha256(salt)

    def change(value: bytes) -> bytes:
        digest = salted.copy()
        digest.update(text_of(value))
        return b'"%b"' % digest.hexdigest().encode()

    return change


def _truncate(most: int) -> Change:
    def change(value: bytes) -> bytes:
        if value[:1] != b'"':
            raise CastError("is no text that could be truncated")
        if len(value) <= most + 2 and b"\\" not in value:
            return value
        return _string(_said(value)[:most])

    return change


def _string(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def cast(kind: Kind) -> tuple[Change, Schema]:
    """A lossless cast, and the schema of what comes out. It raises `CastError` for a value that it would not keep."""
    return _CASTS[kind], {"type": kind}


_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?").fullmatch
_WHOLE = re.compile(rb"(-?(?:0|[1-9][0-9]*))(?:\.0+)?").fullmatch
_TRUTHS = {b"true": b"true", b"t": b"true", b"1": b"true", b"false": b"false", b"f": b"false", b"0": b"false"}


def _to_string(value: bytes) -> bytes:
    """Text as it is, anything else as its JSON."""
    if value[:1] == b'"':
        return value
    return _string(value.decode())


def _to_number(value: bytes) -> bytes:
    """Every digit stays; what can't be a number in JSON, as NaN, is refused."""
    text = text_of(value)
    if _NUMBER(text) is None:
        raise CastError("is no number")
    return text


def _to_integer(value: bytes) -> bytes:
    whole = _WHOLE(text_of(value))
    if whole is None:
        raise CastError("is no whole number")
    return whole[1] if whole[1] != b"-0" else b"0"


def _to_boolean(value: bytes) -> bytes:
    truth = _TRUTHS.get(text_of(value))
    if truth is None:
        raise CastError("is neither true nor false")
    return truth


_CASTS: dict[Kind, Change] = {
    "string": _to_string,
    "number": _to_number,
    "integer": _to_integer,
    "boolean": _to_boolean,
}
