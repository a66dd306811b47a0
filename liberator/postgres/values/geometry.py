"""Geometric types: point as two numbers. line, lseg, box, path, polygon and circle are their text."""

from __future__ import annotations

import re

from liberator.postgres.values.numbers import FLOAT, FLOAT_SCHEMA, SPECIALS, float_value
from liberator.postgres.values.rules import Family, Form, TypeOptions, closed, refusal

_COORDINATE = f"({FLOAT}|{SPECIALS})"
_parts = re.compile(rf"\({_COORDINATE},{_COORDINATE}\)".encode()).fullmatch


def _point_value(raw: bytes) -> bytes:
    parts = _parts(raw)
    if not parts:
        raise refusal("point")
    return b'{"x":%b,"y":%b}' % (float_value(parts[1]), float_value(parts[2]))


def _point(typmod: int, options: TypeOptions) -> Form:
    return Form(_point_value, ("point",), closed({"x": FLOAT_SCHEMA, "y": FLOAT_SCHEMA}, ["x", "y"]))


FAMILIES: dict[str, Family] = {"point": _point}
