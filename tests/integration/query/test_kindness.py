"""What reading asks of the database, and of memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest

from liberator.testing.publisher import MemoryPublisher
from tests.integration.query.conftest import MakeLooks, Session
from tests.integration.query.reading import Running, keys, seen, until


def test_a_stalled_publisher_holds_nothing_open_in_the_database(looks: MakeLooks, db: Session) -> None:
    """And the reader waits with what fits its budget."""
    db.execute("create table t (id int primary key, v text)")
    db.execute("insert into t select n, repeat('x', 1000) from generate_series(1, 30000) n")
    publisher = MemoryPublisher(100_000)
    publisher.stall()
    it = looks("public.t", batch_rows=500)
    connector = it.connector(publisher)
    connector.source._settings = type(connector.source._settings)(  # a smaller queue than any budget gives
        **{
            name: getattr(connector.source._settings, name)
            for name in connector.source._settings.__dataclass_fields__
        }
        | {"queue_bytes": 4 << 20}
    )
    with Running(connector):
        until(lambda: connector.source.queued() >= (4 << 20) // 2, "the queue does not fill")
        until(lambda: _transactions(db, it.name) == 0, "a transaction stays open")
        time.sleep(0.5)
        assert _transactions(db, it.name) == 0
        assert connector.source.queued() <= 4 << 20
        publisher.go_on()
        until(lambda: len(publisher.events) == 30_000, "the rest does not come")
    assert keys([seen(event) for event in publisher.events]) == list(range(1, 30_001))


def test_rows_come_no_faster_than_they_may(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key); insert into t select generate_series(1, 2000)")
    it = looks("public.t", rows_per_second=2000, batch_rows=500)
    began = time.monotonic()
    assert len(it.look()) == 2000
    assert time.monotonic() - began >= 0.9


def test_a_page_that_takes_too_long_is_made_smaller(
    looks: MakeLooks, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """D52"""
    db.execute("create table t (id int primary key); insert into t select generate_series(1, 400)")
    db.execute(
        "create function slow(int) returns int stable language plpgsql as 'begin perform pg_sleep(0.01); return $1; end'"
    )
    it = looks(
        "public.slow",
        sql="SELECT id, public.slow(id) AS z FROM public.t",
        incrementing_column="id",
        statement_timeout="2s",
        batch_rows=400,
    )
    assert len(it.look()) == 400
    assert "a page took too long; from now on it has 100 rows" in caplog.text
    assert "trying again" not in caplog.text


def test_nothing_can_be_written(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int); create sequence q")
    with pytest.raises(Exception, match="read-only"):
        looks("public.x", sql="SELECT nextval('public.q') AS n").look()


def test_stopping_ends_a_query_that_runs(looks: MakeLooks, db: Session) -> None:
    it = looks("public.x", sql="SELECT pg_catalog.pg_sleep(600)::text AS z")
    with Running(it.connector(MemoryPublisher())):
        until(lambda: _transactions(db, it.name) == 1, "the query does not run")
        began = time.monotonic()
    assert time.monotonic() - began < 50


def test_a_table_without_an_index_on_its_cursor_is_warned_of(
    looks: MakeLooks, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute(
        "create table t (id int primary key, at timestamptz); create table u (id int primary key, at timestamptz)"
    )
    db.execute("create index on u (at)")
    looks(timestamp_column="at").look()
    assert "public.t has no index that begins with at" in caplog.text
    assert "public.u has no index" not in caplog.text


def test_python_can_read_a_table_look_by_look(looks: MakeLooks, database: str, db: Session) -> None:
    import liberator

    db.execute("create table t (id int primary key); insert into t values (1), (2)")
    changes = []
    for batch in liberator.stream(database, mode="query", tables=["public.t"], once=True):
        changes += batch.changes
        batch.ack()
    assert [(change.op, change.table, change.after) for change in changes] == [
        ("r", "t", {"id": 1}),
        ("r", "t", {"id": 2}),
    ]


def _transactions(db: psycopg.Connection[Any], name: str) -> int:
    [(count,)] = db.execute(
        "select count(*) from pg_stat_activity where application_name = %s and xact_start is not null",
        (name,),
    ).fetchall()
    return int(count)


def test_a_look_does_not_wait_for_a_writer(
    looks: MakeLooks, db: Session, sessions: Callable[[], Session]
) -> None:
    db.execute("create table t (id int primary key, v int); insert into t values (1, 1), (2, 1)")
    it = looks("public.t")
    a = sessions()
    with a.transaction():
        a.execute("update t set v = 2")
        assert keys(it.look()) == [1, 2]
    assert keys(it.look()) == [1, 2]


def test_a_connector_is_closed_though_its_database_is_gone(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key)")
    it = looks("public.t", poll_interval="50ms")
    publisher = MemoryPublisher()
    with closing(it.connector(publisher, once=False)) as connector:
        thread = threading.Thread(target=connector.capture.run)
        thread.start()
        until(lambda: _sessions(db, it.name) == 1, "it does not connect")
        db.execute("insert into t values (1)")
        until(lambda: len(publisher.events) == 1, "the row does not come")
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s", (it.name,)
        )
        db.execute("insert into t values (2)")
        until(lambda: len(publisher.events) == 2, "it does not connect again")
        connector.capture.stop()
        thread.join(120)
    assert not thread.is_alive()
    assert _sessions(db, it.name) == 0


def _sessions(db: psycopg.Connection[Any], name: str) -> int:
    [(count,)] = db.execute(
        "select count(*) from pg_stat_activity where application_name = %s", (name,)
    ).fetchall()
    return int(count)


def test_a_transaction_that_does_not_end_is_waited_for_once(
    looks: MakeLooks, db: Session, sessions: Callable[[], Session]
) -> None:
    for number in range(5):
        db.execute(f"create table t{number} (id int primary key); insert into t{number} values (1)".encode())
    it = looks(incrementing_column="id")
    a = sessions()
    with a.transaction():
        a.execute("insert into t0 values (0)")
        began = time.monotonic()
        assert len(it.look()) == 5
        assert time.monotonic() - began < 45, "it waited ten seconds for each table"
    assert [(event.table, event.row["id"]) for event in it.look()] == [("t0", 0)]


def test_a_sequence_that_hands_out_numbers_in_advance_is_warned_of(
    looks: MakeLooks, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute("create table t (id serial primary key); create table u (id serial primary key)")
    db.execute("alter sequence t_id_seq cache 20")
    looks(incrementing_column="id").look()
    assert "public.t: sequence public.t_id_seq hands out 20 numbers" in caplog.text
    assert "public.u: sequence" not in caplog.text
