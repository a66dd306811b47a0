"""Databases in other encodings than UTF-8. Events are UTF-8 always."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from liberator.testing.servers import Postgres
from tests.acceptance.connector import Connector
from tests.acceptance.events import created

Make = Callable[..., Connector]
Encoded = Callable[[str], str]


@pytest.fixture
def encoded(postgres: Postgres, unique: str) -> Iterator[Encoded]:
    """Makes the test's database in an encoding: its dsn."""
    dsn = urlunsplit(urlsplit(postgres.dsn)._replace(path=f"/{unique}"))

    def make(encoding: str) -> str:
        postgres.execute(
            f"create database {unique} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"
        )
        return f"{dsn}?client_encoding=UTF8"

    yield make
    postgres.drop(dsn)


@pytest.mark.parametrize(("encoding", "text"), [("LATIN1", "é"), ("EUC_JP", "日本"), ("SQL_ASCII", "ünï")])
def test_names_and_values_are_converted(encoded: Encoded, connector: Make, encoding: str, text: str) -> None:
    it = connector(encoded(encoding))
    it.execute(f'create table t (id int primary key, "{text}" text)', f"insert into t values (1, '{text}')")
    assert [event.row for event in it.run_once()] == [{"id": 1, text: text}]
    it.execute(f"insert into t values (2, '{text}')")
    assert it.run_once().changes == [created({"id": 2, text: text})]


@pytest.mark.parametrize("form", ["string", "embed"])
def test_a_value_that_is_no_utf8_does_not_hold_up_its_neighbours(
    encoded: Encoded, connector: Make, form: str
) -> None:
    """SQL_ASCII: the server converts nothing, so what each program wrote is in the table side by side."""
    it = connector(encoded("SQL_ASCII"), "--set", f"types.json={form}")
    broken = b"insert into t values (%d, '\xe9', '\"\xe9\"', array['\xe9']), (%d, 'fine', '1', '{}')"
    with psycopg.connect(it.dsn, autocommit=True, client_encoding="SQL_ASCII") as application:
        application.execute("create table t (id int primary key, v text, j jsonb, a text[])")
        application.execute(broken % (1, 2))
        first = it.run_once()
        application.execute(broken % (3, 4))
        application.execute("delete from t where id in (3, 4)")
    second = it.run_once()
    letters = f"{it.name}.dead-letters"
    assert [
        (event.op, event.topic == letters, event.key)
        for event in (*first, *second)
        if event.op != "tombstone"
    ] == [
        ("r", True, {"id": 1}),
        ("r", False, {"id": 2}),
        ("c", True, {"id": 3}),
        ("c", False, {"id": 4}),
        ("d", False, {"id": 3}),
        ("d", False, {"id": 4}),
    ]
    assert "not UTF-8" in first[0].headers["__connect.errors.exception.message"]
    assert json.loads(json.dumps(first[0].row["v"])) == "\ufffd"
