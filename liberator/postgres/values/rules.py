"""What the type families share: the options, the error, and a form.

A form is how one type looks in JSON: the converter that makes it and the schema that it satisfies, made together so
that they can't drift apart. Every family builds forms from these parts; nothing here knows a type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Converter = Callable[[bytes], bytes]
"""The output-function text of a value that is not NULL, in UTF-8 -> JSON in UTF-8. Raises `ConversionError` only."""

Described = tuple[Any, ...]
"""A converter as data, for executors that are not Python: the name it has there, and what it is made with. Strings, numbers
and descriptions of other converters; may hold secrets."""

Bare = Callable[[Sequence[bytes]], "Sequence[bytes] | None"]
"""The texts of many values of one type -> what stands between the quotes of each one's JSON; None when some need more than
quotes. As the type's `Converter` does it, at a fraction of the cost."""

Schema = dict[str, Any]
"""A JSON Schema (2020-12) of values that are not null."""


class ConversionError(ValueError):
    """Text that PostgreSQL does not write for a value of its type. The message never holds the text."""


@dataclass(frozen=True, slots=True)
class TypeOptions:
    """The choices of the configuration's ``types``.

    int64: ``string`` for readers whose numbers end at 2**53. json: ``embed`` splices documents in, unparsed.
    array_bounds: of an array that does not begin at 1, ``drop`` the bounds, ``fail``, or give its ``text``.
    char: ``trim`` takes the padding off char(n).
    """

    int64: Literal["number", "string"] = "number"
    json: Literal["string", "embed"] = "string"
    array_bounds: Literal["drop", "fail", "text"] = "drop"
    char: Literal["keep", "trim"] = "keep"


@dataclass(frozen=True, slots=True)
class Form:
    """How one type looks in JSON. described: `convert` as data. defs: definitions that `schema` refers to as
    ``#/$defs/<name>``."""

    convert: Converter
    described: Described
    schema: Schema
    defs: dict[str, Schema] = field(default_factory=dict)


Family = Callable[[int, TypeOptions], Form]
"""A base type's typmod and the options -> its form."""


def refusal(name: str) -> ConversionError:
    """The error for text that is not a value of the type called `name`."""
    return ConversionError(f"not what PostgreSQL writes for {name} in a pinned session")


VERBATIM: Described = ("verbatim",)
"""What `verbatim` is as data."""


def verbatim(raw: bytes) -> bytes:
    """The text is JSON as it stands. Callers may skip the call (``convert is verbatim``), so nothing is checked."""
    return raw


def quoted(pattern: str, name: str) -> Converter:
    """A converter that puts quotes around text which `pattern` matches whole; it may match nothing to escape."""
    matches = re.compile(pattern.encode()).fullmatch

    def convert(raw: bytes) -> bytes:
        if matches(raw):
            return b'"' + raw + b'"'
        raise refusal(name)

    return convert


def matching(pattern: str) -> Schema:
    """The schema of strings that `pattern` matches whole.

    Every engine agrees on it, given classes like [0-9] and no look-around: Python's ``$`` also matches before a last
    newline where ECMA 262 and Rust do not, and no anchor is the same in all, so newlines are refused by themselves.
    """
    return {"type": "string", "pattern": f"^(?:{pattern})$", "not": {"pattern": "\\n"}}


def nullable(schema: Schema) -> Schema:
    """The schema of a part that may be NULL."""
    return {"anyOf": [schema, {"type": "null"}]}


def closed(properties: dict[str, Schema], required: list[str]) -> Schema:
    """The schema of an object of exactly these members."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
