"""Contracts of real tables: what PostgreSQL's types guarantee is never checked again, and holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from liberator.contract.derive import ColumnSchema, derive
from liberator.contract.gate import ColumnFacts, compile_gate
from liberator.contract.reference import read_exactly, reference
from liberator.contract.store import ContractStore
from liberator.postgres.catalogue import load_table
from liberator.postgres.model import Column, Table
from liberator.postgres.session import connect
from liberator.postgres.values import TypeOptions, converter, schema
from liberator.testing.servers import Postgres
from tests.integration.postgres.random_values import Random
from tests.integration.postgres.test_types_round_trip import CASES, SETUP, Case

ROWS = 30


@pytest.fixture
def connection(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    """A pinned connection to a database that has all the types."""
    dsn = postgres.database()
    with connect(dsn) as connection:
        connection.execute(SETUP.encode())
        yield connection
    postgres.drop(dsn)


def wide_table(connection: psycopg.Connection[Any], cases: list[Case]) -> Table:
    """A table with a column of every type."""
    columns = ", ".join(f"c{index} {case.sql}" for index, case in enumerate(cases))
    connection.execute(
        f"CREATE TABLE public.every_type (id int8 PRIMARY KEY, must text NOT NULL, {columns})".encode()
    )
    row = connection.execute("SELECT 'public.every_type'::regclass::oid").fetchone()
    table = load_table(connection, row[0]) if row else None
    assert table is not None
    return table


def facts(column: Column, options: TypeOptions, nullable: bool) -> ColumnFacts:
    fragment, definitions = schema(column.type, column.typmod, options)
    return ColumnFacts(column.name, {**fragment, "$defs": definitions}, nullable)


def derived(table: Table, options: TypeOptions, *, strict: bool) -> dict[str, Any]:
    columns = [
        ColumnSchema(
            column.name,
            *schema(column.type, column.typmod, options),
            not_null=column.not_null,
            can_be_toasted=column.can_be_toasted,
        )
        for column in table.columns
    ]
    return derive("shop.public.orders", columns, table.key, strict=strict)


OPTIONS = [TypeOptions(), TypeOptions(int64="string", json="embed", array_bounds="text", char="trim")]


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "other"])
def test_a_table_with_every_type_needs_no_check(
    connection: psycopg.Connection[Any], options: TypeOptions
) -> None:
    table = wide_table(connection, CASES)
    following = [facts(column, options, column.name != "id") for column in table.columns]
    assert compile_gate(derived(table, options, strict=False), following).empty
    now = [facts(column, options, not column.not_null) for column in table.columns]
    assert compile_gate(derived(table, options, strict=True), now).empty


def test_rows_of_every_type_satisfy_the_derived_contract(connection: psycopg.Connection[Any]) -> None:
    options = TypeOptions()
    table = wide_table(connection, CASES)
    columns = [f"c{index}" for index in range(len(CASES))]
    for number in range(ROWS):
        r = Random(f"row {number}")
        values = [case.generate(r) for case in CASES]
        casts = ", ".join(f"%s::text::{case.sql}" for case in CASES)
        statement = (
            f"INSERT INTO public.every_type (id, must, {', '.join(columns)}) VALUES (%s, 'x', {casts})"
        )
        connection.execute(statement.encode(), [number, *values])
    judge = reference(derived(table, options, strict=True))
    converters = [converter(column.type, column.typmod, options) for column in table.columns]
    for row in raw_rows(connection, table):
        texts = [
            b"null" if raw is None else convert(raw) for convert, raw in zip(converters, row, strict=True)
        ]
        names = [json.dumps(column.name).encode() for column in table.columns]
        after = b"{%b}" % b",".join(b"%b:%b" % pair for pair in zip(names, texts, strict=True))
        assert [error.json_path for error in judge.iter_errors(read_exactly(after))] == []


def raw_rows(connection: psycopg.Connection[Any], table: Table) -> list[list[bytes | None]]:
    """The rows in the server's own text."""
    names = b", ".join(column.name.encode() for column in table.columns)
    result = connection.pgconn.exec_(b"SELECT " + names + b" FROM public.every_type")
    assert result.status == psycopg.pq.ExecStatus.TUPLES_OK
    return [
        [result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)
    ]


def test_the_strict_contract_requires_what_an_update_always_carries(
    connection: psycopg.Connection[Any], tmp_path: Any
) -> None:
    connection.execute(
        "CREATE TABLE public.orders (id int4 PRIMARY KEY, region text, at timestamptz NOT NULL, note text NOT NULL,"
        " amount numeric(10,2), plain text, flag bool);"
        "ALTER TABLE public.orders ALTER plain SET STORAGE PLAIN"
    )
    row = connection.execute("SELECT 'public.orders'::regclass::oid").fetchone()
    table = load_table(connection, row[0]) if row else None
    assert table is not None
    store = ContractStore(tmp_path)
    contract = derived(table, TypeOptions(), strict=True)
    store.write("shop.public.orders", contract)
    assert store.load("shop.public.orders") == (1, contract)
    assert contract["required"] == ["id", "at", "plain", "flag"]
    gate = compile_gate(
        contract, [facts(column, TypeOptions(), column.name != "id") for column in table.columns]
    )
    assert set(gate.columns) == {"at", "note"}
