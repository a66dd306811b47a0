"""The schemas that a registry gets of a table's events."""

from __future__ import annotations

from liberator.contract.derive import ColumnSchema
from liberator.plan.wire import event_schemas

COLUMNS = [ColumnSchema(name, {"type": "integer"}, {}, True, False) for name in ("id", "customer")]


def test_only_what_names_a_row_is_never_null_in_the_schema_of_a_key() -> None:
    """Whatever the table says of it now: the bytes of a key begin with its schema's id, and must stay."""
    schemas = event_schemas("t", {}, COLUMNS, ["customer", "id"], ["id"], lambda topic, row: row)
    assert schemas["key"]["properties"] == {
        "customer": {"type": ["integer", "null"]},
        "id": {"type": "integer"},
    }
