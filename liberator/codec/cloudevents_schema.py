"""The JSON Schema of the values of CloudEvents, for schema registries.

Enters: a topic, the row's schema. Leaves: schemas. Called by the envelope. What the fields mean: docs/reference/events.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liberator.codec.debezium_schema import DIALECT

_TEXT = {"type": "string", "minLength": 1}
_DATA = {
    "type": "object",
    "properties": {
        "before": {"type": ["object", "null"]},
        "after": {"anyOf": [{"$ref": "#/$defs/row"}, {"type": "null"}]},
    },
    "required": ["before", "after"],
}
_REQUIRED = ("specversion", "id", "source", "type", "time", "datacontenttype", "data")


def data_schema(topic: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values of binary events: their data. row: the schema of `after`, whose references lead into
    ``#/$defs/row``."""
    return {"$schema": DIALECT, "title": f"{topic}.Data", **_DATA, "$defs": {"row": dict(row)}}


def event_schema(topic: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values of structured events: attributes and data."""
    extensions = ("subject", "dataschema", "lsn", "txid", "snapshot", "transaction", "truncate")
    return {
        "$schema": DIALECT,
        "title": f"{topic}.CloudEvent",
        "type": "object",
        "properties": {
            **dict.fromkeys((*_REQUIRED, *extensions), _TEXT),
            "specversion": {"const": "1.0"},
            "time": {**_TEXT, "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "data": _DATA,
        },
        "required": list(_REQUIRED),
        "$defs": {"row": dict(row)},
    }
