"""Every type, with PostgreSQL as the oracle.

PostgreSQL renders a random value in the pinned session; the converter makes JSON of it; every validator accepts the
JSON under the type's schema; the documented way back makes text of the JSON; PostgreSQL reads that text; the binary
images of both values are equal. Where liberator-native is installed, its converter makes the same JSON.
LIBERATOR_TYPE_VALUES and LIBERATOR_TYPE_SEED set how many values, and other ones.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import jsonschema_rs
import psycopg
import pytest
from jsonschema import Draft202012Validator

from liberator.postgres.model import PgType
from liberator.postgres.session import connect
from liberator.postgres.types import load_types
from liberator.postgres.values import TypeOptions, converter, described, schema
from liberator.testing.servers import Postgres
from tests.integration.postgres.random_values import (
    Generate,
    Random,
    arrays,
    bits,
    cents,
    coordinates,
    dates,
    digits,
    documents,
    floats,
    hexadecimal,
    hstores,
    integers,
    intervals,
    lists,
    markup,
    mixed,
    moments,
    multiranges,
    networks,
    octets,
    one_of,
    ranges,
    records,
    short,
    times,
    vectors,
    words,
    zoned_times,
)
from tests.integration.postgres.way_back import doubled, way_back

COUNT = int(os.environ.get("LIBERATOR_TYPE_VALUES", "300"))
SEED = os.environ.get("LIBERATOR_TYPE_SEED", "0")

SETUP = """
CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION ltree SCHEMA public; CREATE EXTENSION citext SCHEMA public;
CREATE EXTENSION cube SCHEMA public; CREATE EXTENSION seg SCHEMA public; CREATE EXTENSION isn SCHEMA public;
CREATE TYPE public.mood AS ENUM ('sad', 'so so', 'NULL', 'a,b', 'qu"ote', 'back\\slash', 'ünï☃', '(x)', '{y}');
CREATE DOMAIN public.price AS numeric(10,2) CHECK (VALUE > -1000000);
CREATE DOMAIN public.low_price AS public.price CHECK (VALUE < 1000000);
CREATE DOMAIN public.label AS varchar(12);
CREATE DOMAIN public.numbers AS int4[];
CREATE TYPE public.one AS (a text);
CREATE TYPE public.pair AS (a int4, b text, "c ""d" float8);
CREATE TYPE public.nested AS (
    id int8, pairs public.pair[], inside public.pair, tags text[], mood public.mood, price public.low_price,
    years int4range, attributes public.hstore, document jsonb, boxes box[], at timestamptz(3), codes "char"[],
    gone int4, label public.label, one public.one, spans datemultirange);
ALTER TYPE public.nested DROP ATTRIBUTE gone;
CREATE DOMAIN public.known_pair AS public.pair;
CREATE TYPE public.text_range AS RANGE (subtype = text, collation = "C");
CREATE TYPE public.pair_range AS RANGE (subtype = public.pair);
CREATE TYPE public.mood_range AS RANGE (subtype = public.mood);
CREATE TYPE public.float_range AS RANGE (subtype = float8);
CREATE TABLE public.wide_row (id int8 PRIMARY KEY, note varchar(30), moods public.mood[]);
"""


@dataclass(frozen=True)
class Case:
    """A type as SQL names it. note: tells it from another case of the same type."""

    sql: str
    generate: Generate
    options: TypeOptions = field(default_factory=TypeOptions)
    note: str = ""


INT2, INT4, INT8 = integers(-(2**15), 2**15 - 1), integers(-(2**31), 2**31 - 1), integers(-(2**63), 2**63 - 1)
BOUND = integers(-(2**31), 2**31 - 2)
UNSIGNED = integers(0, 2**32 - 1)
FLOAT = mixed(
    floats, "NaN", "Infinity", "-Infinity", "-0", "0", "1e22", "1e-05", "0.1", "1e15", "123456789012345"
)
PAIR = records(INT4, words, FLOAT)
PRICE = cents(-99999999, 99999999)
MOOD = one_of("sad", "so so", "NULL", "a,b", 'qu"ote', "back\\slash", "ünï☃", "(x)", "{y}")
YEAR_DATE: Generate = lambda r: f"{r.randint(1000, 9999)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}"  # noqa: E731
YEAR_MOMENT: Generate = lambda r: f"{YEAR_DATE(r)} {times(r)}"  # noqa: E731
DATE_RANGE = ranges(YEAR_DATE, str)
BOX = coordinates(4, "({},{}),({},{})")
NESTED = records(
    INT8, arrays(PAIR), PAIR, arrays(words), MOOD, PRICE, ranges(BOUND, Decimal), hstores, documents, arrays(BOX, ";"),
    moments("+00"), arrays(one_of("a", "\\200", "", '"')), short(12), records(words), multiranges(DATE_RANGE),
)  # fmt: skip
WIDE_OPTIONS = TypeOptions(int64="string")
TEXT_BOUNDS = TypeOptions(array_bounds="text")

CASES = [
    Case("bool", one_of("t", "f")),
    Case("int2", INT2),
    Case("int4", INT4),
    Case("int8", INT8),
    Case("int8", INT8, options=WIDE_OPTIONS, note="string"),
    Case("oid", UNSIGNED),
    Case("xid", UNSIGNED),
    Case("cid", UNSIGNED),
    Case("xid8", integers(0, 2**64 - 1)),
    Case("float4", FLOAT),
    Case("float8", FLOAT),
    Case("numeric", mixed(digits, "NaN", "Infinity", "-Infinity", "0.000", "1e300", "1e-300")),
    Case("numeric(10,2)", mixed(PRICE, "NaN")),
    Case("numeric(5,-2)", integers(-9999900, 9999900)),
    Case(
        "money", mixed(cents(-(2**40), 2**40), "-92233720368547758.08", "92233720368547758.07", "0", "-0.01")
    ),
    Case("text", words),
    Case("varchar", words),
    Case("varchar(20)", short(20)),
    Case("name", short(9)),
    Case("public.citext", words),
    Case("bpchar(10)", short(10)),
    Case("bpchar", words),
    Case("bpchar(10)", short(10), options=TypeOptions(char="trim"), note="trim"),
    Case('"char"', one_of("", "a", '"', "\\", " ", "\n", "\\200", "\\377", "\x7f")),
    Case("bytea", octets),
    Case("date", dates(5874897)),
    Case("time", mixed(times, "24:00:00", "00:00:00")),
    Case("time(3)", times),
    Case("timetz", zoned_times),
    Case("timestamp", moments("")),
    Case("timestamp(0)", moments("")),
    Case("timestamptz", moments("+00")),
    Case(
        "interval",
        mixed(intervals, "0", "-0.000001 s", "178956970 years 7 mons 2147483647 days", "1 year -1 day"),
    ),
    Case("interval day to second(3)", intervals),
    Case("uuid", hexadecimal(8, 4, 4, 4, 12, by="-")),
    Case("json", documents),
    Case("jsonb", documents),
    Case("public.hstore", hstores),
    Case("public.ltree", lists(hexadecimal(4, by=""), 0, 4, by=".")),
    Case("public.lquery", one_of("*.a", "a.*{1,2}.b", "!a.b|c*@%")),
    Case("public.cube", one_of("(1,2),(3,4)", "(0)", "(1.5,-2)", "(1e-30)")),
    Case("public.seg", one_of("1.50", "1 .. 2", "<5", "3 ..", "~7.0")),
    Case("public.isbn", one_of("978-0-393-04002-9", "0-7356-1967-0", "9780306406157")),
    Case("public.ean13", one_of("978-0-393-04002-9", "4006381333931")),
    Case("tsvector", lists(one_of("'a b':1A", "x:3,4", "'it''s'", "\\\\y"), 0, 4, by=" ")),
    Case("tsquery", one_of("a & b | !c", "'x y' <2> z:AB*", "")),
    Case("jsonpath", one_of("$.a[*] ? (@ > 1)", 'strict $."a b"')),
    Case("pg_snapshot", one_of("10:20:10,14,15", "1:1:")),
    Case("tid", one_of("(0,1)", "(4294967295,65535)")),
    Case("regclass", one_of("pg_catalog.pg_class", "public.wide_row")),
    Case("regtype", one_of("int4", "public.pair", "text[]")),
    Case("regprocedure", one_of("pg_catalog.lower(text)", "pg_catalog.now()")),
    Case("inet", networks(strict=False)),
    Case("cidr", networks(strict=True)),
    Case("macaddr", hexadecimal(2, 2, 2, 2, 2, 2, by=":")),
    Case("macaddr8", hexadecimal(2, 2, 2, 2, 2, 2, 2, 2, by=":")),
    Case("pg_lsn", hexadecimal(4, 8, by="/")),
    Case("bit(5)", bits(5, 5)),
    Case("varbit", bits(0, 100)),
    Case("varbit(9)", bits(0, 9)),
    Case("point", mixed(coordinates(2, "({},{})"), "(1,NaN)", "(-0,Infinity)")),
    Case("line", one_of("{1,2,3}", "{0.5,-1e-30,0}")),
    Case("lseg", coordinates(4, "[({},{}),({},{})]")),
    Case("box", BOX),
    Case("path", mixed(coordinates(4, "(({},{}),({},{}))"), "[(0,0),(1,1)]")),
    Case("polygon", coordinates(6, "(({},{}),({},{}),({},{}))")),
    Case("circle", lambda r: f"<({floats(r)},{floats(r)}),{abs(float(floats(r)))}>"),
    Case("int2vector", lists(INT2, 0, 5, by=" ")),
    Case("oidvector", lists(UNSIGNED, 0, 5, by=" ")),
    Case("int4[]", arrays(INT4)),
    Case("int8[]", arrays(INT8), options=WIDE_OPTIONS, note="string"),
    Case("text[]", arrays(words)),
    Case("varchar(20)[]", arrays(short(20))),
    Case("bool[]", arrays(one_of("t", "f"))),
    Case("float8[]", arrays(FLOAT)),
    Case("numeric[]", arrays(digits)),
    Case("bytea[]", arrays(octets)),
    Case("uuid[]", arrays(hexadecimal(32, by=""))),
    Case("timestamptz[]", arrays(moments("+00"))),
    Case("json[]", arrays(documents)),
    Case("jsonb[]", arrays(documents)),
    Case("box[]", arrays(BOX, by=";")),
    Case("point[]", arrays(coordinates(2, "({},{})"))),
    Case("interval[]", arrays(intervals)),
    Case("public.mood[]", arrays(MOOD)),
    Case("public.hstore[]", arrays(hstores)),
    Case("public.pair[]", arrays(PAIR)),
    Case("public.low_price[]", arrays(PRICE)),
    Case("int4range[]", arrays(ranges(BOUND, Decimal))),
    Case("int2vector[]", arrays(lists(INT2, 0, 3, by=" "), dimensions=1)),
    Case("public.numbers[]", arrays(arrays(INT4, dimensions=1), dimensions=1)),
    Case("int4multirange[]", arrays(multiranges(ranges(BOUND, Decimal)), dimensions=1)),
    Case("text[]", arrays(words, bounds=True), options=TEXT_BOUNDS, note="bounds"),
    Case("int4[]", arrays(INT4, bounds=True), options=TEXT_BOUNDS, note="bounds"),
    Case("public.pair[]", arrays(PAIR, bounds=True), options=TEXT_BOUNDS, note="bounds"),
    Case("int4range", ranges(BOUND, Decimal)),
    Case("int8range", ranges(integers(-(2**63), 2**63 - 2), int), options=WIDE_OPTIONS, note="string"),
    Case("numrange", ranges(mixed(digits, "Infinity", "-Infinity"), Decimal)),
    Case("daterange", DATE_RANGE),
    Case("tsrange", ranges(mixed(YEAR_MOMENT, "infinity"), str)),
    Case("tstzrange", ranges(mixed(YEAR_MOMENT, "infinity"), str)),
    Case("public.text_range", ranges(words, str.encode)),
    Case("public.pair_range", ranges(lambda r: f"({r.randrange(100):02d},{doubled(words(r))},)", str)),
    Case("public.mood_range", one_of("[sad,so so)", '["a,b","qu""ote"]', '["back\\\\slash",]', "empty")),
    Case("public.float_range", ranges(FLOAT, lambda text: (text == "NaN", float(text)))),
    Case("int4multirange", multiranges(ranges(BOUND, Decimal))),
    Case("datemultirange", multiranges(DATE_RANGE)),
    Case("tstzmultirange", multiranges(ranges(YEAR_MOMENT, str))),
    Case("public.text_multirange", multiranges(ranges(words, str.encode))),
    Case("public.mood", MOOD),
    Case("public.one", records(words)),
    Case("public.pair", PAIR),
    Case("public.nested", NESTED),
    Case("public.nested[]", arrays(NESTED, dimensions=2)),
    Case("public.known_pair", PAIR),
    Case("public.wide_row", records(INT8, short(30), arrays(MOOD))),
    Case("public.price", PRICE),
    Case("public.low_price", PRICE),
    Case("public.label", short(12)),
    Case("public.numbers", arrays(INT4)),
]

# Infinite intervals are new in 17, and the server's packages decide which extensions and libraries there are.
CASES_18 = [
    Case("interval", one_of("infinity", "-infinity", "1 s"), note="infinite"),
    Case("public.vector", vectors(mixed(floats, "-0"), 1, 20)),
    Case("public.vector(3)", vectors(floats, 3, 3)),
    Case("public.vector[]", arrays(vectors(floats, 1, 3), dimensions=1)),
    Case("public.halfvec", vectors(integers(-60000, 60000), 1, 20)),
    Case("public.sparsevec(9)", one_of("{1:1.5,3:2}/9", "{}/9", "{9:-1e-30}/9")),
]
CASES_15 = [Case("xml", markup)]


def named(case: Case) -> str:
    return f"{case.sql}-{case.note}" if case.note else case.sql


@pytest.fixture(scope="module")
def server18(postgres18: Postgres) -> Iterator[psycopg.Connection[Any]]:
    yield from furnished(postgres18, "CREATE EXTENSION vector SCHEMA public")


@pytest.fixture(scope="module")
def server15(postgres15: Postgres) -> Iterator[psycopg.Connection[Any]]:
    yield from furnished(postgres15, "")


@pytest.fixture(params=["server18", "server15"])
def server(request: pytest.FixtureRequest) -> psycopg.Connection[Any]:
    connection: psycopg.Connection[Any] = request.getfixturevalue(request.param)
    return connection


def furnished(postgres: Postgres, more: str) -> Iterator[psycopg.Connection[Any]]:
    """A pinned connection to a database that has all the types."""
    dsn = postgres.database()
    with connect(dsn) as connection:
        connection.execute((SETUP + more).encode())
        yield connection
    postgres.drop(dsn)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_value_comes_back_from_its_json(server: psycopg.Connection[Any], case: Case) -> None:
    prove(server, case)


@pytest.mark.parametrize("case", CASES_18, ids=named)
def test_every_value_of_a_new_type_comes_back_from_its_json(
    server18: psycopg.Connection[Any], case: Case
) -> None:
    prove(server18, case)


@pytest.mark.parametrize("case", CASES_15, ids=named)
def test_every_value_of_an_old_type_comes_back_from_its_json(
    server15: psycopg.Connection[Any], case: Case
) -> None:
    prove(server15, case)


def prove(server: psycopg.Connection[Any], case: Case) -> None:
    r = Random(f"{SEED} {case.sql}")
    texts = [case.generate(r) for _ in range(COUNT)]
    type, typmod = type_of(server, case.sql)
    convert = converter(type, typmod, case.options)
    fragment, definitions = schema(type, typmod, case.options)
    validators = all_validators({**fragment, "$defs": definitions})

    twin = in_rust(type, typmod, case.options) or convert

    returned = []
    for raw in rendered(server, case.sql, texts):
        made = convert(raw)
        assert twin(raw) == made
        value = json.loads(made)
        refused = [name for name, accepts in validators.items() if not accepts(value)]
        assert not refused, f"{refused} refused {made!r}"
        assert b"\n" not in made
        returned.append(way_back(value, type))

    for text, back, before, after in zip(
        texts, returned, images(server, case.sql, texts), images(server, case.sql, returned), strict=True
    ):
        assert before == after, f"{text!r} came back as {back!r}"


@pytest.mark.parametrize("sql", ["json", "jsonb"])
def test_an_embedded_document_is_the_servers_text_on_one_line(
    server: psycopg.Connection[Any], sql: str
) -> None:
    r = Random(SEED)
    type, typmod = type_of(server, sql)
    options = TypeOptions(json="embed")
    convert = converter(type, typmod, options)
    twin = in_rust(type, typmod, options) or convert
    for raw in rendered(server, sql, [documents(r) for _ in range(COUNT)]):
        assert convert(raw) == raw.replace(b"\n", b" ").replace(b"\r", b" ")
        assert twin(raw) == convert(raw)
        assert json.loads(convert(raw)) == json.loads(raw)


def type_of(connection: psycopg.Connection[Any], sql: str) -> tuple[PgType, int]:
    """As a column has it: a result would show a domain as its base type."""
    connection.execute(f"CREATE TEMP TABLE probe (v {sql})".encode())
    row = connection.execute(
        "SELECT atttypid, atttypmod FROM pg_attribute WHERE attrelid = 'pg_temp.probe'::regclass AND attnum = 1"
    ).fetchone()
    connection.execute("DROP TABLE pg_temp.probe")
    assert row
    oid, typmod = row
    return load_types(connection, [oid])[oid], typmod


def in_rust(type: PgType, typmod: int, options: TypeOptions) -> Callable[[bytes], bytes | None] | None:
    """The converter in Rust, where that is installed."""
    if importlib.util.find_spec("liberator_native") is None:
        return None
    native: Any = importlib.import_module("liberator_native")
    made: Callable[[bytes], bytes | None] = native.Converter(
        json.dumps(described(type, typmod, options))
    ).convert
    return made


def all_validators(document: dict[str, Any]) -> dict[str, Callable[[Any], bool]]:
    Draft202012Validator.check_schema(document)
    fast, fancy = jsonschema_rs.RegexOptions(), jsonschema_rs.FancyRegexOptions()
    return {
        "reference": Draft202012Validator(document).is_valid,
        "rust": jsonschema_rs.Draft202012Validator(document, pattern_options=fast).is_valid,
        "rust with look-around": jsonschema_rs.Draft202012Validator(document, pattern_options=fancy).is_valid,
    }


def rendered(connection: psycopg.Connection[Any], sql: str, texts: Sequence[str]) -> list[bytes]:
    """What the type's output function writes, as COPY and the stream would send it."""
    return _column(connection, sql, texts, binary=False)


def images(connection: psycopg.Connection[Any], sql: str, texts: Sequence[str]) -> list[bytes]:
    """The binary images; of the few types without one, the text."""
    try:
        return _column(connection, sql, texts, binary=True)
    except psycopg.errors.UndefinedFunction:
        return _column(connection, sql, texts, binary=False)


def _column(
    connection: psycopg.Connection[Any], sql: str, texts: Sequence[str], *, binary: bool
) -> list[bytes]:
    query = f"SELECT v::{sql} FROM pg_catalog.unnest(%s::text[]) WITH ORDINALITY u (v, n) ORDER BY n"
    with connection.cursor(binary=binary) as cursor:
        cursor.execute(query.encode(), [list(texts)])
        result = cursor.pgresult
        assert result
        values = [result.get_value(row, 0) for row in range(result.ntuples)]
    return [value for value in values if value is not None]
