"""A contract is complete in itself, in the subset that every engine shares, or refused with its place."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from liberator.contract.document import Document
from liberator.contract.gate import ColumnFacts, compile_gate
from liberator.contract.reference import reference
from liberator.errors import ContractError


@pytest.mark.parametrize(
    ("schema", "code", "place"),
    [
        ({"properties": {"a": {"type": "text"}}}, "contract.invalid_schema", "/properties/a/type"),
        ({"properties": {"a": {"minimum": "1"}}}, "contract.invalid_schema", "/properties/a/minimum"),
        ({"properties": {"a": {"multipleOf": 0}}}, "contract.invalid_schema", "/properties/a/multipleOf"),
        ({"required": "a"}, "contract.invalid_schema", "/required"),
        ({"properties": {"a": {"pattern": "("}}}, "contract.pattern_not_portable", "/properties/a"),
        ({"const": float("nan")}, "contract.invalid_schema", "the root"),
        ({"const": float("inf")}, "contract.invalid_schema", "the root"),
        ({"const": "\ud800"}, "contract.invalid_schema", "the root"),
        ({"const": {1}}, "contract.invalid_schema", "the root"),
        ({"properties": {"a": {"pattern": "^(?=a)"}}}, "contract.pattern_not_portable", "/properties/a"),
        ({"patternProperties": {r"(a)\1": {}}}, "contract.pattern_not_portable", "the root"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "contract.unsupported", "/$schema"),
        ({"$defs": {"a": {"$id": "other"}}}, "contract.unsupported", "/$defs/a/$id"),
        ({"$dynamicRef": "#a"}, "contract.unsupported", "/$dynamicRef"),
        ({"dependencies": {"a": ["b"]}}, "contract.unsupported", "/dependencies"),
        ({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}, "contract.unsupported", "/$defs/b"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "contract.unresolved_ref", "/properties/a"),
        ({"properties": {"a": {"$ref": "#nowhere"}}}, "contract.unresolved_ref", "/properties/a"),
        ({"$ref": "#/required", "required": ["a"]}, "contract.unresolved_ref", "the root"),
        ({"$ref": "#"}, "contract.circular_ref", "the root"),
        (
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
            },
            "contract.circular_ref",
            "/$defs",
        ),
        ({"items": {"if": {"$ref": "#/items"}}}, "contract.circular_ref", "/items"),
    ],
)
def test_refuses_a_contract_that_engines_would_read_differently(schema: Any, code: str, place: str) -> None:
    with pytest.raises(ContractError) as caught:
        Document(schema, "orders/1.json")
    assert caught.value.code == code
    assert (caught.value.where or "").startswith("orders/1.json, at ")
    assert place in (caught.value.where or "")
    assert caught.value.fix


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"c": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"maximum": 5}}},
        {"properties": {"c": {"$ref": "#small"}}, "$defs": {"n": {"$anchor": "small", "maximum": 5}}},
        {"properties": {"c": {"$ref": "#/$defs/a~1b%20c~0d%25"}}, "$defs": {"a/b c~d%": {"maximum": 5}}},
        {
            "$id": "https://example.com/orders",
            "properties": {"c": {"$ref": "https://example.com/orders#/$defs/n"}},
            "$defs": {"n": {"maximum": 5}},
        },
        {"$id": "orders.json", "properties": {"c": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"maximum": 5}}},
        {"properties": {"c": {"$ref": "#/properties/d"}, "d": {"maximum": 5}}},
        {"$ref": "#/$defs/row", "$defs": {"row": {"properties": {"c": {"maximum": 5}}}}},
        {"allOf": [{"properties": {"c": {"maximum": 5}}}, {"anyOf": [True, {"$ref": "#/allOf/0"}]}]},
    ],
)
def test_follows_references_inside_the_contract(schema: Any) -> None:
    gate = compile_gate(schema, [ColumnFacts("c", {"type": "integer"}, nullable=False)])
    assert [gate.accepts(row) for row in (b'{"c":5}', b'{"c":6}')] == [True, False]
    assert gate.explain(b'{"c":6}').rule == "maximum"


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_never_fetches_what_a_contract_refers_to(scheme: str, tmp_path: Any) -> None:
    (tmp_path / "other.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        port = server.getsockname()[1]
        address = (
            f"http://127.0.0.1:{port}/other.json" if scheme == "http" else (tmp_path / "other.json").as_uri()
        )
        for schema in ({"$ref": address}, {"properties": {"c": {"items": {"$ref": f"{address}#/$defs/a"}}}}):
            for read in (Document, reference):
                with pytest.raises(ContractError) as caught:
                    read(schema)
                assert caught.value.code == "contract.remote_ref"
        with pytest.raises(TimeoutError):
            server.accept()


def test_references_in_data_are_left_alone() -> None:
    schema = {"properties": {"c": {"enum": [{"$ref": "https://example.com/"}, "x"], "default": {"$id": "y"}}}}
    gate = compile_gate(schema, [ColumnFacts("c", {}, nullable=False)])
    assert gate.accepts(b'{"c":{"$ref":"https://example.com/"}}')


def test_leaves_the_given_contract_as_it_was() -> None:
    schema = {"$id": "x", "$ref": "#a", "$defs": {"b": {"$anchor": "a"}}}
    Document(schema)
    assert schema == {"$id": "x", "$ref": "#a", "$defs": {"b": {"$anchor": "a"}}}
