"""The rules of docs/reference/compatibility.md, one by one: what each refuses, and what it lets through."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from liberator.config.models import SchemaSettings
from liberator.contract.compatibility import MODES, Incompatibility, Mode, compatible, compatible_with
from liberator.errors import ContractError

Schema = dict[str, Any]


def of(**properties: Any) -> Schema:
    """A contract with these properties."""
    return {"type": "object", "properties": properties}


def refusals(
    old: Schema, new: Schema, mode: Mode = "backward", *, rows: bool = False
) -> set[tuple[str, str]]:
    return {(each.rule, each.path) for each in compatible(old, new, mode, rows=rows)}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
CLOSED: Schema = {"additionalProperties": False}

REFUSED: list[tuple[str, str, Schema, Schema]] = [
    ("type-narrowed", "/a", of(a={"type": ["integer", "null"]}), of(a=WHOLE)),
    ("type-narrowed", "/a", of(a=WHOLE), of(a=TEXT)),
    ("type-narrowed", "/a", of(a={"type": "number"}), of(a=WHOLE)),
    ("type-narrowed", "/a", of(a={"anyOf": [WHOLE, {"type": "null"}]}), of(a=WHOLE)),
    ("type-narrowed", "/a/*", of(a={"items": {"type": ["string", "null"]}}), of(a={"items": TEXT})),
    ("values-narrowed", "/a", of(a={"enum": ["x", "y"]}), of(a={"enum": ["x"]})),
    ("values-narrowed", "/a", of(a=TEXT), of(a={"type": "string", "enum": ["x"]})),
    ("values-narrowed", "/a", of(a={"enum": ["x", "y"]}), of(a={"const": "x"})),
    ("range-narrowed", "/a", of(a={"type": "integer", "minimum": 0}), of(a={"type": "integer", "minimum": 1})),
    ("range-narrowed", "/a", of(a=WHOLE), of(a={"type": "integer", "maximum": 9})),
    ("range-narrowed", "/a", of(a={"type": "number", "minimum": 0}), of(a={"type": "number", "exclusiveMinimum": 0})),
    ("range-narrowed", "/a", of(a={"type": "number", "maximum": 0}), of(a={"type": "number", "exclusiveMaximum": 0})),
    ("multiple-narrowed", "/a", of(a=WHOLE), of(a={"type": "integer", "multipleOf": 5})),
    ("length-narrowed", "/a", of(a=TEXT), of(a={"type": "string", "minLength": 1})),
    ("length-narrowed", "/a", of(a={"type": "string", "maxLength": 9}), of(a={"type": "string", "maxLength": 8})),
    ("pattern-changed", "/a", of(a=TEXT), of(a={"type": "string", "pattern": "^a"})),
    ("pattern-changed", "/a", of(a={"type": "string", "pattern": "^ab"}), of(a={"type": "string", "pattern": "^a"})),
    ("size-narrowed", "/a", of(a={"type": "array"}), of(a={"type": "array", "minItems": 1})),
    ("size-narrowed", "/a", of(a={"type": "array", "maxItems": 3}), of(a={"type": "array", "maxItems": 2})),
    ("size-narrowed", "/a", of(a={"type": "array"}), of(a={"type": "array", "uniqueItems": True})),
    ("size-narrowed", "", {"type": "object"}, {"type": "object", "minProperties": 1}),
    ("size-narrowed", "", {"type": "object"}, {"type": "object", "maxProperties": 9}),
    ("names-narrowed", "", {"type": "object"}, {"type": "object", "propertyNames": {"maxLength": 3}}),
    ("required-added", "/a", of(a=WHOLE), {**of(a=WHOLE), "required": ["a"]}),
    ("dependency-added", "", of(a=WHOLE), {**of(a=WHOLE), "dependentRequired": {"a": ["b"]}}),
    ("content-closed", "/*", of(a=WHOLE), {**of(a=WHOLE), **CLOSED}),
    ("refused", "/b", {**of(a=WHOLE, b=WHOLE), **CLOSED}, {**of(a=WHOLE), **CLOSED}),
    ("refused", "/b", of(b=WHOLE), of(b=False)),
    ("restricted", "/*", of(), {**of(), "additionalProperties": TEXT}),
    ("restricted", "/a", of(a={}), of(a=TEXT)),
    ("property-added", "/b", of(a=WHOLE), of(a=WHOLE, b=TEXT)),
    (
        "alternatives-narrowed",
        "/a",
        of(a={"type": "string"}),
        of(a={"type": "string", "anyOf": [{"maxLength": 3}, {"pattern": "^a"}]}),
    ),
    ("alternatives-narrowed", "/a", of(a=WHOLE), of(a={"oneOf": [TEXT, {"type": "null"}]})),
    ("too-complex", "/a", of(a=TEXT), of(a={"type": "string", "oneOf": [{"maxLength": 3}, {"pattern": "^a"}]})),
    ("too-complex", "/a", of(a=TEXT), of(a={"type": "string", "not": {"const": "x"}})),
    ("too-complex", "/a", of(a=TEXT), of(a={"type": "string", "if": {"minLength": 3}, "then": {"pattern": "^a"}})),
    ("too-complex", "/a", of(a={"type": "array"}), of(a={"type": "array", "contains": TEXT})),
    ("too-complex", "", {"type": "object"}, {"type": "object", "patternProperties": {"^x": TEXT}}),
    ("too-complex", "", of(a=WHOLE), {**of(a=WHOLE), "dependentSchemas": {"a": {"required": ["b"]}}}),
    ("too-complex", "", {"type": "object"}, {"type": "object", "unevaluatedProperties": False}),
    ("unknown-keyword", "/a", of(a=TEXT), of(a={"type": "string", "shape": "round"})),
    ("type-narrowed", "/a/1", of(a={"type": "array", "prefixItems": [WHOLE, TEXT]}),
     of(a={"type": "array", "prefixItems": [WHOLE, WHOLE]})),
    ("type-narrowed", "/a/1", of(a={"type": "array", "prefixItems": [WHOLE, TEXT], "items": WHOLE}),
     of(a={"type": "array", "prefixItems": [WHOLE], "items": WHOLE})),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "path", "old", "new"), REFUSED)
def test_refuses_a_version_that_a_rule_names(rule: str, path: str, old: Schema, new: Schema) -> None:
    assert refusals(old, new) == {(rule, path)}
    assert refusals(new, old, "forward") == {(rule, path)}
    assert refusals(new, new, "full") == set()


LIST: Schema = {"type": "array", "items": {"anyOf": [WHOLE, {"type": "null"}, {"$ref": "#/$defs/list"}]}}
WIDER_LIST: Schema = {
    "type": "array",
    "items": {"anyOf": [{"type": "number"}, {"type": "null"}, {"$ref": "#/$defs/list"}]},
}

ACCEPTED: list[tuple[Schema, Schema]] = [
    (of(a=WHOLE), of(a={"type": ["integer", "null"]})),
    (of(a={"type": ["integer", "null"]}), of(a={"anyOf": [{"type": "number"}, {"type": "null"}]})),
    (of(a={"type": ["integer", "null"]}), of(a={"oneOf": [{"type": "null"}, WHOLE]})),
    (of(a={"oneOf": [{"type": "null"}, WHOLE]}), of(a={"type": ["integer", "null"]})),
    (of(a=WHOLE), of(a={"type": "number"})),
    (of(a={"type": "integer", "minimum": 5}), of(a={"type": "integer", "exclusiveMinimum": 4})),
    (of(a={"enum": ["x", None]}), of(a={"enum": [None, "y", "x"]})),
    (of(a={"enum": ["x", None]}), of(a={"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 1}]})),
    (of(a={"enum": [2, 4]}), of(a={"type": "integer", "multipleOf": 2, "maximum": 4})),
    (of(a=WHOLE, b=TEXT), of(a=WHOLE)),
    ({**of(a=WHOLE), **CLOSED}, {**of(a=WHOLE, b=TEXT), **CLOSED}),
    ({**of(a=WHOLE), **CLOSED}, of(a=WHOLE, b=TEXT)),
    ({**of(a=WHOLE), "required": ["a"]}, of(a=WHOLE)),
    (of(a=WHOLE), of(a={"type": "integer", "title": "A", "format": "int32", "x-note": 1})),
    (of(a=WHOLE), {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": WHOLE}}),
    (
        {**of(a={"$ref": "#/$defs/list"}), "$defs": {"list": LIST}},
        {**of(a={"$ref": "#/$defs/list"}), "$defs": {"list": WIDER_LIST}},
    ),
    (of(a={"not": {"const": 1}}, b=WHOLE), of(a={"not": {"const": 1}}, b={"type": "number"})),
    (of(a={"allOf": [WHOLE, {"minimum": 3}]}), of(a={"type": "integer", "minimum": 2})),
    (of(a={"type": "array", "items": WHOLE, "minItems": 2}), of(a={"type": "array", "items": {"type": "number"}})),
    (
        {"patternProperties": {"^x": WHOLE}, **of(a=WHOLE)},
        {"patternProperties": {"^x": {"type": "number"}}, **of(a={"type": "number"})},
    ),
    (of(a={"shape": "round"}), of(a={"shape": "round", "title": "A"})),
    (of(a={"type": "array", "items": WHOLE}), of(a={"type": "array", "prefixItems": [WHOLE], "items": WHOLE})),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), ACCEPTED)
def test_accepts_a_version_that_allows_what_the_old_one_allowed(old: Schema, new: Schema) -> None:
    assert refusals(old, new) == set()
    assert refusals(new, old, "forward") == set()


def test_what_is_wrong_is_said_in_words() -> None:
    old = of(a={"type": ["integer", "null"]}, b={"type": "string", "enum": ["x", "y"]})
    new = of(a=WHOLE, b={"type": "string", "enum": ["x"]})
    assert [str(each) for each in compatible(old, new, "backward")] == [
        "/a: the old version allows null; the new one does not (type-narrowed, backward)",
        '/b: the old version allows "y"; the new one does not (values-narrowed, backward)',
    ]
    assert [str(each) for each in compatible(new, old, "forward")] == [
        "/a: the new version allows null; the old one does not (type-narrowed, forward)",
        '/b: the new version allows "y"; the old one does not (values-narrowed, forward)',
    ]


def test_full_is_both_and_none_is_neither() -> None:
    narrow, wide = of(a=WHOLE), of(a={"type": ["integer", "null"]})
    assert [each.direction for each in compatible(wide, narrow, "full")] == ["backward"]
    assert [each.direction for each in compatible(narrow, wide, "full")] == ["forward"]
    assert compatible(wide, narrow, "none") == []


@pytest.mark.parametrize("mode", MODES)
def test_a_transitive_mode_looks_at_every_version(mode: Mode) -> None:
    """Version 1 had null, version 2 has not, and neither has the new one."""
    wide, narrow = of(a={"type": ["integer", "null"]}), of(a=WHOLE)
    found = compatible_with({1: wide, 2: narrow}, narrow, mode)
    broken = mode in ("backward_transitive", "full_transitive")
    assert found == (
        [Incompatibility("type-narrowed", "/a", found[0].message, "backward", 1)] if broken else []
    )
    assert not broken or "towards version 1" in str(found[0])


def test_a_first_version_owes_nothing() -> None:
    assert compatible_with({}, of(a=WHOLE), "full_transitive") == []


def test_rows_hold_only_the_members_that_their_contract_names() -> None:
    """A column that is added to a table was in no row before, so no row can hold something else there."""
    old, new = of(a=WHOLE), of(a=WHOLE, b=TEXT)
    assert refusals(old, new) == {("property-added", "/b")}
    assert refusals(old, new, rows=True) == set()
    assert refusals(old, {**new, "required": ["b"]}, rows=True) == {("required-added", "/b")}
    assert refusals(old, {**of(), **CLOSED}, rows=True) == {("refused", "/a")}
    assert refusals(old, {**old, **CLOSED}, rows=True) == set()


def test_rows_may_hold_what_a_branch_of_their_contract_names() -> None:
    old = {
        "allOf": [of(a=WHOLE), {"if": {"required": ["b"]}, "then": {"$ref": "#/$defs/c"}}],
        "$defs": {"c": of(c={})},
    }
    assert {path for _, path in refusals(old, of(b=TEXT, c=TEXT, d=TEXT), rows=True)} == {"/b", "/c"}


def test_rows_of_a_contract_with_patterns_of_names_may_hold_any_member() -> None:
    old = {**of(a=WHOLE), "patternProperties": {"^x": WHOLE}}
    assert refusals(old, {**old, **of(a=WHOLE, x1=TEXT)}, rows=True) == {("property-added", "/x1")}


def test_rows_are_closed_at_their_own_level_only() -> None:
    """Inside a document (a json column) anything may have been."""
    assert refusals(of(a=of(x=TEXT)), of(a=of(x=TEXT, y=TEXT)), rows=True) == {("property-added", "/a/y")}


@pytest.mark.parametrize(
    "holder", ["definitions", "$defs", "properties", "dependentSchemas", "patternProperties"]
)
def test_what_a_reference_leads_to_counts_wherever_it_stands(holder: str) -> None:
    """The same words do not mean the same when they refer to something that has changed."""

    def version(kind: str) -> Schema:
        schema = of(a={"$ref": f"#/{holder}/n"}, b={"type": "string", "not": {"$ref": f"#/{holder}/n"}})
        schema[holder] = {**schema.get(holder, {}), "n": {"$ref": "#/items"}}
        return {**schema, "items": {"type": kind}}

    found = refusals(version("string"), version("integer"))
    assert {("type-narrowed", "/a"), ("too-complex", "/b")} <= found
    assert refusals(version("string"), {**version("string"), "title": "A"}) == set()


def test_what_is_no_contract_is_refused_as_such() -> None:
    with pytest.raises(ContractError) as caught:
        compatible(of(a=WHOLE), of(a={"$ref": "https://elsewhere/a.json"}), "backward")
    assert caught.value.code == "contract.remote_ref"
    assert caught.value.where == "the new version, at /properties/a"


def test_a_contract_of_1600_columns_is_compared_at_once() -> None:
    column = {"anyOf": [{"$ref": "#/$defs/list"}, {"type": "null"}]}
    old = {**of(**{f"c{n}": column for n in range(1600)}), "$defs": {"list": LIST}}
    assert refusals(old, {**old, "$defs": {"list": WIDER_LIST}}) == set()


def test_a_schema_that_unfolds_without_end_is_given_up() -> None:
    """Sixty definitions that each refer to the next one twice have 2^60 places."""

    def chain(last: Schema) -> Schema:
        steps = {
            f"d{n}": of(x={"$ref": f"#/$defs/d{n + 1}"}, y={"$ref": f"#/$defs/d{n + 1}"}) for n in range(60)
        }
        return {"$ref": "#/$defs/d0", "$defs": {**steps, "d60": last}}

    assert ("too-complex", "") in refusals(chain(WHOLE), chain(TEXT))


def test_every_mode_can_be_configured() -> None:
    assert get_args(SchemaSettings.model_fields["compatibility"].annotation) == MODES


def test_every_rule_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/compatibility.md").read_text()
    page = page[page.index("## The rules") :]
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    assert documented == {rule for rule, *_ in REFUSED}
