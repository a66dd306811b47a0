"""What the application may do to its tables while they are read: a connector waits for it, never the other way round
longer than the reading of one table takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from liberator.testing.proxy import Proxy
from tests.acceptance.connector import Connector
from tests.acceptance.events import created
from tests.acceptance.stream import Stream

Make = Callable[..., Connector]

ONE_BY_ONE = ("--set", "source.log.snapshot_workers=1", "--set", "limits.memory=8MiB")
"""One table after the other, and never far ahead of what is published."""

LARGE = "insert into a select g, repeat('a', 200) from generate_series(1, 20000) g"
A_PART = 1_000_000
"""Bytes, of the four million that it has: who may have no more is still reading."""


@pytest.fixture
def line(database: str) -> Iterator[Proxy]:
    """The way to the server of `database`."""
    parts = urlsplit(database)
    with Proxy(parts.hostname or "", parts.port or 0) as line:
        yield line


def test_the_stream_flows_while_the_application_holds_a_table_locked(stream: Stream) -> None:
    """The shape of a table that is new to the stream is asked for without its lock."""
    stream.run("create table t (id int primary key)")
    stream.connector.freeze()
    stream.run("insert into t values (1)")
    with stream.transaction():
        stream.run("lock table t in access exclusive mode")
        stream.connector.thaw()
        assert stream.connector.events()[-1].topic == stream.topic("t")
    assert stream.events("t").changes == [created({"id": 1})]


def test_a_restart_waits_for_no_table_but_those_that_it_captures(each_database: str, connector: Make) -> None:
    """The application may be at VACUUM FULL for hours elsewhere."""
    running = connector(each_database, "--table", "public.t")
    running.execute(
        "create table t (id int primary key)",
        "create table busy (id int primary key)",
        "create table root (id int primary key) partition by range (id)",
        "create table leaf partition of root for values from (0) to (10)",
    )
    running.run_once()
    with psycopg.connect(each_database) as holder:
        holder.execute("lock table busy, root, leaf in access exclusive mode")
        running.start()
        running.execute("insert into t values (1)")
        assert running.events().changes == [created({"id": 1})]


def test_it_stops_in_time_while_its_start_waits_for_a_lock(database: str, connector: Make) -> None:
    """To say what is published, PostgreSQL 18 locks the table; the start says what it waits for, and is tried again."""
    running = connector(database)
    running.execute("create table t (id int primary key)")
    running.run_once()
    with psycopg.connect(database) as holder:
        holder.execute("lock table t in access exclusive mode")
        running.launch()
        running.wait_for(lambda: "lock timeout" in running.log, "a word about the lock")
        assert "another session has a table locked" in running.log
        assert f"held up by public.t (pid {holder.info.backend_pid})" in running.log
        running.stop()
        running.launch()
        running.wait_for(lambda: _waits(running, "t"), "the wait for t")
    running.wait_for(running.streams, "a stream")


def test_ddl_waits_for_the_reading_of_its_own_table_only(database: str, connector: Make, line: Proxy) -> None:
    """A snapshot gives the lock of a table back when it has read it, and never waits for itself behind the application."""
    running = connector(database, "--source", line.url(database), *ONE_BY_ONE)
    running.execute(
        "create table a (id int primary key, v text)",
        "create table b (id int primary key)",
        LARGE,
        "insert into b values (1)",
    )
    with psycopg.connect(database) as holder, psycopg.connect(database) as impatient:
        line.let_through(A_PART, "to_client")
        running.launch()
        running.wait_for(lambda: running.streams() and bool(running.all_events()), "the reading of a")
        holder.execute("lock table b in access exclusive mode")
        line.calm()
        impatient.execute("set lock_timeout = '100s'")
        impatient.execute("truncate a")
        impatient.rollback()
        holder.rollback()
        running.wait_for(running.streams, "a stream")
        assert len(running.events().of("a")) == 20000
        assert running.events().of("b").keys == [{"id": 1}]


def test_it_stops_in_time_while_its_snapshot_waits_for_a_lock(
    database: str, connector: Make, line: Proxy
) -> None:
    """Reading gives up when it is told to, though the server would let it wait for ever."""
    running = connector(database, "--source", line.url(database), *ONE_BY_ONE)
    running.execute(
        "create table a (id int primary key, v text)", "create table b (id int primary key)", LARGE
    )
    with psycopg.connect(database) as holder:
        line.let_through(A_PART, "to_client")
        running.launch()
        running.wait_for(lambda: running.streams() and bool(running.all_events()), "the reading of a")
        holder.execute("lock table b in access exclusive mode")
        line.calm()
        running.wait_for(lambda: _waits(running, "b"), "the wait for b")
        running.wait_for(lambda: "the snapshot waits for public.b" in running.log, "a word about the lock")
        assert str(holder.info.backend_pid) in running.log
        running.stop()


def _waits(connector: Connector, table: str) -> bool:
    locks = "select from pg_locks where relation = %s::regclass and not granted"
    return bool(connector.connection.execute(locks, (table,)).fetchall())
