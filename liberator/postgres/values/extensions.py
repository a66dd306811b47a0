"""Types of extensions, known by their name in whatever schema they live: hstore, PostGIS, pgvector.

citext, ltree, cube, isn and all others need nothing here: they are their text.
"""

from __future__ import annotations

import re
from binascii import a2b_hex, b2a_base64
from typing import Literal

from liberator.postgres.values.binary import BASE64_SCHEMA
from liberator.postgres.values.numbers import FLOAT, INTEGER
from liberator.postgres.values.quoting import backslashed
from liberator.postgres.values.rules import Family, Form, Schema, TypeOptions, closed, refusal
from liberator.postgres.values.text import text

_HAS_SRID = 0x20000000
_is_sparse = re.compile(rf"(\{{(?:[0-9]+:{FLOAT}(?:,[0-9]+:{FLOAT})*)?\}})/({INTEGER})".encode()).fullmatch
_sparse_index = re.compile(rb"([0-9]+):")


def _hstore_value(raw: bytes) -> bytes:
    """``"a"=>"1", "b"=>NULL``; keys are unique, the server sees to that."""
    out: list[bytes] = []
    at = 0
    while at < len(raw):
        if raw[at : at + 1] != b'"':
            raise refusal("hstore")
        key, at = backslashed(raw, at + 1)
        if raw.startswith(b'=>"', at):
            value, at = backslashed(raw, at + 3)
            out.append(text(key) + b":" + text(value))
        elif raw.startswith(b"=>NULL", at):
            at += 6
            out.append(text(key) + b":null")
        else:
            raise refusal("hstore")
        if at < len(raw):
            if not raw.startswith(b', "', at):
                raise refusal("hstore")
            at += 2
    return b"{" + b",".join(out) + b"}"


def _hstore(typmod: int, options: TypeOptions) -> Form:
    return Form(
        _hstore_value, ("hstore",), {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
    )


def _geometry_value(raw: bytes) -> bytes:
    """EWKB in hex -> the SRID, which PostGIS keeps in the outermost header only, and WKB without it."""
    try:
        shape = a2b_hex(raw)
    except ValueError:
        raise refusal("geometry") from None
    if len(shape) < 5 or shape[0] > 1:
        raise refusal("geometry")
    order: Literal["little", "big"] = "little" if shape[0] else "big"
    kind = int.from_bytes(shape[1:5], order)
    if not kind & _HAS_SRID:
        return b'{"srid":null,"wkb":"%b"}' % b2a_base64(shape, newline=False)
    if len(shape) < 9:
        raise refusal("geometry")
    srid = int.from_bytes(shape[5:9], order)
    plain = shape[:1] + (kind & ~_HAS_SRID).to_bytes(4, order) + shape[9:]
    return b'{"srid":%d,"wkb":"%b"}' % (srid, b2a_base64(plain, newline=False))


def _geometry(typmod: int, options: TypeOptions) -> Form:
    properties: dict[str, Schema] = {"srid": {"type": ["integer", "null"]}, "wkb": BASE64_SCHEMA}
    return Form(_geometry_value, ("geometry",), closed(properties, ["srid", "wkb"]))


def _vector_value(raw: bytes) -> bytes:
    """vector and halfvec write a JSON array of finite numbers, save that readers would lose the sign of ``-0``."""
    if raw[:1] != b"[" or raw[-1:] != b"]":
        raise refusal("vector")
    if b"-0," in raw or b"-0]" in raw:
        return raw.replace(b"-0,", b"-0.0,").replace(b"-0]", b"-0.0]")
    return raw


def _vector(typmod: int, options: TypeOptions) -> Form:
    length = {} if typmod < 0 else {"minItems": typmod, "maxItems": typmod}
    return Form(_vector_value, ("vector",), {"type": "array", "items": {"type": "number"}, **length})


def _sparse_vector_value(raw: bytes) -> bytes:
    """``{1:1.5,3:2}/5``: indices begin at 1."""
    parts = _is_sparse(raw)
    if not parts:
        raise refusal("sparsevec")
    return b'{"dimensions":%b,"vector":%b}' % (parts[2], _sparse_index.sub(rb'"\1":', parts[1]))


def _sparse_vector(typmod: int, options: TypeOptions) -> Form:
    vector = {"type": "object", "additionalProperties": {"type": "number"}}
    dimensions = {"type": "integer"} if typmod < 0 else {"const": typmod}
    return Form(
        _sparse_vector_value,
        ("sparsevec",),
        closed({"dimensions": dimensions, "vector": vector}, ["dimensions", "vector"]),
    )


FAMILIES: dict[str, Family] = {
    "hstore": _hstore,
    "geometry": _geometry,
    "geography": _geometry,
    "vector": _vector,
    "halfvec": _vector,
    "sparsevec": _sparse_vector,
}
