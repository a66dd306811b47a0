"""The gate: no more checks than the types leave open, exact ones, and explanations without values."""

from __future__ import annotations

import json
import time
import timeit
from typing import Any

import pytest

from liberator.contract.derive import ColumnSchema, derive
from liberator.contract.gate import ColumnFacts, Gate, compile_gate
from liberator.contract.violation import Violation
from liberator.errors import ContractError
from tests.unit.contract.generated import KINDS, encoded

INT4 = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
FLOAT8 = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
TEXT = {"type": "string"}
DOCUMENT: dict[str, Any] = {}
NUMBERS: dict[str, Any] = {
    "$ref": "#/$defs/integer",
    "$defs": {
        "integer": {
            "type": "array",
            "items": {"anyOf": [INT4, {"type": "null"}, {"$ref": "#/$defs/integer"}]},
        }
    },
}


def gate_of(rules: Any, guaranteed: dict[str, Any], definitions: dict[str, Any] | None = None) -> Gate:
    """The gate for a table with one column, `c`, that may be null."""
    schema = {"properties": {"c": rules}, "$defs": definitions or {}}
    return compile_gate(schema, [ColumnFacts("c", guaranteed, nullable=True)])


def checked(gate: Gate) -> set[str]:
    return (
        set(gate.columns) | ({"row"} if gate.row else set()) | ({"impossible"} if gate.impossible else set())
    )


@pytest.mark.parametrize(
    ("rules", "guaranteed"),
    [
        ({"type": ["integer", "null"]}, INT4),
        ({"type": ["number", "null"]}, INT4),
        ({"minimum": -(2**31), "exclusiveMaximum": 2**31}, INT4),
        ({"minimum": 0}, TEXT),
        ({"multipleOf": 1}, INT4),
        ({"type": ["string", "null"], "maxLength": 20}, {"type": "string", "maxLength": 10}),
        ({"minLength": 0}, TEXT),
        ({"pattern": "^[ab]$"}, {"type": "string", "pattern": "^[ab]$", "maxLength": 1}),
        ({"enum": ["a", "b", "c", None]}, {"enum": ["a", "b"]}),
        ({"minLength": 1}, {"enum": ["a", "b"]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, TEXT),
        ({"anyOf": [FLOAT8, {"type": "null"}]}, FLOAT8),
        ({"anyOf": [{"$ref": "#/$defs/integer"}, {"type": "null"}]}, NUMBERS),
        ({"items": {"type": ["null", "integer", "array"]}}, NUMBERS),
        ({"format": "uuid", "title": "a title", "default": 7, "contentEncoding": "base64"}, TEXT),
        ({"properties": {"a": {"type": "string"}}}, TEXT),
        (True, DOCUMENT),
    ],
)
def test_checks_nothing_that_the_type_guarantees(rules: Any, guaranteed: dict[str, Any]) -> None:
    own_words = {"title": "own words", **NUMBERS["$defs"]["integer"]}
    assert gate_of(rules, guaranteed, definitions={"integer": own_words}).empty


@pytest.mark.parametrize(
    ("rules", "guaranteed"),
    [
        ({"type": "string"}, TEXT),
        ({"type": ["number", "null"]}, FLOAT8),
        ({"minimum": 0}, INT4),
        ({"maximum": 2**31 - 2}, INT4),
        ({"maxLength": 9}, {"type": "string", "maxLength": 10}),
        ({"pattern": "^[ab]$"}, {"type": "string", "pattern": "^[ab]+$"}),
        ({"enum": ["a", None]}, {"enum": ["a", "b"]}),
        ({"multipleOf": 2}, INT4),
        ({"maxItems": 3}, NUMBERS),
        ({"items": {"type": "integer"}}, NUMBERS),
        ({"type": ["string", "null"]}, DOCUMENT),
    ],
)
def test_checks_what_goes_beyond_the_type(rules: Any, guaranteed: dict[str, Any]) -> None:
    assert checked(gate_of(rules, guaranteed)) == {"c"}


def test_a_guarantee_that_refers_to_nothing_guarantees_nothing() -> None:
    gate = gate_of({"type": ["array", "null"]}, {"$ref": "#/$defs/integer"})
    assert (gate.accepts(b'{"c":[1]}'), gate.accepts(b'{"c":1}')) == (True, False)


@pytest.mark.parametrize("strict", [False, True])
def test_a_derived_schema_leaves_nothing_to_check(strict: bool) -> None:
    columns, facts = [], []
    for index, kind in enumerate(KINDS):
        own = dict(kind.guaranteed)
        defs = own.pop("$defs", {})
        for not_null in (False, True):
            name = f"c{index}{not_null}"
            columns.append(ColumnSchema(name, own, defs, not_null, can_be_toasted=False))
            facts.append(ColumnFacts(name, kind.guaranteed, not (strict and not_null)))
    schema = derive("t", columns, (), strict=strict)
    assert compile_gate(schema, facts).empty


def test_a_column_check_reads_the_bytes_of_the_value_alone() -> None:
    check = gate_of({"enum": ["paid", "open"]}, TEXT).columns["c"]
    assert (check(b'"paid"'), check(b'"lost"'), check(b"null")) == (True, False, False)


@pytest.mark.parametrize("spelling", [b'"A\\u00e9"', '"Aé"'.encode(), b'"\\u0041\\u00E9"', b'"A\xc3\xa9"'])
def test_a_listed_text_may_be_spelled_in_any_way(spelling: bytes) -> None:
    assert gate_of({"enum": ["Aé"]}, TEXT).columns["c"](spelling)


@pytest.mark.parametrize(
    ("raw", "good"),
    [
        (b"1", True),
        (b"1.0", True),
        (b"1e0", True),
        (b"-0", True),
        (b"0.0", True),
        (b"2", False),
        (b"true", False),
    ],
)
def test_a_listed_number_may_be_spelled_in_any_way(raw: bytes, good: bool) -> None:
    assert gate_of({"enum": [1, 0.0]}, {"type": ["number", "boolean"]}).columns["c"](raw) is good


@pytest.mark.parametrize(
    ("rules", "raw", "good"),
    [
        ({"minimum": 0.1}, b"0.1", True),
        ({"exclusiveMinimum": 0.1}, b"0.1", False),
        ({"minimum": 0.1}, b"0.09999999999999999999", False),
        ({"exclusiveMinimum": 0.1}, b"0.1000000000000000000001", True),
        ({"maximum": 9007199254740992}, b"9007199254740993", False),
        ({"minimum": 10**24}, b"999999999999999999999999", False),
        ({"maximum": 10}, b"1e400", False),
        ({"minimum": 0}, b"-1e-400", False),
        ({"minimum": 0}, b"-1e-99999999999999999999", True),
        ({"minimum": 0}, b"1e99999999999999999999", True),
        ({"minimum": 0}, b"-1e99999999999999999999", False),
        ({"multipleOf": 0.01}, b"19.99", True),
        ({"multipleOf": 0.1}, b"0.35", False),
        ({"multipleOf": 7}, b"700000000000000000000000000007", True),
        ({"multipleOf": 3}, b"1e23", False),
        ({"type": "integer"}, b"1.0", True),
        ({"type": "integer"}, b"1.5", False),
        ({"maximum": 5}, b"1" * 5000, False),
        ({"minimum": 2**63 - 1}, b"9223372036854775806", False),
        ({"exclusiveMinimum": 2**53 + 3}, b"9007199254740995", False),
        ({"exclusiveMaximum": 2**53 + 1}, b"9007199254740992", True),
        ({"minimum": 2**53 + 1}, b"9007199254740993.0", True),
        ({"exclusiveMaximum": 2**53 + 1}, b"9007199254740993.0", False),
        ({"maximum": 10**400}, b"1e399", True),
        ({"minimum": 10**400}, b"1.5", False),
        ({"minimum": -(10**400)}, b"-1.5", True),
    ],
)
def test_numbers_are_exact(rules: dict[str, Any], raw: bytes, good: bool) -> None:
    gate = gate_of(rules, {"type": "number"})
    assert gate.columns["c"](raw) is good
    assert gate.accepts(b'{"c":%b}' % raw) is good


TEXTS = [
    ("abc", 3),
    ("é€😀", 3),
    ("\\\n\t", 3),
    ('"""', 3),
    ("ab", 2),
    ("abcd", 4),
    ("", 0),
    ("é€", 2),
    ("\\\n", 2),
]


@pytest.mark.parametrize(("text", "length"), TEXTS)
def test_lengths_count_characters(text: str, length: int) -> None:
    for escape in (True, False):
        raw = json.dumps(text, ensure_ascii=escape).encode()
        assert gate_of({"maxLength": 3}, TEXT).columns["c"](raw) is (length <= 3)
        assert gate_of({"minLength": 3}, TEXT).columns["c"](raw) is (length >= 3)


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        ({"exclusiveMinimum": 3}, b"4", b"3"),
        ({"exclusiveMaximum": 3}, b"2", b"3"),
        ({"minimum": 2.5}, b"3", b"2"),
        ({"exclusiveMinimum": 2.5, "maximum": 7.5}, b"7", b"8"),
        ({"minimum": 3, "exclusiveMinimum": 1}, b"3", b"2"),
        ({"multipleOf": 4, "minimum": 3}, b"8", b"6"),
        ({"allOf": [{"multipleOf": 4}, {"multipleOf": 6}]}, b"12", b"8"),
        ({"multipleOf": 1.5}, b"3", b"4"),
        ({"enum": [1, 5], "minimum": 3}, b"5", b"1"),
        ({"const": 5}, b"5", b"1"),
        ({"type": "integer", "minimum": 3}, b"3", b"null"),
        ({"type": ["integer", "null"], "minimum": 3}, b"null", b"2"),
        ({"enum": [5, None]}, b"null", b"1"),
        ({"enum": [5]}, b"5", b"null"),
        ({"not": {"const": 5}}, b"4", b"5"),
        ({"anyOf": [{"minimum": 5}, {"type": "null"}]}, b"5", b"4"),
        ({"anyOf": [{"minimum": 5}, {"maximum": -5}]}, b"-6", b"4"),
    ],
)
def test_whole_numbers_are_checked_on_every_side(rules: dict[str, Any], good: bytes, bad: bytes) -> None:
    check = gate_of(rules, INT4).columns["c"]
    assert (check(good), check(bad)) == (True, False)


SPAN = {
    "type": "object",
    "properties": {"empty": {"type": "boolean"}, "lower": {"type": ["integer", "null"]}},
    "required": ["empty"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("rules", "proven"),
    [
        ({"required": ["empty"]}, True),
        ({"required": ["lower"]}, False),
        ({"properties": {"empty": {"type": "boolean"}}}, True),
        ({"properties": {"lower": {"type": ["null", "number"]}}}, True),
        ({"properties": {"lower": {"type": "integer"}}}, False),
        ({"properties": {"upper": {"type": "integer"}}}, True),
        ({"properties": {"empty": True, "lower": True}, "additionalProperties": False}, True),
        ({"properties": {"empty": True}, "additionalProperties": False}, False),
        ({"additionalProperties": {"type": ["boolean", "integer", "null"]}}, True),
        ({"additionalProperties": {"type": ["boolean", "null"]}}, False),
        ({"maxProperties": 2}, False),
        ({"minProperties": 0}, True),
        ({"propertyNames": {"maxLength": 5}}, False),
    ],
)
def test_knows_what_the_members_of_a_composite_are(rules: dict[str, Any], proven: bool) -> None:
    assert gate_of(rules, SPAN).empty is proven


def test_named_columns_are_not_additional_ones() -> None:
    schema = {
        "properties": {"id": {"minimum": 1}},
        "patternProperties": {"^no": {"maxLength": 1}},
        "additionalProperties": {"const": "a"},
    }
    gate = compile_gate(schema, TABLE)
    assert gate.accepts(b'{"id":1,"status":"a","note":"b"}')
    assert not gate.accepts(b'{"id":1,"status":"b","note":"b"}')
    assert not gate.accepts(b'{"id":0,"status":"a","note":"b"}')
    assert not gate.accepts(b'{"id":1,"status":"a","note":"bb"}')


def test_null_is_refused_where_only_the_contract_forbids_it() -> None:
    check = gate_of({"type": "string"}, TEXT).columns["c"]
    assert (check(b'"x"'), check(b"null")) == (True, False)


def test_a_branch_for_numbers_binds_numbers_where_texts_have_a_branch_of_their_own() -> None:
    gate = gate_of({"anyOf": [{"type": "number", "minimum": 0}, {"type": ["string", "null"]}]}, FLOAT8)
    assert [gate.accepts(encoded({"c": value})) for value in (5.5, "NaN", None, -0.5)] == [
        True,
        True,
        True,
        False,
    ]


def test_a_column_may_have_to_be_null() -> None:
    check = gate_of({"type": ["null", "boolean"]}, TEXT).columns["c"]
    assert (check(b'"x"'), check(b"null")) == (False, True)


def test_a_document_with_half_a_surrogate_pair_can_be_judged() -> None:
    check = gate_of({"maxLength": 1}, DOCUMENT).columns["c"]
    assert check(b'"\\ud800"')
    assert not check(b'"\\ud800\\ud800"')


def test_a_document_nested_too_deeply_is_refused_and_explained() -> None:
    gate = gate_of({"type": "array"}, DOCUMENT)
    deep = b"[" * 100_000 + b"]" * 100_000
    assert not gate.columns["c"](deep)
    assert gate.explain(b'{"c":%b}' % deep).rule == "json"


def test_a_document_with_blanks_around_it_is_judged_by_what_it_says() -> None:
    check = gate_of({"type": "object"}, DOCUMENT).columns["c"]
    assert (check(b' {"a": 1} '), check(b" null ")) == (True, False)


TABLE = [ColumnFacts("id", INT4, False), ColumnFacts("status", TEXT, True), ColumnFacts("note", TEXT, True)]


@pytest.mark.parametrize(
    ("schema", "rule"),
    [
        (False, "false"),
        ({"type": "array"}, "type"),
        ({"required": ["id", "email"]}, "required"),
        ({"properties": {"id": True, "status": True}, "additionalProperties": False}, "additionalProperties"),
        ({"properties": {"note": False}}, "properties"),
        ({"patternProperties": {"^no": False}}, "patternProperties"),
        ({"minProperties": 4}, "minProperties"),
        ({"maxProperties": 2}, "maxProperties"),
        ({"propertyNames": {"maxLength": 4}}, "propertyNames"),
        ({"dependentRequired": {"id": ["email"]}}, "dependentRequired"),
        ({"dependentSchemas": {"id": {"required": ["email"]}}}, "required"),
        ({"allOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"required": ["email"]}}}, "required"),
        ({"properties": {"id": {"type": "string"}}}, "type"),
    ],
)
def test_knows_when_no_row_of_the_table_can_pass(schema: Any, rule: str) -> None:
    gate = compile_gate(schema, TABLE)
    assert gate.impossible is not None
    assert gate.impossible.rule == rule
    assert not gate.accepts(b'{"id":1,"status":"a","note":"b"}')
    assert gate.explain(b'{"id":1,"status":"a","note":"b"}') == gate.impossible


@pytest.mark.parametrize(
    "schema",
    [
        {"required": ["id", "note"]},
        {"properties": {"id": True}, "additionalProperties": True},
        {"properties": {"gone": {"type": "integer"}}},
        {"minProperties": 3, "maxProperties": 3},
        {"dependentRequired": {"gone": ["email"]}},
        {"dependentSchemas": {"gone": {"required": ["email"]}}},
        {"propertyNames": {"pattern": "^[a-z]+$"}},
        {"$comment": "nothing", "x-key": ["id"], "title": "orders"},
    ],
)
def test_names_and_presence_are_settled_before_the_first_row(schema: Any) -> None:
    assert compile_gate(schema, TABLE).empty


CONDITION = {
    "if": {"properties": {"status": {"const": "paid"}}},
    "then": {"properties": {"note": {"type": "string"}}},
}


def test_rules_that_compare_columns_judge_the_row() -> None:
    gate = compile_gate(CONDITION, TABLE)
    assert checked(gate) == {"row"}
    assert gate.accepts(b'{"id":1,"status":"open","note":null}')
    assert not gate.accepts(b'{"id":1,"status":"paid","note":null}')


def test_what_no_other_rule_looked_at_is_judged_with_the_row() -> None:
    schema = {
        "anyOf": [{"properties": {"id": {"const": 1}, "status": True}}, {"properties": {"id": True}}],
        "properties": {"note": True},
        "unevaluatedProperties": False,
    }
    gate = compile_gate(schema, TABLE)
    assert gate.accepts(b'{"id":1,"status":"a","note":"b"}')
    assert not gate.accepts(b'{"id":2,"status":"a","note":"b"}')
    alone = {"properties": {"id": True, "status": True}, "unevaluatedProperties": {"type": "null"}}
    assert compile_gate(alone, TABLE).accepts(b'{"id":1,"status":"a","note":null}')
    assert not compile_gate(alone, TABLE).accepts(b'{"id":1,"status":"a","note":"b"}')


@pytest.mark.parametrize(
    "guaranteed", [{"type": "integer"}, {"type": "number"}, DOCUMENT, {"type": ["integer", "string"]}]
)
def test_numbers_of_a_row_are_exact_too(guaranteed: dict[str, Any]) -> None:
    schema = {"not": {"properties": {"c": {"const": 10**24 + 1}}}}
    gate = compile_gate(schema, [ColumnFacts("c", guaranteed, nullable=False)])
    assert gate.accepts(b'{"c":%d}' % 10**24)
    assert not gate.accepts(b'{"c":%d}' % (10**24 + 1))


@pytest.mark.parametrize(
    ("row", "unsent", "good"),
    [
        (b'{"id":1,"status":"paid"}', ("note",), True),
        (b'{"id":1,"note":null}', ("status",), True),
        (b'{"id":1,"note":"x"}', ("status",), True),
        (b'{"id":1}', ("status", "note"), True),
        (b'{"status":"paid","note":null}', ("id",), False),
    ],
)
def test_a_rule_about_a_value_that_was_not_sent_is_taken_as_satisfied(
    row: bytes, unsent: tuple[str, ...], good: bool
) -> None:
    assert compile_gate(CONDITION, TABLE).accepts(row, unsent) is good


@pytest.mark.parametrize(
    "schema",
    [
        {"required": ["id", "status", "note"]},
        {"minProperties": 3},
        {"anyOf": [{"minProperties": 3}, {"properties": {"id": {"maximum": 0}}}]},
        {"anyOf": [{"maxProperties": 3}, {"properties": {"id": {"maximum": 0}}}]},
        {"anyOf": [{"required": ["note"]}, {"properties": {"id": {"maximum": 0}}}]},
        {"oneOf": [{"properties": {"note": {"const": "a"}}}, {"properties": {"note": {"const": "b"}}}]},
        {"not": {"properties": {"note": {"const": "a"}}}},
        {"not": {"required": ["email"]}},
        {"if": {"required": ["note"]}, "then": {"properties": {"id": {"minimum": 1}}}},
        {"const": {"id": 1, "status": "a", "note": "b"}},
        {"properties": {"id": True, "status": True}, "unevaluatedProperties": {"type": "string"}},
    ],
)
def test_a_column_that_was_not_sent_counts_as_present(schema: Any) -> None:
    assert compile_gate(schema, TABLE).accepts(b'{"id":1,"status":"a"}', ("note",))


@pytest.mark.parametrize(
    "schema", [{"required": ["note"]}, {"maxProperties": 3}, {"propertyNames": {"minLength": 2}}]
)
def test_what_holds_by_the_presence_of_an_unsent_column_can_be_negated(schema: Any) -> None:
    assert not compile_gate({"not": schema}, TABLE).accepts(b'{"id":1,"status":"a"}', ("note",))


def test_what_an_unsent_column_breaks_by_its_name_can_be_negated() -> None:
    gate = compile_gate({"not": {"propertyNames": {"maxLength": 3}}}, [TABLE[0], TABLE[2]])
    assert gate.accepts(b'{"id":1}', ("note",))


@pytest.mark.parametrize(
    ("schema", "row", "violation"),
    [
        (
            {"properties": {"status": {"enum": ["a", "b"]}}},
            {"status": "secret"},
            Violation(
                "/status",
                "enum",
                "/properties/status/enum",
                "is none of the 2 values that the contract lists",
            ),
        ),
        (
            {"properties": {"status": {"anyOf": [{"pattern": "^a"}, {"type": "null"}], "type": "string"}}},
            {"status": "secret"},
            Violation(
                "/status", "pattern", "/properties/status/anyOf/0/pattern", "does not match the pattern ^a"
            ),
        ),
        (
            {"properties": {"id": {"$ref": "#/$defs/positive"}}, "$defs": {"positive": {"minimum": 1}}},
            {"id": -987654},
            Violation("/id", "minimum", "/$defs/positive/minimum", "is less than 1"),
        ),
        (
            {"properties": {"doc": {"additionalProperties": {"type": "integer"}}}},
            {"doc": {"secret@example.com": "x"}},
            Violation(
                "/doc/*",
                "type",
                "/properties/doc/additionalProperties/type",
                "is not of the type that the contract names (integer)",
            ),
        ),
        (
            {"properties": {"doc": {"properties": {"lines": {"items": {"maximum": 5}}}}}},
            {"doc": {"lines": [1, 9]}},
            Violation(
                "/doc/lines/1",
                "maximum",
                "/properties/doc/properties/lines/items/maximum",
                "is greater than 5",
            ),
        ),
        (
            {"anyOf": [{"properties": {"id": {"const": 1}}}, {"properties": {"status": {"const": "b"}}}]},
            {"id": 2, "status": "secret"},
            Violation("", "anyOf", "/anyOf", "fits none of the alternatives"),
        ),
        (
            {"not": {"properties": {"id": {"const": 2}}}},
            {"id": 2},
            Violation("", "not", "/not", "breaks the rule not"),
        ),
    ],
)
def test_explains_with_path_and_rule_and_without_the_value(
    schema: Any, row: dict[str, Any], violation: Violation
) -> None:
    whole = {"id": 1, "status": "a", "note": None, "doc": None} | row
    gate = compile_gate(schema, [*TABLE, ColumnFacts("doc", DOCUMENT, True)])
    assert not gate.accepts(encoded(whole))
    assert gate.explain(encoded(whole)) == violation
    assert "secret" not in str(gate.explain(encoded(whole)))


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"properties": {"id": {"maximum": 0}}, "required": ["note"]}, "/properties/id/maximum"),
        ({"allOf": [{"not": {"properties": {"id": {"const": 1}}}}]}, "/allOf/0/not"),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"not": {"required": ["id"]}}}}, "/$defs/x/not"),
    ],
)
def test_explains_a_partly_sent_row_in_the_places_of_the_contract(schema: Any, place: str) -> None:
    gate = compile_gate(schema, TABLE)
    assert gate.explain(b'{"id":1,"status":"a"}', ("note",)).schema_path == place


def test_does_not_explain_a_row_that_passes() -> None:
    with pytest.raises(ValueError, match="keeps its contract"):
        gate_of({"minimum": 0}, INT4).explain(b'{"c":1}')


def test_format_is_a_hint_only() -> None:
    assert gate_of({"format": "date-time"}, DOCUMENT).accepts(b'{"c":"garbage"}')


def test_refuses_a_contract_that_leads_elsewhere() -> None:
    with pytest.raises(ContractError, match="leads out of the contract"):
        gate_of({"$ref": "https://example.com/schema.json"}, TEXT)


def test_compiles_a_table_with_1600_columns_in_little_time() -> None:
    columns = [ColumnSchema(f"c{n}", INT4 if n % 2 else TEXT) for n in range(1600)]
    began = time.process_time()
    schema = derive("wide", columns, ("c0",), strict=False)
    gate = compile_gate(
        schema, [ColumnFacts(column.name, dict(column.schema), column.name != "c0") for column in columns]
    )
    assert gate.empty
    assert time.process_time() - began < 5


def test_the_checks_of_a_row_cost_less_than_reading_it_once() -> None:
    """A table of eight columns; an enumeration, a pattern, a range and a column that must not be null."""
    columns = [
        ColumnFacts("id", INT4, nullable=False),
        ColumnFacts("status", TEXT, nullable=True),
        ColumnFacts("code", TEXT, nullable=True),
        ColumnFacts("quantity", INT4, nullable=True),
        *(ColumnFacts(f"note{n}", TEXT, nullable=True) for n in range(4)),
    ]
    schema = {
        "properties": {
            "status": {"enum": ["new", "paid", "sent"]},
            "code": {"type": ["string", "null"], "pattern": "^[A-Z]{3}-[0-9]+$"},
            "quantity": {"type": "integer", "minimum": 0, "maximum": 10_000},
            "note0": {"type": "string"},
        },
        "required": ["id", "status", "quantity"],
    }
    gate = compile_gate(schema, columns)
    row = {"id": 17, "status": "paid", "code": "ABC-12345", "quantity": 42} | {
        f"note{n}": "some text" for n in range(4)
    }
    after = encoded(row)
    checks = [(check, encoded(row[name])) for name, check in gate.columns.items()]

    def checked() -> bool:
        return all(check(raw) for check, raw in checks)

    assert len(checks) == 4
    assert checked()
    assert min(timeit.repeat(checked, number=2000, repeat=7)) < min(
        timeit.repeat(lambda: json.loads(after), number=2000, repeat=7)
    )
