"""Composites: JSON objects by attribute name, each attribute in its own form.

A type can have had other attributes when a value was written than when the catalogue was asked, and nothing in the value
tells. So what is made is looked at, other than with the types that the stream itself names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from orjson import JSONDecodeError, dumps, loads

from liberator.postgres.values.quoting import field
from liberator.postgres.values.rules import Converter, Form, Schema, nullable, refusal

_bare = re.compile(rb'[^,()"\\]*').match


def composite(attributes: Sequence[tuple[str, Form]]) -> Form:
    """The form of a composite. Attributes come and go like columns do, so the schema requires none and allows more."""
    schema: Schema = {
        "type": "object",
        "properties": {name: nullable(form.schema) for name, form in attributes},
    }
    defs: dict[str, Schema] = {}
    for _, form in attributes:
        defs.update(form.defs)
    described = ("composite", [(dumps(name).decode(), form.described) for name, form in attributes])
    return Form(_converter(attributes), described, schema, defs)


def _converter(attributes: Sequence[tuple[str, Form]]) -> Converter:
    last = len(attributes) - 1
    plan = [
        (b"%b%b:" % (b"," if nr else b"{", dumps(name)), form.convert, b"," if nr < last else b")")
        for nr, (name, form) in enumerate(attributes)
    ]

    def convert(raw: bytes) -> bytes:
        if raw[:1] != b"(":
            raise refusal("a composite")
        out: list[bytes] = []
        at = 1
        for key, part, closing in plan:
            value, at = field(raw, at, _bare)
            if raw[at : at + 1] != closing:
                raise refusal("a composite of these attributes")
            at += 1
            out += (key, b"null" if value is None else part(value))
        if at != len(raw):
            raise refusal("a composite of these attributes")
        made = b"".join(out) + b"}"
        try:
            loads(made)
        except JSONDecodeError:
            raise refusal("a composite of these attributes") from None
        return made

    def convert_empty(raw: bytes) -> bytes:
        if raw != b"()":
            raise refusal("a composite without attributes")
        return b"{}"

    return convert if plan else convert_empty
