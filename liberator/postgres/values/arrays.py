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
_simple = re.compile(rb'\{([^{}"\\]+)\}').fullmatch
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
    described = ("array", element.described, delimiter, options.array_bounds)
    return Form(_converter(element.convert, delimiter.encode(), options), described, schema, defs)


def _converter(element: Converter, delimiter: bytes, options: TypeOptions) -> Converter:
    nested = _nested(element, delimiter)
    as_it_stands = element is verbatim

    def convert(raw: bytes) -> bytes:
        if raw[:1] != b"{":
            return _with_bounds(raw, nested, options)
        if as_it_stands and b'"' not in raw:
            return raw.translate(_BRACKETS).replace(b"NULL", b"null")
        simple = _simple(raw)
        if simple is None:
            return nested(raw, 0)
        items = simple[1].split(delimiter)
        if b"" in items:
            raise refusal("an array")
        return b"[" + b",".join([b"null" if item == b"NULL" else element(item) for item in items]) + b"]"

    return convert


def _with_bounds(raw: bytes, nested: _Nested, options: TypeOptions) -> bytes:
    """``[0:1]={7,8}``: written by the server only when a dimension does not begin at 1."""
    found = _bounds(raw)
    if found is None:
        raise refusal("an array")
    if options.array_bounds == "fail":
        raise ConversionError("an array whose lower bound is not 1 (types.array_bounds is fail)")
    return text(raw) if options.array_bounds == "text" else nested(raw, found.end())


def _nested(element: Converter, delimiter: bytes) -> _Nested:
    bare = re.compile(rb'[^{}"\\' + re.escape(delimiter) + rb"]+").match
    comma = delimiter[0]

    def item(raw: bytes, at: int) -> tuple[bytes, int]:
        if raw[at] == _QUOTE:
            value, at = backslashed(raw, at + 1)
            return element(value), at
        found = bare(raw, at)
        if found is None:
            raise refusal("an array")
        value = found.group()
        return b"null" if value == b"NULL" else element(value), found.end()

    def convert(raw: bytes, at: int) -> bytes:
        out: list[bytes] = []
        depth = 0
        expected = True  # an item or an opening brace must come now,
        fresh = False  # or, right after an opening brace, its closing one
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
            elif char == _OPEN and expected:
                out.append(b"[")
                depth, fresh = depth + 1, True
            elif depth and expected:
                made, at = item(raw, at)
                out.append(made)
                expected, fresh = False, False
                continue
            else:
                raise refusal("an array")
            at += 1
        if depth or not out:
            raise refusal("an array")
        return b"".join(out)

    return convert
