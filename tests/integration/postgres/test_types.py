"""Types from a live catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from liberator.postgres.model import PgType
from liberator.postgres.session import connect
from liberator.postgres.types import format_type, load_types, type_from_json, type_to_json


@pytest.fixture
def connection(each_database: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(each_database) as pinned:
        yield pinned


def column_type(connection: psycopg.Connection[Any], sql: str) -> tuple[PgType, int]:
    """The type and typmod that a column declared like this has."""
    connection.execute(f"CREATE TEMP TABLE probe (v {sql})".encode())
    row = connection.execute(
        "SELECT atttypid, atttypmod FROM pg_attribute WHERE attrelid = 'pg_temp.probe'::regclass AND attnum = 1"
    ).fetchone()
    connection.execute("DROP TABLE pg_temp.probe")
    assert row
    return load_types(connection, [row[0]])[row[0]], row[1]


def test_base_types_of_the_catalogue(connection: psycopg.Connection[Any]) -> None:
    types = load_types(connection, [23, 603, 22, 18])
    assert types == {
        23: PgType(23, "pg_catalog", "int4"),
        603: PgType(603, "pg_catalog", "box", delimiter=";"),
        22: PgType(22, "pg_catalog", "int2vector"),
        18: PgType(18, "pg_catalog", "char"),
    }


def test_nothing_is_asked_for_nothing(connection: psycopg.Connection[Any]) -> None:
    connection.close()
    assert load_types(connection, []) == {}


def test_a_type_that_no_longer_exists_is_unknown(connection: psycopg.Connection[Any]) -> None:
    assert load_types(connection, [23, 4294967290]) == {
        23: PgType(23, "pg_catalog", "int4"),
        4294967290: PgType(4294967290, "", "unknown"),
    }


def test_labels_of_an_enum_come_in_their_order(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TYPE public.mood AS ENUM ('sad', 'happy')")
    connection.execute("ALTER TYPE public.mood ADD VALUE 'so, so' BEFORE 'happy'")
    type, _ = column_type(connection, "public.mood")
    assert (type.schema, type.name, type.kind) == ("public", "mood", "enum")
    assert type.labels == ("sad", "so, so", "happy")


def test_a_domain_of_a_domain_keeps_each_typmod(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "CREATE DOMAIN public.code AS varchar(12); CREATE DOMAIN public.short_code AS public.code"
    )
    type, typmod = column_type(connection, "public.short_code")
    assert (type.name, type.kind, type.typmod, typmod) == ("short_code", "domain", -1, -1)
    assert type.element
    assert (type.element.name, type.element.kind, type.element.typmod) == ("code", "domain", 16)
    assert type.element.element == PgType(1043, "pg_catalog", "varchar")


def test_a_composite_leaves_out_dropped_attributes(connection: psycopg.Connection[Any]) -> None:
    connection.execute('CREATE TYPE public.pair AS (gone int4, b numeric(10,2), "A b" text[])')
    connection.execute("ALTER TYPE public.pair DROP ATTRIBUTE gone")
    type, _ = column_type(connection, "public.pair")
    assert [(name, part.name, part.kind, mod) for name, part, mod in type.attributes] == [
        ("b", "numeric", "base", (10 << 16 | 2) + 4),
        ("A b", "_text", "array", -1),
    ]


def test_the_row_type_of_a_table_is_a_composite(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE public.address (street text, number int4)")
    type, _ = column_type(connection, "public.address")
    assert type.kind == "composite"
    assert [name for name, _, _ in type.attributes] == ["street", "number"]


def test_what_a_type_is_made_of_is_there_down_to_the_base(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        """
        CREATE DOMAIN public.price AS numeric(10,2);
        CREATE TYPE public.inner_part AS (prices public.price[], span tstzmultirange);
        CREATE TYPE public.outer_part AS (parts public.inner_part[], boxes box[]);
        CREATE DOMAIN public.checked AS public.outer_part;
        """
    )
    type, _ = column_type(connection, "public.checked[]")
    assert type.kind == "array"
    checked = type.element
    assert checked
    assert checked.kind == "domain"
    outer = checked.element
    assert outer
    parts, boxes = (part for _, part, _ in outer.attributes)
    assert boxes.element
    assert boxes.element.delimiter == ";"
    assert parts.element
    prices, span = (part for _, part, _ in parts.element.attributes)
    assert prices.element
    assert prices.element.element == PgType(1700, "pg_catalog", "numeric")
    assert (span.kind, span.name) == ("multirange", "tstzmultirange")
    assert span.element
    assert (span.element.kind, span.element.name) == ("range", "tstzrange")
    assert span.element.element == PgType(1184, "pg_catalog", "timestamptz")
    assert type_from_json(type_to_json(type)) == type


def test_all_types_take_one_round_trip(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TYPE public.pair AS (a int4range[], b text)")
    asked = [row[0] for row in connection.execute("SELECT oid FROM pg_type")]
    sent: list[int] = []

    class Counting(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            sent.append(1)
            return super().execute(*args, **kwargs)

    connection.cursor_factory = Counting
    types = load_types(connection, asked)
    assert len(sent) == 1
    assert types.keys() == set(asked)
    assert all(type.name for type in types.values())


@pytest.mark.parametrize(
    "sql",
    [
        "int4", "text", '"char"', "char(3)", "char", "bpchar", "name", "varchar", "varchar(20)", "numeric", "numeric(10,2)",
        "numeric(5,-2)", "numeric(5,10)", "bit", "bit(3)", "varbit", "varbit(5)", "time(3)", "timetz(0)", "timestamp(6)",
        "timestamptz", "timestamptz(3)", "interval", "interval(3)", "interval year", "interval month", "interval day",
        "interval hour", "interval minute", "interval second", "interval second(2)", "interval year to month",
        "interval day to hour", "interval day to minute", "interval day to second", "interval day to second(0)",
        "interval hour to minute", "interval hour to second(3)", "interval minute to second", "int4[]", "numeric(10,2)[]",
        "char(3)[]", '"char"[]', "int4range", "datemultirange[]", 'public."We""ird Type"', '"select"."table"',
        '"select"."table"[]', '"Käse".mood', "public.dom", "public.dom[]",
    ],
)  # fmt: skip
def test_a_name_declares_the_same_column_again(connection: psycopg.Connection[Any], sql: str) -> None:
    connection.execute(
        """
        CREATE TYPE public."We""ird Type" AS (a int4);
        CREATE SCHEMA "select"; CREATE TABLE "select"."table" (a int4);
        CREATE SCHEMA "Käse"; CREATE TYPE "Käse".mood AS ENUM ('sad');
        CREATE DOMAIN public.dom AS varchar(3);
        """
    )
    type, typmod = column_type(connection, sql)
    assert column_type(connection, format_type(type, typmod)) == (type, typmod)
