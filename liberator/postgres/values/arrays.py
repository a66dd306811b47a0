"""Arrays: nested JSON arrays of the element's form, whatever the dimensions (which are no part of a column's type)."""

from __future__ import annotations

import re
from collections.abc import Callable

from liberator.postgres.values.quoting import backslashed
from liberator.postgres.values.rules import (
    ConversionError,
    Converter,
    Form,
    Schema,
    TypeOptions,
    refusal,
    verbatim,
)
from liberator.postgres.values.text import text

_BOUNDS = "(?:\\[-?[0-9]+:-?[0-9]+\\])+="
_bounds = re.compile(_BOUNDS.encode()).match
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OPEN, _CLOSE, _QUOTE = b'{}"'

_Nested = Callable[[bytes, int], bytes]
"""The general converter: any dimensions, any quoting, from a position on."""


def array(element: Form, delimiter: str, name: str, options: TypeOptions) -> Form:
    """The form of an array. name: of the element's type, from which the recursive definition gets its name."""
    definition = f"array_of_{name}"
    reference: Schema = {"$ref": f"#/$defs/{definition}"}
    items = {"anyOf": [element.schema, {"type": "null"}, reference]}
    defs = {**element.defs, definition: {"type": "array", "items": items}}
    schema = reference
    if options.array_bounds == "text":
        schema = {"anyOf": [reference, {"type": "string", "pattern": f"^{_BOUNDS}[{{]"}]}
    return Form(_converter(element.convert, delimiter.encode(), options), schema, defs)


def _converter(element: Converter, delimiter: bytes, options: TypeOptions) -> Converter:
    nested = _nested(element, delimiter)
    as_it_stands = element is verbatim and delimiter == b","

    def convert(raw: bytes) -> bytes:
        if raw[:1] != b"{":
            return _with_bounds(raw, nested, options)
        if b'"' in raw:
            return nested(raw, 0)
        if as_it_stands:
            return raw.translate(_BRACKETS).replace(b"NULL", b"null")
        if raw.count(b"{") > 1 or raw == b"{}":
            return nested(raw, 0)
        if raw[-1:] != b"}" or raw.count(b"}") > 1 or b"\\" in raw:
            raise refusal("an array")
        return b"[" + b",".join([_bare(item, element) for item in raw[1:-1].split(delimiter)]) + b"]"

    return convert


def _with_bounds(raw: bytes, nested: _Nested, options: TypeOptions) -> bytes:
    """``[0:1]={7,8}``: written by the server only when a dimension does not begin at 1."""
    found = _bounds(raw)
    if found is None:
        raise refusal("an array")
    if options.array_bounds == "fail":
        raise ConversionError("an array whose lower bound is not 1 (types.array_bounds is fail)")
    return text(raw) if options.array_bounds == "text" else nested(raw, found.end())


def _bare(item: bytes, element: Converter) -> bytes:
    """An element without quotes; an empty one would have them."""
    if item == b"NULL":
        return b"null"
    if not item:
        raise refusal("an array")
    return element(item)


def _nested(element: Converter, delimiter: bytes) -> _Nested:
    bare = re.compile(rb'[^{}"\\' + re.escape(delimiter) + rb"]+").match
    comma = delimiter[0]

    def convert(raw: bytes, at: int) -> bytes:
        out: list[bytes] = []
        depth = 0
        expected, fresh = True, False  # a value must begin here; unless the array was only just opened
        while at < len(raw):
            char = raw[at]
            if out and not depth:
                raise refusal("an array")
            if char == _CLOSE and depth and (fresh or not expected):
                out.append(b"]")
                depth, expected, fresh = depth - 1, False, False
            elif char == comma and not expected:
                out.append(b",")
                expected = True
            elif not expected:
                raise refusal("an array")
            elif char == _OPEN:
                out.append(b"[")
                depth, fresh = depth + 1, True
            elif char == _QUOTE and depth:
                value, at = backslashed(raw, at + 1)
                out.append(element(value))
                expected, fresh = False, False
                continue
            else:
                found = bare(raw, at)
                if found is None or not depth:
                    raise refusal("an array")
                out.append(_bare(found.group(), element))
                at = found.end()
                expected, fresh = False, False
                continue
            at += 1
        if depth or not out:
            raise refusal("an array")
        return b"".join(out)

    return convert
