"""Differences of contracts, as people read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.contract.diff import Difference, describe, differences

from .generated import contracts

OLD: dict[str, Any] = {
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "status": {"enum": ["new", "paid"]},
        "note": {"type": ["string", "null"], "maxLength": 500, "x-pg-type": "character varying(500)"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["id", "note"],
}


def test_tells_what_was_added_removed_and_changed() -> None:
    new = {
        "properties": {
            "id": {"type": "integer"},
            "status": {"enum": ["new", "paid", "sent"]},
            "tags": {"type": "array", "items": {"type": ["string", "null"]}},
            "at": {"anyOf": [{"type": "string"}, {"type": "null"}], "x-pg-type": "date"},
        },
        "required": ["id", "status"],
        "additionalProperties": False,
    }
    assert [str(each) for each in differences(OLD, new)] == [
        "- /id: minimum 1 removed",
        '~ /status: enum ["new", "paid"] -> ["new", "paid", "sent"]',
        "- /note: removed, string or null (character varying(500))",
        '~ /tags/*: type "string" -> ["string", "null"]',
        "+ /at: added, string or null (date)",
        "~ /note: no longer required",
        "~ /status: required now",
        "+ the row: additionalProperties false added",
    ]


def test_tells_definitions_by_their_place() -> None:
    old, new = {"$defs": {"d": {"type": "string"}}}, {"$defs": {"d": False, "e": True}}
    assert differences(old, new) == [
        Difference("/$defs/d", "changed", "schema", {"type": "string"}, False),
        Difference("/$defs/e", "added", "", None, True),
    ]


def test_shortens_what_is_long() -> None:
    (long,) = differences({"enum": ["a"]}, {"enum": ["b" * 200]})
    assert str(long).startswith('~ the row: enum ["a"] -> ["bbb')
    assert str(long).endswith("...")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (True, "anything"),
        (False, "nothing"),
        ({}, "anything"),
        ({"type": "integer"}, "integer"),
        ({"$ref": "#/$defs/a"}, '"#/$defs/a"'),
        ({"enum": [1, None]}, "[1, null]"),
    ],
)
def test_describes_a_value(schema: Any, words: str) -> None:
    assert describe(schema) == words


@given(contracts(), st.data())
def test_only_what_is_the_same_has_no_differences(old: dict[str, Any], data: st.DataObject) -> None:
    new = data.draw(contracts() | st.just(json.loads(json.dumps(old))))
    assert (differences(old, new) == []) is (normal(old) == normal(new))


def normal(schema: Any) -> Any:
    """The order of members and of what is required does not matter, nor do empty ones."""
    if isinstance(schema, dict):
        return {
            word: sorted(operand) if word == "required" else normal(operand)
            for word, operand in sorted(schema.items())
            if word not in ("properties", "required", "$defs") or operand
        }
    return [normal(each) for each in schema] if isinstance(schema, list) else schema
