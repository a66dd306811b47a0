"""Values: the server's text of a column -> JSON, and the JSON Schema that this JSON satisfies. No I/O.

Enters: the bytes that a type's output function writes under the pinned session, the same from pgoutput, COPY and
SELECT. Leaves: JSON in UTF-8 from which PostgreSQL can make the value again. The plan asks once per column for a
converter and a schema; its executors call the converter for every value that is not NULL. docs/reference/types.md
is the table for users.
"""

from __future__ import annotations

from liberator.postgres.model import PgType
from liberator.postgres.values.forms import form
from liberator.postgres.values.rules import (
    ConversionError,
    Converter,
    Described,
    Schema,
    TypeOptions,
    verbatim,
)

__all__ = [
    "ConversionError",
    "Converter",
    "Described",
    "Schema",
    "TypeOptions",
    "converter",
    "described",
    "schema",
    "verbatim",
]


def converter(type: PgType, typmod: int, options: TypeOptions) -> Converter:
    """The function that makes JSON of a value's text.

    What the server writes comes out whole. Other text raises `ConversionError` or gives well-formed JSON all the same;
    only integers and vectors, arrays of these, and the JSON of embedded documents are trusted to be what they should be.
    """
    return form(type, typmod, options).convert


def described(type: PgType, typmod: int, options: TypeOptions) -> Described:
    """The converter of the same arguments as data: what executors that are not Python make their own of."""
    return form(type, typmod, options).described


def schema(type: PgType, typmod: int, options: TypeOptions) -> tuple[Schema, dict[str, Schema]]:
    """The schema of what the converter of the same arguments gives, and the definitions it refers to.

    The caller puts the definitions under ``$defs`` of the document's root: references are ``#/$defs/<name>``.
    Equal names mean equal definitions, so those of many columns may be merged.
    """
    whole = form(type, typmod, options)
    return whole.schema, whole.defs
