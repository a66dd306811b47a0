"""The JSON Schema of a table's rows, made from what its columns are.

Enters: the columns with the schemas of their values. Leaves: a schema that every row of the table satisfies, the
same text for the same table. Called by the plan for streams without a stored contract, and by whoever writes a
table's first contract. It never looks at a row.

Two forms. The schema that follows a stream also fits the rows of a backlog that is older than the table's last
ALTER: only the key is required, everything else may be null or missing. The strict one says what the table says
now, and is what people start a contract of their own from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from liberator.contract.document import DIALECT

DERIVED = "urn:liberator:contract:"
"""How the ``$id`` of a derived contract begins. All versions of a stream have the same."""

_URI = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    """A column as a schema sees it.

    schema: of the values that are not null. defs: the definitions that it refers to as ``#/$defs/<name>``; equal
    names mean equal definitions. not_null: the table refuses NULL now. can_be_toasted: an update may leave the
    value out, because the server stores it out of line.
    """

    name: str
    schema: Mapping[str, Any]
    defs: Mapping[str, Any] = field(default_factory=dict)
    not_null: bool = False
    can_be_toasted: bool = True


def derive(
    title: str, columns: Sequence[ColumnSchema], key: Sequence[str], *, strict: bool
) -> dict[str, Any]:
    """The schema of the rows of the stream `title`, in the order of `columns`.

    key: names of the key's columns, in the key's order; empty for a table without a key. strict: False: the schema
    that follows the stream; True: the table as it is now, requiring the columns that an update always carries.
    """
    required = [
        column.name for column in columns if column.name in key or (strict and not column.can_be_toasted)
    ]
    definitions = {name: schema for column in columns for name, schema in column.defs.items()}
    derived: dict[str, Any] = {
        "$schema": DIALECT,
        "$id": DERIVED + quote(title, safe=""),
        "title": title,
        "type": "object",
        "properties": {column.name: _property(column, key, strict) for column in columns},
        "required": required,
        "additionalProperties": True,
        "x-key": list(key),
    }
    if definitions:
        derived["$defs"] = {name: definitions[name] for name in sorted(definitions)}
    return derived


def contract_uri(contract: Mapping[str, Any], version: int) -> str | None:
    """What names a version of a stored contract: its ``$id``, with the version where all have the same. None: nothing."""
    name = contract.get("$id")
    if not isinstance(name, str) or not _URI.match(name):
        return None
    return f"{name}:{version}" if name.startswith(DERIVED) else name


def _property(column: ColumnSchema, key: Sequence[str], strict: bool) -> dict[str, Any]:
    holds_null = not (column.name in key or (strict and column.not_null))
    return nullable(column.schema) if holds_null else dict(column.schema)


_ALSO_JUDGES_NULL = frozenset({"enum", "const", "not", "if", "anyOf", "oneOf", "allOf", "$ref"})


def nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the same values and null. Annotations (``x-...``) stay outermost."""
    if isinstance(schema.get("type"), str) and not _ALSO_JUDGES_NULL & schema.keys():
        return {**schema, "type": [schema["type"], "null"]}
    if not schema.keys() - {word for word in schema if word.startswith("x-")}:
        return dict(schema)  # anything, null included
    notes = {word: value for word, value in schema.items() if word.startswith("x-")}
    rules = {word: value for word, value in schema.items() if word not in notes}
    branches = rules["anyOf"] if rules.keys() == {"anyOf"} else [rules]
    return {"anyOf": [*branches, {"type": "null"}], **notes}
