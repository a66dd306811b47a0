"""Bytes and bits: bytea as base64, bit strings as they are."""

from __future__ import annotations

from binascii import a2b_hex, b2a_base64

from liberator.postgres.values.rules import Family, Form, Schema, TypeOptions, matching, quoted, refusal

BASE64_SCHEMA: Schema = {**matching("[A-Za-z0-9+/]*={0,2}"), "contentEncoding": "base64"}


def _bytea_value(raw: bytes) -> bytes:
    if raw[:2] != b"\\x":
        raise refusal("bytea")
    try:
        return b'"' + b2a_base64(a2b_hex(raw[2:]), newline=False) + b'"'
    except ValueError:
        raise refusal("bytea") from None


def _bytea(typmod: int, options: TypeOptions) -> Form:
    return Form(_bytea_value, ("bytea",), BASE64_SCHEMA)


_BITS = "[01]*"
_bits = quoted(_BITS, "bit")


def _varbit(typmod: int, options: TypeOptions) -> Form:
    limit = {} if typmod < 0 else {"maxLength": typmod}
    return Form(_bits, ("quoted", _BITS), {**matching(_BITS), **limit})


def _bit(typmod: int, options: TypeOptions) -> Form:
    exact = {} if typmod < 0 else {"minLength": typmod, "maxLength": typmod}
    return Form(_bits, ("quoted", _BITS), {**matching(_BITS), **exact})


FAMILIES: dict[str, Family] = {"bytea": _bytea, "bit": _bit, "varbit": _varbit}
