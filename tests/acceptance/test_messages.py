"""Logical messages and idle databases (D43, D44)."""

from __future__ import annotations

import base64
from collections.abc import Callable

import psycopg

from tests.acceptance.connector import Connector
from tests.acceptance.events import Event, created

Make = Callable[..., Connector]


def _emit(transactional: bool, content: str, prefix: str = "wanted") -> str:
    return f"select pg_logical_emit_message({transactional}, '{prefix}', '{content}')"


def _said(event: Event) -> object:
    """The message's text, or the row's number."""
    return base64.b64decode(event.message["content"]).decode() if event.message else event.row["id"]


def test_messages_come_where_they_were_said(each_database: str, connector: Make) -> None:
    """D43: a transactional one among the rows of its transaction, if that commits; another one always, and before them."""
    running = connector(each_database, messages=("wanted", "also wanted"))
    running.execute("create table t (id int primary key)")
    running.start()
    with psycopg.connect(each_database) as application:
        application.execute("insert into t values (1)")
        application.execute(_emit(True, "between"))
        application.execute("insert into t values (2)")
        application.execute(_emit(False, "at once"))
        application.execute(_emit(True, "unwanted", "other"))
        application.execute(_emit(True, "after", "also wanted"))
        application.commit()
        application.execute("insert into t values (3)")
        application.execute(_emit(True, "taken back"))
        application.execute(_emit(False, "not taken back"))
        application.rollback()
    running.execute(_emit(True, "alone"), _emit(False, "ünï"), "insert into t values (4)")
    events = running.events()
    assert [_said(event) for event in events] == [
        *("at once", 1, "between", 2, "after"),
        *("not taken back", "alone", "ünï", 4),
    ]
    said = [event for event in events if event.op == "m"]
    assert {event.topic for event in said} == {f"{running.name}.messages"}
    assert {tuple(event.key.items()) for event in said} == {
        (("prefix", "wanted"),),
        (("prefix", "also wanted"),),
    }
    assert [event.key["prefix"] == event.message["prefix"] for event in said if event.message] == [True] * 6
    assert {event.change for event in said} == {("m", None, None)}
    among = [event.source["txId"] for event in events if _said(event) in (1, "between", 2, "after")]
    assert len(set(among)) == 1
    assert [event.row for event in events.ops("c")] == [{"id": id} for id in (1, 2, 4)]


def test_messages_are_not_published_unless_their_prefix_is_configured(database: str, connector: Make) -> None:
    """D43"""
    running = connector(database)
    running.execute("create table t (id int primary key)")
    running.start()
    running.execute(_emit(True, "unwanted"), _emit(False, "unwanted"), "insert into t values (1)")
    assert running.events().changes == [created({"id": 1})]


def test_wal_that_is_not_ours_is_not_held_back(each_database: str, connector: Make) -> None:
    """D44: the server does not ask (it held 12.8 MB in a check); every heartbeat the end of what is of no concern is saved
    and acknowledged, and nothing of it is read again after a restart."""
    running = connector(each_database, "--table", "public.t")
    running.execute("create table t (id int primary key)", "create table busy (id int primary key, v text)")
    running.start()
    running.execute("insert into busy select n, md5(n::text) from generate_series(1, 20000) n")
    ((end, kept),) = running.execute(
        "select pg_current_wal_lsn()::text, pg_current_wal_lsn() - confirmed_flush_lsn"
        f" from pg_replication_slots where slot_name = '{running.slot}'"
    )
    assert kept > 1_000_000
    running.wait_for(lambda: running.confirmed_up_to(end), "the acknowledgement")
    running.stop()
    assert running.all_events() == []
    assert running.run_once() == []
    running.execute("insert into t values (1)")
    assert running.run_once().changes == [created({"id": 1})]
