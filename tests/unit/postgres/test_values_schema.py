"""The schema of each type: what it accepts, what it refuses, and that every validator agrees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from jsonschema import Draft202012Validator

from liberator.postgres.model import PgType
from liberator.postgres.values import TypeOptions, schema

DEFAULT = TypeOptions()
INT8_MAX = 2**63 - 1


def base(name: str, schema: str = "pg_catalog") -> PgType:
    return PgType(1, schema, name)


def array(element: PgType) -> PgType:
    return PgType(2, element.schema, f"_{element.name}", "array", element=element)


def range_of(subtype: PgType) -> PgType:
    return PgType(3, "public", "some_range", "range", element=subtype)


INT4, TEXT = base("int4"), base("text")
MULTIRANGE = PgType(4, "public", "some_multirange", "multirange", element=range_of(INT4))
PAIR = PgType(5, "public", "pair", "composite", attributes=(("a", INT4, -1), ("b", base("varchar"), 7)))
MOOD = PgType(6, "public", "mood", "enum", labels=("sad", "ok"))
PRICE = PgType(7, "public", "price", "domain", element=base("numeric"), typmod=(10 << 16 | 2) + 4)
LOW_PRICE = PgType(8, "shop", "low price", "domain", element=PRICE)


@pytest.mark.parametrize(
    ("type", "typmod", "accepted", "refused"),
    [
        (base("bool"), -1, [True], ["t", 1, None]),
        (base("int2"), -1, [-32768, 32767], [32768, -32769, 1.5, "1", None]),
        (INT4, -1, [-(2**31), 2**31 - 1], [2**31]),
        (base("int8"), -1, [-INT8_MAX - 1, INT8_MAX], [INT8_MAX + 1]),
        (base("oid"), -1, [0, 2**32 - 1], [-1, 2**32]),
        (base("xid8"), -1, ["18446744073709551615"], ["", "-1", 1, "1\n"]),
        (base("float8"), -1, [1.5, -0.0, 1, "NaN", "Infinity", "-Infinity"], ["nan", "1.5", None]),
        (base("numeric"), -1, ["1.10", "-5", "NaN", "-Infinity"], ["1e5", "+1", ".5", "5.", "1.1\n", "१", 1.1]),
        (base("money"), -1, ["-92233720368547758.08"], ["1", "1.5", "$1.50"]),
        (TEXT, -1, ["", "a\n"], [None, 1]),
        (base("varchar"), 7, ["日本😀"], ["日本😀x"]),
        (base("bpchar"), 7, ["ab "], ["ab  "]),
        (base("char"), -1, ["", "\\200"], ["abcde"]),
        (base("bytea"), -1, ["", "AP9c", "AA=="], ["A===", "A b", "AP9c\n"]),
        (base("date"), -1, ["2024-02-29", "0044-03-15 BC", "infinity"], ["24-1-1", "2024-02-29\n", "Infinity"]),
        (base("time"), -1, ["24:00:00", "23:59:59.999999"], ["24:00:01", "12:60:00", "12:00", "24:00:00\n"]),
        (base("timetz"), -1, ["13:51:30.1+02:00", "24:00:00-15:59:59"], ["13:51:30", "13:51:30+02"]),
        (base("timestamp"), -1, ["2024-01-02T03:04:05", "4713-01-01T00:00:00 BC", "-infinity"],
         ["2024-01-02 03:04:05", "2024-01-02T03:04:05Z", "2024-01-02T24:00:00"]),
        (base("timestamptz"), -1, ["2024-01-02T03:04:05.5Z", "0044-02-01T11:12:13Z BC"],
         ["2024-01-02T03:04:05", "2024-01-02T03:04:05Z\n"]),
        (base("interval"), -1, ["PT0S", "P1Y2M-3DT4H5M6.78S", "P1D", "PT-0.5S", "P1YT1S", "P1M1D", "infinity"],
         ["P", "PT", "P1DT", "P1D1M", "PT1S1H", "P1.5D", "PT0S\n"]),
        (base("uuid"), -1, ["6ecd8c99-4036-403d-bf84-cf8400f67836"], ["6ECD8C99-4036-403d-bf84-cf8400f67836"]),
        (base("json"), -1, ["{}"], [{}]),
        (base("inet"), -1, ["10.0.0.1", "::ffff:1.2.3.4", "fe80::1/64"], ["host", "10.0.0.1/"]),
        (base("cidr"), -1, ["10.0.0.1/32"], ["10.0.0.1"]),
        (base("macaddr"), -1, ["08:00:2b:01:02:03"], ["08:00:2b:01:02:03:04:05"]),
        (base("macaddr8"), -1, ["08:00:2b:01:02:03:04:05"], ["08:00:2b:01:02:03"]),
        (base("bit"), 3, ["101"], ["10", "1010", "10\n", "102"]),
        (base("varbit"), 3, ["", "101"], ["1010"]),
        (base("pg_lsn"), -1, ["16/B374D848"], ["16/b374d848"]),
        (base("point"), -1, [{"x": 1, "y": "NaN"}], [{"x": 1}, {"x": 1, "y": 2, "z": 3}, {"x": "1", "y": 2}]),
        (base("int2vector"), -1, [[], [1, -2]], [[None], [40000]]),
        (base("tsvector"), -1, ["'a':1"], [[]]),
        (base("hstore", "public"), -1, [{}, {"a": "1", "b": None}], [{"a": 1}]),
        (base("geometry", "gis"), -1, [{"srid": None, "wkb": "AQEA"}], ["0101", {"srid": 1}]),
        (base("vector", "public"), 2, [[1, 2.5]], [[1], [1, "NaN"], [1, 2, 3]]),
        (base("sparsevec", "public"), 5, [{"dimensions": 5, "vector": {"1": 1}}], [{"dimensions": 4, "vector": {}}]),
        (array(INT4), -1, [[], [1, None], [[1], [2]], [[[None]]]], [1, ["1"], [[["1"]]], {"a": 1}]),
        (array(base("varchar")), 7, [["abc"]], [["abcd"]]),
        (array(PAIR), -1, [[{"a": 1, "b": None}, None]], [[{"a": "1"}]]),
        (range_of(INT4), -1, [{"empty": True}, {"empty": False, "lower": 1, "upper": None, "lower_inc": True,
         "upper_inc": False}], [{}, {"empty": False, "lower": "1"}, "empty"]),
        (MULTIRANGE, -1, [[], [{"empty": False, "lower": 1}]], [{"empty": True}]),
        (PAIR, -1, [{"a": None, "b": "abc"}, {"a": 1, "b": None, "newer": 1}], [{"b": "abcd"}, "(1,)"]),
        (MOOD, -1, ["sad", "a label of tomorrow"], [1]),
        (PRICE, -1, ["1.10"], [1.1]),
    ],
    ids=lambda part: part.name if isinstance(part, PgType) else None,
)  # fmt: skip
def test_every_validator_agrees_on_a_type(
    type: PgType, typmod: int, accepted: list[Any], refused: list[Any]
) -> None:
    for is_valid in validators(type, typmod):
        assert [value for value in accepted if not is_valid(value)] == []
        assert [value for value in refused if is_valid(value)] == []


def test_embedded_json_may_be_anything() -> None:
    for name in ("json", "jsonb"):
        for is_valid in validators(base(name), -1, TypeOptions(json="embed")):
            assert all(map(is_valid, [None, 1, "a", {"a": [None]}]))


def test_int64_as_string_is_a_string_of_digits() -> None:
    for is_valid in validators(base("int8"), -1, TypeOptions(int64="string")):
        assert is_valid("-9223372036854775808")
        assert not is_valid(1)


def test_array_bounds_as_text_allow_that_text_and_no_other() -> None:
    for is_valid in validators(array(TEXT), -1, TypeOptions(array_bounds="text")):
        assert is_valid('[0:1]={"a\n",b}')
        assert is_valid(["a"])
        assert not is_valid("{a,b}")
        assert not is_valid("a")


@pytest.mark.parametrize(
    ("type", "typmod", "notes"),
    [
        (INT4, -1, {"x-pg-type": "int4"}),
        (base("varchar"), 24, {"x-pg-type": "varchar(20)"}),
        (array(base("numeric")), (10 << 16 | 2) + 4, {"x-pg-type": "numeric(10,2)[]"}),
        (MOOD, -1, {"x-pg-type": "public.mood", "x-pg-enum": ["sad", "ok"]}),
        (PRICE, -1, {"x-pg-type": "numeric(10,2)", "x-pg-domain": "public.price"}),
        (LOW_PRICE, -1, {"x-pg-type": "numeric(10,2)", "x-pg-domain": 'shop."low price"'}),
        (base("uuid"), -1, {"x-pg-type": "uuid", "format": "uuid"}),
        (base("jsonb"), -1, {"x-pg-type": "jsonb", "contentMediaType": "application/json"}),
        (base("bytea"), -1, {"x-pg-type": "bytea", "contentEncoding": "base64"}),
        (PgType(99, "", "unknown"), -1, {"x-pg-type": "unknown"}),
    ],
)
def test_a_schema_tells_where_a_value_came_from(type: PgType, typmod: int, notes: dict[str, Any]) -> None:
    fragment, _ = schema(type, typmod, DEFAULT)
    assert {key: value for key, value in fragment.items() if key in notes} == notes


def test_definitions_of_different_types_have_different_plain_names() -> None:
    elements = [
        (base("numeric"), (10 << 16 | 2) + 4),
        (base("numeric"), (10 << 16 | 0x7FE) + 4),
        (base("numeric"), -1),
        (base("char"), -1),
        (PgType(9, "a", "b_c", "enum"), -1),
        (PgType(9, "a", "b c", "enum"), -1),
        (PgType(9, "a", "b-c", "enum"), -1),
        (PgType(9, "a", "日本", "enum"), -1),
    ]
    names = [name for element, typmod in elements for name in schema(array(element), typmod, DEFAULT)[1]]
    assert len(set(names)) == len(elements)
    assert all(re.fullmatch("[A-Za-z0-9_.-]+", name) for name in names)


def test_definitions_of_nested_types_are_all_given() -> None:
    inner = PgType(5, "public", "inner", "composite", attributes=(("list", array(TEXT), -1),))
    outer = PgType(
        5, "public", "outer", "composite", attributes=(("a", array(inner), -1), ("b", array(INT4), -1))
    )
    _, definitions = schema(outer, -1, DEFAULT)
    assert set(definitions) == {"array_of_text", "array_of_public.inner", "array_of_int4"}


@pytest.mark.parametrize("options", [DEFAULT, TypeOptions("string", "embed", "text", "trim")])
def test_patterns_use_only_what_every_engine_reads_alike(options: TypeOptions) -> None:
    names = "xid8 int8 numeric money bytea date time timetz timestamp timestamptz interval uuid inet cidr macaddr pg_lsn bit"
    for name in names.split():
        for pattern in patterns(schema(array(base(name)), -1, options)):
            assert not re.search(r"\\[dDwWsSbBAzZ]|\(\?[^:]|[*+?}][+]", pattern), pattern
            assert pattern.isascii()


def patterns(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            yield node["pattern"]
        for child in node.values():
            yield from patterns(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from patterns(child)


def validators(type: PgType, typmod: int, options: TypeOptions = DEFAULT) -> list[Any]:
    fragment, definitions = schema(type, typmod, options)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"column": fragment},
        "$defs": definitions,
    }
    Draft202012Validator.check_schema(document)
    checks = [
        Draft202012Validator(document).is_valid,
        jsonschema_rs.Draft202012Validator(document, pattern_options=jsonschema_rs.RegexOptions()).is_valid,
        jsonschema_rs.Draft202012Validator(
            document, pattern_options=jsonschema_rs.FancyRegexOptions()
        ).is_valid,
    ]
    return [lambda value, check=check: check({"column": value}) for check in checks]
