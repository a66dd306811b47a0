"""Names and shapes (D35 to D38): whatever PostgreSQL calls a table, its name arrives exactly, and its topic is legal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import psycopg
import pytest
from psycopg import sql

from liberator.testing.servers import Postgres
from tests.acceptance.connector import PATIENCE, Connector
from tests.acceptance.events import created, deleted, read, updated
from tests.acceptance.stream import Stream

Make = Callable[..., Connector]

ODD_TABLE = 'We"ird.Table — ünï\t⇥☃'
ODD_NAMES = [
    'Sel"ect',
    "日本",
    "a.b",
    "select",
    "user",
    "ctid_",
    "x" * 63,
    "ü" * 31,
    "back\\slash",
    "'quoted'",
    "100%",
    "%s %b %(x)s",
    "{name}",
    "$1",
    "new\nline",
    "tab\t",
    " ",
    "__debezium",
    "\x7f\u2028\U0001f600",
]
"""Names of columns, the first one of the key."""


def _dotted(table: tuple[str, str]) -> str:
    return sql.Identifier(*table).as_string(None)


def _quoted(*names: str) -> str:
    return ", ".join(sql.Identifier(name).as_string(None) for name in names)


@pytest.mark.parametrize("identity", ["default", "full"])
def test_names_arrive_exactly(each_database: str, connector: Make, identity: str) -> None:
    """D35: of schemas, tables and columns, in snapshot and stream, in keys and values; the topic is legal."""
    schema = 'Sch"ema % ☃'
    table = sql.Identifier(schema, ODD_TABLE).as_string(None)
    running = connector(each_database, "--table", table)
    columns = ", ".join(f"{_quoted(name)} text" for name in ODD_NAMES)
    running.execute(
        f"create schema {_quoted(schema)}",
        f"create table {table} ({columns}, primary key ({_quoted(*ODD_NAMES[:3])}))",
        f"alter table {table} replica identity {identity}",
        f"insert into {table} select {', '.join(['%L'] * len(ODD_NAMES))}".replace("%L", "'old'"),
    )
    running.start()
    running.events()
    values = ", ".join("'new'" for _ in ODD_NAMES)
    running.execute(
        f"insert into {table} values ({values})",
        f"update {table} set {_quoted('100%')} = 'x' where {_quoted('日本')} = 'new'",
        f"delete from {table} where {_quoted('日本')} = 'new'",
        f"truncate {table}",
    )
    events = running.events()
    old, new = dict.fromkeys(ODD_NAMES, "old"), dict.fromkeys(ODD_NAMES, "new")
    key = dict.fromkeys(ODD_NAMES[:3], "new")
    changed = {**new, "100%": "x"}
    full = identity == "full"
    assert events.changes == [
        read(old),
        created(new),
        updated(changed, before=new if full else None),
        deleted(changed if full else key),
        ("t", None, None),
    ]
    assert events.keys == [dict.fromkeys(key, "old"), key, key, key, key, None]
    assert {(e.source["schema"], e.source["table"]) for e in events if e.value} == {(schema, ODD_TABLE)}
    assert len(set(events.topics)) == 1
    assert events.topics[0].startswith(f"{running.name}.Sch_ema____.We_ird.Table")


def test_the_name_of_the_database_arrives_exactly(postgres: Postgres, connector: Make, unique: str) -> None:
    """D35"""
    name = f'{unique} "☃% a.b'
    dsn = postgres.database(name)
    running = connector(dsn)
    running.execute("create table t (id int primary key)", "insert into t values (1)")
    assert [event.source["db"] for event in running.run_once()] == [name]
    running.close()
    postgres.drop(dsn)


COLLIDING = [(("public", "a|b"), ("public", "a@b")), (("a.b", "c"), ("a", "b.c"))]


@pytest.mark.parametrize("tables", COLLIDING, ids=["sanitised", "dots"])
def test_two_tables_of_one_topic_are_refused(
    database: str, connector: Make, tables: tuple[tuple[str, str], tuple[str, str]]
) -> None:
    """D36: before anything is made on the server."""
    refused = connector(database)
    for table in tables:
        refused.execute(
            f"create schema if not exists {_quoted(table[0])}",
            f"create table {_dotted(table)} (id int primary key)",
        )
    block = refused.refusal()
    assert "plan.topic_collision" in block
    for table in tables:
        assert ".".join(table) in block
    assert "publish.topic" in block
    assert "exclude one of them" in block
    assert (
        refused.execute(
            "select slot_name::text from pg_replication_slots where database = current_database()"
        )
        == []
    )


def test_a_table_whose_topic_is_taken_ends_the_stream_before_it_is_mixed_in(
    database: str, connector: Make
) -> None:
    """D36: also when it is made while the connector runs; excluded, it is in nobody's way."""
    running = connector(database, "--set", "source.log.publication_autocreate=all_tables")
    running.execute('create table "a|b" (id int primary key)')
    process = running.start().launched()
    running.execute('insert into "a|b" values (1)')
    assert running.events().changes == [created({"id": 1})]
    running.execute('create table "a@b" (id int primary key)', 'insert into "a@b" values (2)')
    assert process.wait(PATIENCE) == 3
    assert "public.a@b would both be published to topic" in running.last_words.replace("\n", " ")
    assert len(running.all_events()) == 1
    running.reconfigure("--exclude", 'public."a@b"')
    running.execute('insert into "a|b" values (3)')
    assert running.run_once().changes == [created({"id": 3})]


def test_names_that_differ_in_case_are_different(stream: Stream) -> None:
    """D37: neither is merged into the other."""
    stream.run(
        'create table t (id int primary key, duration int, "Duration" int, "DURATION" int)',
        "insert into t values (1, 2, 3, 4)",
    )
    row = {"id": 1, "duration": 2, "Duration": 3, "DURATION": 4}
    assert stream.events("t").changes == [created(row)]
    assert stream.snapshot("t").changes == [read(row)]


def test_a_table_may_have_all_the_columns_that_postgresql_allows(stream: Stream) -> None:
    """D38: 1,600; its first row, for which the shape is looked up, costs next to nothing."""
    names = [f"c{number}" for number in range(1, 1600)]
    stream.run(
        f"create table wide (id int primary key, {', '.join(f'{name} int' for name in names)})",
    )
    stream.events()
    begun = stream.connector.cpu_seconds()
    stream.run(f"insert into wide select {', '.join(map(str, range(1600)))}")
    (event,) = stream.events("wide")
    assert stream.connector.cpu_seconds() - begun < 4
    assert event.change == created({"id": 0, **{name: number for number, name in enumerate(names, 1)}})
    assert stream.snapshot("wide").rows == [event.row]


def test_a_contract_of_all_the_columns_that_postgresql_allows_is_derived_in_time(
    database: str, tmp_path: Path
) -> None:
    """D38: 1,600 columns take little more work than the start of a program does."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table narrow (id int primary key)")
        columns = ", ".join(f"c{number} numeric(9, 2)[]" for number in range(1, 1600))
        connection.execute(f"create table wide (id int primary key, {columns})".encode())
    derive = [sys.executable, "-m", "liberator", "schema", "derive", "--source", database, "--name", "shop"]
    seconds = {}
    for table in ("narrow", "wide"):
        before = getrusage(RUSAGE_CHILDREN).ru_utime
        subprocess.run([*derive, "--table", table], check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
        seconds[table] = getrusage(RUSAGE_CHILDREN).ru_utime - before
    contract = json.loads((tmp_path / "schemas" / "shop.public.wide" / "1.json").read_text())
    assert len(contract["properties"]) == 1600
    assert seconds["wide"] < 4 * seconds["narrow"]


def test_a_table_may_have_no_columns_or_no_rows(stream: Stream) -> None:
    """D38"""
    stream.run(
        "create table nothing ()",
        "create table empty (id int primary key)",
        "insert into nothing default values",
        "insert into nothing default values",
        "truncate nothing",
        "insert into nothing default values",
    )
    events = stream.events()
    assert events.changes == [created({}), created({}), ("t", None, None), created({})]
    assert events.keys == [None] * 4
    snapshot = stream.snapshot()
    assert snapshot.changes == [read({})]
    assert snapshot.keys == [None]
