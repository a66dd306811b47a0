"""Deriving: the same table gives the same schema, and the schema says what its two readers need."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from liberator.contract.derive import ColumnSchema, derive, nullable
from liberator.contract.document import Document
from liberator.contract.reference import reference
from tests.unit.contract.generated import KINDS

INT4 = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "x-pg-type": "integer"}
LIST = {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/integer"}]}}
COLUMNS = [
    ColumnSchema("region", {"type": "string", "x-pg-type": "text"}, not_null=True, can_be_toasted=True),
    ColumnSchema("id", INT4, not_null=True, can_be_toasted=False),
    ColumnSchema("total", INT4, not_null=True, can_be_toasted=False),
    ColumnSchema("discount", INT4, can_be_toasted=False),
    ColumnSchema("note", {"type": "string", "x-pg-type": "text"}, not_null=True),
    ColumnSchema("sizes", {"$ref": "#/$defs/integer", "x-pg-type": "integer[]"}, {"integer": LIST}),
    ColumnSchema("more", {"$ref": "#/$defs/integer", "x-pg-type": "integer[]"}, {"integer": LIST}),
]


def test_the_schema_that_follows_the_stream_binds_the_key_only() -> None:
    schema = derive("shop.public.orders", COLUMNS, ("id", "region"), strict=False)
    assert schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:liberator:contract:shop.public.orders",
        "title": "shop.public.orders",
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-pg-type": "text"},
            "id": INT4,
            "total": {**INT4, "type": ["integer", "null"]},
            "discount": {**INT4, "type": ["integer", "null"]},
            "note": {"type": ["string", "null"], "x-pg-type": "text"},
            "sizes": {"anyOf": [{"$ref": "#/$defs/integer"}, {"type": "null"}], "x-pg-type": "integer[]"},
            "more": {"anyOf": [{"$ref": "#/$defs/integer"}, {"type": "null"}], "x-pg-type": "integer[]"},
        },
        "required": ["region", "id"],
        "additionalProperties": True,
        "x-key": ["id", "region"],
        "$defs": {"integer": LIST},
    }


def test_the_strict_schema_says_what_the_table_says_and_requires_what_every_update_carries() -> None:
    schema = derive("shop.public.orders", COLUMNS, ("id", "region"), strict=True)
    assert schema["required"] == ["region", "id", "total", "discount"]
    properties = schema["properties"]
    assert [properties[name]["type"] for name in ("total", "discount", "note")] == [
        "integer",
        ["integer", "null"],
        "string",
    ]


def test_the_same_table_gives_the_same_text() -> None:
    texts = set()
    for names in (("b", "a", "c"), ("c", "b", "a")):
        column = ColumnSchema("x", {"$ref": "#/$defs/a"}, {name: {"type": "array"} for name in names})
        texts.add(json.dumps(derive("t", [column], (), strict=True)))
    assert len(texts) == 1


@pytest.mark.parametrize("title", ["plain", "with blank/and?#%", "ünï☃"])
def test_every_title_makes_a_good_identifier(title: str) -> None:
    schema = derive(title, COLUMNS, ("id",), strict=False)
    jsonschema.Draft202012Validator.check_schema(schema)
    Document(schema)
    assert schema["$id"].isascii()


def test_a_table_without_columns_or_key_has_a_schema() -> None:
    schema = derive("t", [], (), strict=True)
    assert (schema["required"], schema["properties"], schema["x-key"]) == ([], {}, [])
    assert reference(schema).is_valid({})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.guaranteed)[:40])
def test_a_nullable_schema_takes_null_and_otherwise_the_same_values(kind: Any) -> None:
    own = {word: rule for word, rule in kind.guaranteed.items() if word != "$defs"}
    with_null = reference({**nullable(own), "$defs": kind.guaranteed.get("$defs", {})})
    assert with_null.is_valid(None)
    plain = reference(kind.guaranteed)
    for value in [0, -200, 0.5, "a", "NaN", "abcd", "\n", True, [], [[1]], {}, {"empty": True}, {"x": 1}]:
        assert plain.is_valid(value) == with_null.is_valid(value)


def test_alternatives_are_not_nested_for_the_sake_of_null() -> None:
    schema = nullable({"anyOf": [{"type": "number"}, {"enum": ["NaN"]}]})
    assert schema == {"anyOf": [{"type": "number"}, {"enum": ["NaN"]}, {"type": "null"}]}


def test_annotations_of_a_nullable_schema_stay_where_readers_look_for_them() -> None:
    schema = nullable({"type": "string", "pattern": "^a$", "not": {"pattern": "\\n"}, "x-pg-type": "uuid"})
    assert schema["x-pg-type"] == "uuid"
    assert reference(schema).is_valid(None)
