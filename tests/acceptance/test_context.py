"""Why it happened: a transaction tells it, and its events carry it as headers."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from tests.acceptance.connector import Connector

Make = Callable[..., Connector]

ANN = """select pg_logical_emit_message(true, 'liberator.context', '{"user": "ann", "why": {"ticket": 7}}')"""


def _headers(running: Connector) -> list[dict[str, str]]:
    return [{n: v for n, v in event.headers.items() if n != "id"} for event in running.events()]


def test_the_events_after_the_message_carry_it_and_those_of_other_transactions_do_not(
    each_database: str, connector: Make
) -> None:
    running = connector(each_database)
    running.execute("create table t (id int primary key, v text)", "insert into t values (0)")
    running.start()
    assert (
        len(running.events()) == 1
    )  # the snapshot is over: a truncate while it reads makes it read the table again
    with psycopg.connect(each_database) as application:
        application.execute("insert into t values (1)")
        application.execute(ANN)
        application.execute("insert into t values (2)")
        application.execute("update t set v = 'x' where id = 2")
        application.execute("delete from t where id = 1")
        application.execute(ANN.replace("ann", "bob").replace("why", "how"))
        application.execute("insert into t values (3)")
        application.execute("truncate t")
        application.commit()
        application.execute("insert into t values (4)")
        application.commit()
    ann = {"user": "ann", "why": '{"ticket":7}'}
    bob = {"user": "bob", "why": '{"ticket":7}', "how": '{"ticket":7}'}
    assert _headers(running) == [{}, {}, ann, ann, ann, ann, bob, bob, {}]


def test_what_is_taken_back_is_not_said(each_database: str, connector: Make) -> None:
    running = connector(each_database)
    running.execute("create table t (id int primary key)")
    running.start()
    with psycopg.connect(each_database) as application:
        application.execute("savepoint a")
        application.execute(ANN)
        application.execute("rollback to a")
        application.execute("insert into t values (1)")
        application.commit()
    assert _headers(running) == [{}]


def test_headers_that_say_something_else_and_what_is_no_object_are_ignored(
    database: str, connector: Make
) -> None:
    running = connector(database)
    running.execute("create table t (id int primary key)")
    running.start()
    emit = "select pg_logical_emit_message(true, 'liberator.context', %s)"
    with psycopg.connect(database) as application:
        application.execute(emit, ('{"id": "x", "__debezium.newkey": "x", "nothing": null, "n": 1}',))
        application.execute(emit, ("no JSON",))
        application.execute(emit, ("[1]",))
        application.execute(emit, ('{"large": "' + 9000 * "x" + '"}',))
        application.execute("insert into t values (1)")
    assert _headers(running) == [{"n": "1"}]
    assert all(event.id.endswith("/0") for event in running.all_events())
    for complaint in ("headers that say something else", "no JSON object", "more than 8192 bytes"):
        assert complaint in running.log


def test_a_large_transaction_carries_it_in_all_its_batches(database: str, connector: Make) -> None:
    running = connector(database)
    running.execute("create table t (id int primary key)")
    running.start()
    with psycopg.connect(database) as application:
        application.execute(ANN)
        application.execute("insert into t select generate_series(1, 5000)")
    assert [headers["user"] for headers in _headers(running)] == ["ann"] * 5000


def test_it_can_be_switched_off(database: str, connector: Make) -> None:
    running = connector(database, "--set", "source.log.context=false")
    running.execute("create table t (id int primary key)")
    running.start()
    with psycopg.connect(database) as application:
        application.execute(ANN)
        application.execute("insert into t values (1)")
    assert _headers(running) == [{}]
