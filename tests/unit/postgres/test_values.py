"""What each type's text becomes: the examples of docs/reference/types.md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liberator.postgres.model import PgType
from liberator.postgres.values import ConversionError, TypeOptions, converter, verbatim

DEFAULT = TypeOptions()


def base(name: str, schema: str = "pg_catalog", delimiter: str = ",") -> PgType:
    return PgType(1, schema, name, delimiter=delimiter)


def array(element: PgType) -> PgType:
    return PgType(2, element.schema, f"_{element.name}", "array", element=element)


def range_of(subtype: PgType) -> PgType:
    return PgType(3, "public", "some_range", "range", element=subtype)


def multirange_of(subtype: PgType) -> PgType:
    return PgType(4, "public", "some_multirange", "multirange", element=range_of(subtype))


def composite(**attributes: PgType) -> PgType:
    parts = tuple((name, part, -1) for name, part in attributes.items())
    return PgType(5, "public", "some_composite", "composite", attributes=parts)


def domain(element: PgType, name: str = "some_domain", typmod: int = -1) -> PgType:
    return PgType(6, "public", name, "domain", element=element, typmod=typmod)


INT4, TEXT, JSONB = base("int4"), base("text"), base("jsonb")


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        ("bool", "t", "true"),
        ("bool", "f", "false"),
        ("int2", "-32768", "-32768"),
        ("int4", "2147483647", "2147483647"),
        ("int8", "-9223372036854775808", "-9223372036854775808"),
        ("oid", "4294967295", "4294967295"),
        ("xid", "3", "3"),
        ("cid", "0", "0"),
        ("xid8", "18446744073709551615", '"18446744073709551615"'),
        ("float4", "0.1", "0.1"),
        ("float8", "1e+22", "1e+22"),
        ("float8", "1e-07", "1e-07"),
        ("float8", "NaN", '"NaN"'),
        ("float8", "Infinity", '"Infinity"'),
        ("float8", "-Infinity", '"-Infinity"'),
        ("numeric", "1.10", '"1.10"'),
        ("numeric", "-0.5", '"-0.5"'),
        ("numeric", "12300", '"12300"'),
        ("numeric", "NaN", '"NaN"'),
        ("numeric", "-Infinity", '"-Infinity"'),
        ("money", "-$92,233,720,368,547,758.08", '"-92233720368547758.08"'),
        ("money", "$0.10", '"0.10"'),
        ("text", 'a"b\\c\n\t\x01é日本😀', '"a\\"b\\\\c\\n\\t\\u0001é日本😀"'),
        ("varchar", "", '""'),
        ("name", "pg_class", '"pg_class"'),
        ("bpchar", "ab   ", '"ab   "'),
        ("char", "x", '"x"'),
        ("char", "\\200", '"\\\\200"'),
        ("char", "", '""'),
        ("bytea", "\\x00ff5c", '"AP9c"'),
        ("bytea", "\\x", '""'),
        ("date", "2024-02-29", '"2024-02-29"'),
        ("date", "0044-03-15 BC", '"0044-03-15 BC"'),
        ("date", "5874897-12-31", '"5874897-12-31"'),
        ("date", "infinity", '"infinity"'),
        ("time", "24:00:00", '"24:00:00"'),
        ("time", "13:51:30.12", '"13:51:30.12"'),
        ("timetz", "13:51:30.123789+02", '"13:51:30.123789+02:00"'),
        ("timetz", "13:51:30-05:30", '"13:51:30-05:30"'),
        ("timetz", "24:00:00-15:59:59", '"24:00:00-15:59:59"'),
        ("timestamp", "2024-01-02 03:04:05.000001", '"2024-01-02T03:04:05.000001"'),
        ("timestamp", "2024-01-02 03:04:05", '"2024-01-02T03:04:05"'),
        ("timestamp", "4713-01-01 00:00:00 BC", '"4713-01-01T00:00:00 BC"'),
        ("timestamp", "294276-12-31 23:59:59.999999", '"294276-12-31T23:59:59.999999"'),
        ("timestamp", "-infinity", '"-infinity"'),
        ("timestamptz", "2024-03-31 00:30:00+00", '"2024-03-31T00:30:00Z"'),
        ("timestamptz", "2024-03-31 00:30:00.5+00", '"2024-03-31T00:30:00.5Z"'),
        ("timestamptz", "0044-02-01 11:12:13+00 BC", '"0044-02-01T11:12:13Z BC"'),
        ("timestamptz", "infinity", '"infinity"'),
        ("interval", "P1Y2M-3DT4H5M6.78S", '"P1Y2M-3DT4H5M6.78S"'),
        ("interval", "PT0S", '"PT0S"'),
        ("interval", "-infinity", '"-infinity"'),
        ("uuid", "6ecd8c99-4036-403d-bf84-cf8400f67836", '"6ecd8c99-4036-403d-bf84-cf8400f67836"'),
        ("json", '{"a": 1.10, "a": 2}', '"{\\"a\\": 1.10, \\"a\\": 2}"'),
        ("jsonb", "[1, 2]", '"[1, 2]"'),
        ("xml", "<a>b</a>", '"<a>b</a>"'),
        ("tsvector", "'a':1", "\"'a':1\""),
        ("inet", "192.168.2.0/12", '"192.168.2.0/12"'),
        ("inet", "::ffff:1.2.3.4", '"::ffff:1.2.3.4"'),
        ("cidr", "10.0.0.1/32", '"10.0.0.1/32"'),
        ("macaddr", "08:00:2b:01:02:03", '"08:00:2b:01:02:03"'),
        ("macaddr8", "08:00:2b:01:02:03:04:05", '"08:00:2b:01:02:03:04:05"'),
        ("bit", "101", '"101"'),
        ("varbit", "", '""'),
        ("point", "(1,NaN)", '{"x":1,"y":"NaN"}'),
        ("box", "(1,1),(0,0)", '"(1,1),(0,0)"'),
        ("pg_lsn", "16/B374D848", '"16/B374D848"'),
        ("int2vector", "1 -2", "[1,-2]"),
        ("oidvector", "", "[]"),
        ("something_new", "as it is", '"as it is"'),
    ],
)
def test_a_built_in_type_becomes_its_json(type: str, text: str, value: str) -> None:
    assert made(base(type), text) == value


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        ("hstore", '"a"=>"1", "b"=>NULL', {"a": "1", "b": None}),
        ("hstore", '"\\"q\\\\"=>"NULL", ""=>""', {'"q\\': "NULL", "": ""}),
        ("hstore", "", {}),
        ("vector", "[1,2.5,-0]", [1, 2.5, -0.0]),
        ("halfvec", "[65504]", [65504]),
        ("sparsevec", "{1:1.5,3:2}/5", {"dimensions": 5, "vector": {"1": 1.5, "3": 2}}),
        ("sparsevec", "{}/5", {"dimensions": 5, "vector": {}}),
        # SELECT 'SRID=4326;POINT(1 2)'::geometry, 'POINT Z (1 2 3)'::geometry
        (
            "geometry",
            "0101000020E6100000000000000000F03F0000000000000040",
            {"srid": 4326, "wkb": "AQEAAAAAAAAAAADwPwAAAAAAAABA"},
        ),
        (
            "geography",
            "0101000080000000000000F03F00000000000000400000000000000840",
            {"srid": None, "wkb": "AQEAAIAAAAAAAADwPwAAAAAAAABAAAAAAAAACEA="},
        ),
        ("citext", "As Is", "As Is"),
        ("ltree", "a.b", "a.b"),
        ("isbn", "978-0-393-04002-9", "978-0-393-04002-9"),
        ("cube", "(1, 2),(3, 4)", "(1, 2),(3, 4)"),
    ],
)
def test_a_type_of_an_extension_becomes_its_json(type: str, text: str, value: Any) -> None:
    assert json.loads(made(base(type, schema="extensions"), text)) == value


def test_a_big_endian_geometry_keeps_its_byte_order() -> None:
    hexadecimal = "0020000001000010E63FF00000000000004000000000000000"
    assert (
        made(base("geometry", "public"), hexadecimal) == '{"srid":4326,"wkb":"AAAAAAE/8AAAAAAAAEAAAAAAAAAA"}'
    )


@pytest.mark.parametrize("number", ["-0", "(-0,-0)", "[-0,1,-0]"])
def test_the_sign_of_zero_survives_readers_that_take_it_for_an_integer(number: str) -> None:
    type = {"-": base("float8"), "(": base("point"), "[": base("vector", "public")}[number[0]]
    assert made(type, number).count("-0.0") == number.count("-0")


@pytest.mark.parametrize(
    ("element", "text", "value"),
    [
        (INT4, "{1,NULL,3}", [1, None, 3]),
        (INT4, "{{1,2},{3,4}}", [[1, 2], [3, 4]]),
        (INT4, "{}", []),
        (TEXT, '{"NULL",NULL,"","a,b"}', ["NULL", None, "", "a,b"]),
        (TEXT, "{{a,NULL},{c,d}}", [["a", None], ["c", "d"]]),
        (TEXT, '{"x\\\\\\"y","{","}","\\"\\\\"}', ['x\\"y', "{", "}", '"\\']),
        (base("bool"), "{t,f,NULL}", [True, False, None]),
        (base("box", delimiter=";"), "{(1,1),(0,0);(2,2),(1,1)}", ["(1,1),(0,0)", "(2,2),(1,1)"]),
        (base("box", delimiter=";"), "{{(1,1),(0,0);NULL}}", [["(1,1),(0,0)", None]]),
        (base("float8"), "{-0,NaN}", [-0.0, "NaN"]),
        (base("bytea"), '{"\\\\x00","\\\\x"}', ["AA==", ""]),
        (base("int2vector"), '{"1 2","3"}', [[1, 2], [3]]),
        (PgType(9, "public", "mood", "enum", labels=("so so", "sad")), '{"so so",sad,new}', ["so so", "sad", "new"]),
        (domain(INT4), "{1}", [1]),
        (composite(a=INT4, b=TEXT), '{"(1,\\"x y\\")",NULL,"(,)"}', [{"a": 1, "b": "x y"}, None, {"a": None, "b": None}]),
    ],
)  # fmt: skip
def test_an_array_becomes_a_nested_array(element: PgType, text: str, value: Any) -> None:
    assert json.loads(made(array(element), text)) == value


@pytest.mark.parametrize("element", [INT4, base("numeric")])
@pytest.mark.parametrize(
    ("text", "dropped"), [("[0:1]={7,8}", [7, 8]), ("[-1:0][2:3]={{1,2},{3,4}}", [[1, 2], [3, 4]])]
)
def test_other_lower_bounds_follow_the_policy(element: PgType, text: str, dropped: Any) -> None:
    type = array(element)
    if element.name == "numeric":
        dropped = json.loads(json.dumps(dropped), parse_int=str)
    assert json.loads(made(type, text)) == dropped
    assert json.loads(made(type, text, TypeOptions(array_bounds="text"))) == text
    with pytest.raises(ConversionError, match="array_bounds"):
        made(type, text, TypeOptions(array_bounds="fail"))


@pytest.mark.parametrize("bounds", ["drop", "fail", "text"])
def test_usual_arrays_do_not_mind_the_policy(bounds: Any) -> None:
    assert made(array(TEXT), '{"a b"}', TypeOptions(array_bounds=bounds)) == '["a b"]'


@pytest.mark.parametrize(
    ("subtype", "text", "value"),
    [
        (INT4, "[2,6)", {"empty": False, "lower": 2, "upper": 6, "lower_inc": True, "upper_inc": False}),
        (INT4, "empty", {"empty": True}),
        (INT4, "(,5]", {"empty": False, "lower": None, "upper": 5, "lower_inc": False, "upper_inc": True}),
        (
            base("timestamp"),
            '["2019-03-31 15:30:00",infinity)',
            {
                "empty": False,
                "lower": "2019-03-31T15:30:00",
                "upper": "infinity",
                "lower_inc": True,
                "upper_inc": False,
            },
        ),
        (
            TEXT,
            '["","a""b\\\\c,)"]',
            {"empty": False, "lower": "", "upper": 'a"b\\c,)', "lower_inc": True, "upper_inc": True},
        ),
    ],
)
def test_a_range_becomes_an_object(subtype: PgType, text: str, value: Any) -> None:
    assert json.loads(made(range_of(subtype), text)) == value


def test_a_multirange_becomes_an_array_of_ranges() -> None:
    ranges = json.loads(made(multirange_of(TEXT), '{[a,"b,["),("c""}",)}'))
    assert [(r["lower"], r["upper"]) for r in ranges] == [("a", "b,["), ('c"}', None)]
    assert made(multirange_of(INT4), "{}") == "[]"


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        (composite(a=INT4, b=TEXT, c=TEXT), '(1,"a,""b",)', {"a": 1, "b": 'a,"b', "c": None}),
        (composite(a=TEXT, b=TEXT), '("",[x])', {"a": "", "b": "[x]"}),
        (composite(a=TEXT), "()", {"a": None}),
        (composite(), "()", {}),
        (composite(**{'k"é': TEXT}), '("\\\\""")', {'k"é': '\\"'}),
        (composite(a=composite(b=array(TEXT))), '("(""{""""x y"""",NULL}"")")', {"a": {"b": ["x y", None]}}),
    ],
)
def test_a_composite_becomes_an_object_by_attribute(type: PgType, text: str, value: Any) -> None:
    assert json.loads(made(type, text)) == value


@pytest.mark.parametrize("part", [INT4, array(INT4), base("json")], ids=["int4", "int4[]", "json"])
def test_a_composite_of_other_attributes_than_expected_is_refused(part: PgType) -> None:
    with pytest.raises(ConversionError):
        converter(composite(a=part), -1, TypeOptions(json="embed"))(b"({x})")


def test_a_domain_is_as_its_base_type() -> None:
    assert made(domain(domain(base("timestamp"))), "2024-01-02 03:04:05") == '"2024-01-02T03:04:05"'
    assert made(domain(array(INT4)), "{1,2}") == "[1,2]"


def test_a_label_that_is_newer_than_the_type_is_text() -> None:
    mood = PgType(9, "public", "mood", "enum", labels=("sad",))
    assert made(mood, "sad") == '"sad"'
    assert made(mood, 'in"sane') == '"in\\"sane"'


@pytest.mark.parametrize("type", ["int2", "int4", "int8", "oid", "xid", "cid"])
def test_integers_need_no_call(type: str) -> None:
    assert converter(base(type), -1, DEFAULT) is verbatim
    assert converter(domain(base(type)), -1, DEFAULT) is verbatim


def test_int64_as_string() -> None:
    options = TypeOptions(int64="string")
    assert made(base("int8"), "-9007199254740993", options) == '"-9007199254740993"'
    assert made(array(base("int8")), "{1,NULL}", options) == '["1",null]'
    assert made(base("int4"), "1", options) == "1"


def test_json_embedded() -> None:
    options = TypeOptions(json="embed")
    assert made(base("json"), '{"a":\r\n 1.10}', options) == '{"a":   1.10}'
    assert made(JSONB, '{"a": 1.10, "é": null}', options) == '{"a": 1.10, "é": null}'
    for name in ("json", "jsonb"):
        with pytest.raises(ConversionError, match="UTF-8"):
            converter(base(name), -1, options)(b'"\xe9"')
    assert made(array(JSONB), '{"{\\"a\\": 1}",NULL,"null",2}', options) == '[{"a": 1},null,null,2]'


def test_char_trimmed() -> None:
    assert made(base("bpchar"), "ab   ", TypeOptions(char="trim")) == '"ab"'
    assert made(base("varchar"), "ab   ", TypeOptions(char="trim")) == '"ab   "'


def test_an_older_server_sends_one_raw_byte_for_char() -> None:
    assert converter(base("char"), -1, DEFAULT)(b"\x80") == b'"\\\\200"'


@pytest.mark.parametrize("sign", ["a", '"', "é", "☃", "😀"])
def test_a_long_text_is_the_same_as_its_pieces(sign: str) -> None:
    text = "x" + sign * 1_500_000
    assert json.loads(made(TEXT, text)) == text


@pytest.mark.parametrize(
    ("type", "text"),
    [
        (base("bool"), b"true"),
        (base("float8"), b"inf"),
        (base("float8"), b"1_0"),
        (base("float8"), b"00"),
        (base("oidvector"), b"01"),
        (base("numeric"), b"1e5"),
        (base("money"), b"EUR 1.00"),
        (base("xid8"), b"-1"),
        (TEXT, b"\xff"),
        (TEXT, b"\xed\xa0\x80"),
        (TEXT, b"x" * (1 << 20) + b"\x80\x80\x80\x80\x80"),
        (base("bytea"), b"\\000\\377"),
        (base("bytea"), b"\\x0"),
        (base("date"), b"01.02.2024"),
        (base("time"), b"04:05 PM"),
        (base("timestamp"), b"Tue Jan 02 03:04:05 2024"),
        (base("timestamptz"), b"2024-07-01 02:00:00+02"),
        (base("timestamptz"), b"2024-07-01 02:00:00"),
        (base("timetz"), b"13:00:00"),
        (base("interval"), b"1 day"),
        (base("interval"), b"P"),
        (base("interval"), b"P1DT"),
        (base("uuid"), b"6ECD8C99-4036-403d-bf84-cf8400f67836"),
        (base("inet"), b"host"),
        (base("bit"), b"102"),
        (base("point"), b"1,2"),
        (base("int2vector"), b"1  2"),
        (base("pg_lsn"), b"0-0"),
        (base("hstore", "public"), b'"a"=>1'),
        (base("hstore", "public"), b'"a"=>"1""b"=>"2"'),
        (base("hstore", "public"), b'"a"=>"1", '),
        (base("geometry", "public"), b"POINT(1 2)"),
        (base("geometry", "public"), b"01"),
        (base("geometry", "public"), b"0101000020E610"),
        (base("geometry", "public"), b"0501000000"),
        (base("vector", "public"), b"{1,2}"),
        (base("sparsevec", "public"), b"{1}/2"),
        (array(TEXT), b""),
        (array(TEXT), b"{"),
        (array(TEXT), b"{a"),
        (array(TEXT), b"{a}}"),
        (array(TEXT), b"{a},"),
        (array(TEXT), b"{a}{b}"),
        (array(TEXT), b"{a,}"),
        (array(TEXT), b"{,a}"),
        (array(TEXT), b'{"a",}'),
        (array(TEXT), b'{"a"b}'),
        (array(TEXT), b'{"a'),
        (array(TEXT), b"{a\\b}"),
        (array(TEXT), b"[0:1]"),
        (array(TEXT), b"[0:1]=a"),
        (range_of(INT4), b"[1,2"),
        (range_of(INT4), b"[1,2)x"),
        (range_of(INT4), b"{1,2)"),
        (range_of(INT4), b"[1)"),
        (multirange_of(INT4), b"{[1,2)"),
        (multirange_of(INT4), b"[1,2)"),
        (multirange_of(INT4), b"{[1,2)}}"),
        (composite(a=INT4), b"1"),
        (composite(a=INT4), b"(1,2)"),
        (composite(a=INT4, b=INT4), b"(1)"),
        (composite(a=INT4), b"(1)x"),
        (composite(a=TEXT), b'("x)'),
        (composite(), b"(1)"),
    ],
)
def test_text_that_the_server_does_not_write_is_refused_without_showing_it(type: PgType, text: bytes) -> None:
    with pytest.raises(ConversionError) as caught:
        converter(type, -1, DEFAULT)(text)
    assert len(text) < 3 or text.decode(errors="replace") not in str(caught.value)


def made(type: PgType, text: str, options: TypeOptions = DEFAULT) -> str:
    return converter(type, -1, options)(text.encode()).decode()
