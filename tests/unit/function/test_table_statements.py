"""Statements for databases that no test runs: they compile, and are what they should be."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.dialects.mssql import dialect as mssql
from sqlalchemy.dialects.oracle import dialect as oracle
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateTable

from liberator.function.table import ddl
from liberator.function.table.statements import Statements

ORACLE: Dialect = oracle()  # type: ignore[no-untyped-call]
MSSQL: Dialect = mssql()  # type: ignore[no-untyped-call]

CONTRACT = {
    "properties": {
        "id": {"type": "integer", "maximum": 2**31 - 1},
        "name": {"type": ["string", "null"], "maxLength": 20},
        "price": {"type": ["string", "null"], "x-pg-type": "numeric(10,2)"},
        "picture": {"type": ["string", "null"], "contentEncoding": "base64"},
    }
}


@pytest.mark.parametrize("dialect", [ORACLE, MSSQL], ids=["oracle", "mssql"])
def test_other_databases_update_what_is_there_and_insert_the_rest(dialect: Dialect) -> None:
    table = sa.table("orders", sa.column("a"), sa.column("b"), sa.column("c"))
    statements = Statements(dialect.name, table, ("a", "b"), alone=True)
    columns = ("a", "b", "c")
    assert statements.upsert(columns) is None
    update = " ".join(str(statements.update(columns).compile(dialect=dialect)).split())
    insert = " ".join(str(statements.insert(columns).compile(dialect=dialect)).split())
    assert update == "UPDATE orders SET c=:p2 WHERE orders.a = :p0 AND orders.b = :p1"
    assert insert == "INSERT INTO orders (a, b, c) VALUES (:p0, :p1, :p2)"


@pytest.mark.parametrize(
    ("dialect", "types"),
    [
        (ORACLE, ["INTEGER NOT NULL", "VARCHAR2(20 CHAR)", "NUMERIC(10, 2)", "BLOB"]),
        (
            MSSQL,
            ["INTEGER NOT NULL", "NVARCHAR(20) NULL", "NUMERIC(10, 2) NULL", "IMAGE NULL"],
        ),
    ],
    ids=["oracle", "mssql"],
)
def test_other_databases_have_types_for_a_contract(dialect: Dialect, types: list[str]) -> None:
    columns = ddl.columns_of(CONTRACT, ["id"], dialect.name)
    made = " ".join(str(CreateTable(sa.Table("t", sa.MetaData(), *columns)).compile(dialect=dialect)).split())
    assert all(part in made for part in types), made
    assert "PRIMARY KEY (id)" in made


def made(told: str, dialect: str, type: str = "string") -> str:
    """The type of a column whose contract says that it is `told` in PostgreSQL."""
    column = ddl.column_of("c", {"type": type, "x-pg-type": told}, dialect)
    return str(
        column.type.compile(dialect={"postgresql": postgresql.dialect, "mysql": mysql.dialect}[dialect]())
    )


@pytest.mark.parametrize(
    "told",
    [
        "timestamptz",
        "timestamptz(3)",
        "timestamp with time zone",
        "timetz",
        "int4[]",
        "float4",
        "varchar(20)",
        "bpchar(5)",
        '"char"',
        "varbit(8)",
        "interval day to second(3)",
        "numeric(3,-2)",
        "tsquery",
        "timestamptz[]",
    ],
)
def test_a_type_of_every_postgresql_stays_what_it_is(told: str) -> None:
    assert made(told, "postgresql") == told


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("timestamptz(3)", "DATETIME(6)"),
        ("timestamp", "DATETIME(6)"),
        ("time(3)", "TIME(6)"),
        ("date", "DATE"),
        ("timetz", "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        ("timestamptz[]", "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        ("numeric(3,5)", "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    ],
)
def test_only_times_that_mariadb_has_are_times_there(told: str, expected: str) -> None:
    assert made(told, "mysql") == expected


def test_a_name_with_a_percent_sign_is_not_written_in_a_way_that_mariadb_does_not_know() -> None:
    table = sa.table("orders", sa.column("id"), sa.column("a%b"))
    assert Statements("mysql", table, ("id",), alone=True).upsert(("id", "a%b")) is None
