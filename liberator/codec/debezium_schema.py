"""The JSON Schema of events in the Debezium-shaped envelope, for schema registries.

Enters: a topic, the row's schema, the key's columns. Leaves: schemas. Called by whoever registers them. What the fields
mean: docs/reference/events.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TIMES = {name: {"type": "integer"} for name in ("ts_ms", "ts_us", "ts_ns")}
_NUMBER_OR_NULL = {"type": ["integer", "null"]}
_TEXT = {"type": "string"}

_SOURCE = {
    "type": "object",
    "properties": {
        "version": _TEXT,
        "connector": _TEXT,
        "name": _TEXT,
        **_TIMES,
        "snapshot": _TEXT,
        "db": _TEXT,
        "sequence": {"type": ["string", "null"]},
        "schema": _TEXT,
        "table": _TEXT,
        "txId": _NUMBER_OR_NULL,
        "lsn": _NUMBER_OR_NULL,
        "xmin": _NUMBER_OR_NULL,
        "unchanged": {"type": "array", "items": _TEXT},
        "truncate": {"type": "array", "items": _TEXT},
    },
    "required": [
        "version",
        "connector",
        "name",
        *_TIMES,
        "snapshot",
        "db",
        "sequence",
        "schema",
        "table",
        "txId",
        "lsn",
        "xmin",
    ],
}


def value_schema(topic: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the values of `topic`. row: the schema of `after`, whose references lead into ``#/$defs/row``."""
    return {
        "$schema": DIALECT,
        "title": f"{topic}.Envelope",
        "type": "object",
        "properties": {
            "before": {"type": ["object", "null"]},
            "after": {"anyOf": [{"$ref": "#/$defs/row"}, {"type": "null"}]},
            "source": _SOURCE,
            "op": {"enum": ["c", "u", "d", "r", "t"]},
            **_TIMES,
            "transaction": {"type": ["object", "null"]},
        },
        "required": ["before", "after", "source", "op", *_TIMES, "transaction"],
        "$defs": {"row": dict(row)},
    }


def key_schema(
    topic: str, types: Mapping[str, Any], definitions: Mapping[str, Any], key: Sequence[str]
) -> dict[str, Any]:
    """The schema of the keys of `topic`. types: of columns, by name. definitions: that these refer to.

    It says what the columns' types say, and no more: the bytes of a key begin with its schema's id, and tell its partition,
    so nothing else may change them.
    """
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "title": f"{topic}.Key",
        "type": "object",
        "properties": {name: types.get(name, {}) for name in key},
        "required": list(key),
        "additionalProperties": False,
    }
    return {**schema, "$defs": dict(definitions)} if definitions else schema
