"""Ranges: objects of two bounds in the subtype's form. Multiranges: arrays of them."""

from __future__ import annotations

import re

from liberator.postgres.values.quoting import field
from liberator.postgres.values.rules import Converter, Form, closed, nullable, refusal

_bare = re.compile(rb'[^,()\[\]"\\]*').match
_EMPTY = b'{"empty":true}'
_INCLUSIVE = {b"[": b"true", b"(": b"false", b"]": b"true", b")": b"false"}
_RANGE = b'{"empty":false,"lower":%b,"upper":%b,"lower_inc":%b,"upper_inc":%b}'


def range_of(subtype: Form) -> Form:
    """The form of a range. An unbounded side is null, which is not the subtype's own infinity."""

    def convert(raw: bytes) -> bytes:
        if raw == b"empty":
            return _EMPTY
        made, at = _one(raw, 0, subtype.convert)
        if at != len(raw):
            raise refusal("a range")
        return made

    bound = nullable(subtype.schema)
    inclusive = {"type": "boolean"}
    properties = {
        "empty": {"type": "boolean"},
        "lower": bound,
        "upper": bound,
        "lower_inc": inclusive,
        "upper_inc": inclusive,
    }
    return Form(convert, ("range", subtype.described), closed(properties, ["empty"]), subtype.defs)


def multirange_of(subtype: Form, range_form: Form) -> Form:
    """The form of a multirange over `subtype`, whose ranges have the schema of `range_form`."""
    bound = subtype.convert

    def convert(raw: bytes) -> bytes:
        if raw == b"{}":
            return b"[]"
        if raw[:1] != b"{":
            raise refusal("a multirange")
        made, at = _one(raw, 1, bound)
        out = [made]
        while raw[at : at + 1] == b",":
            made, at = _one(raw, at + 1, bound)
            out.append(made)
        if raw[at:] != b"}":
            raise refusal("a multirange")
        return b"[" + b",".join(out) + b"]"

    described = ("multirange", subtype.described)
    return Form(convert, described, {"type": "array", "items": range_form.schema}, range_form.defs)


def _one(raw: bytes, at: int, convert: Converter) -> tuple[bytes, int]:
    """The range that begins at `at`, as JSON, and where it ends."""
    opening = raw[at : at + 1]
    lower, at = field(raw, at + 1, _bare)
    if opening not in (b"[", b"(") or raw[at : at + 1] != b",":
        raise refusal("a range")
    upper, at = field(raw, at + 1, _bare)
    closing = raw[at : at + 1]
    if closing not in (b"]", b")"):
        raise refusal("a range")
    bounds = [b"null" if bound is None else convert(bound) for bound in (lower, upper)]
    return _RANGE % (*bounds, _INCLUSIVE[opening], _INCLUSIVE[closing]), at + 1
