"""Tables that are read later, while the stream runs: what the application does meanwhile holds up neither for long."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from liberator.change import Batch
from liberator.ledger import merge
from liberator.source.log import LogSource
from liberator.source.position import TablePosition
from liberator.source.snapshot import SnapshotBatch
from liberator.testing.servers import PostgresServer
from tests.integration.source.keeping import Keeping, execute

PATIENCE = 120.0


def polled(source: LogSource, enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    """What comes until it is `enough`."""
    batches: list[Batch] = []
    end = time.monotonic() + PATIENCE
    while not enough(batches):
        assert time.monotonic() < end, batches
        batches.append(source.poll(1_000_000, 0.1))
    return batches


def rows(batches: list[Batch]) -> list[bytes]:
    """The rows that a snapshot brought."""
    return [line for batch in batches if isinstance(batch, SnapshotBatch) for line in batch.frames]


def says(batches: list[Batch], text: bytes) -> bool:
    """Did the stream bring a frame with this text?"""
    return any(
        text in frame for batch in batches if not isinstance(batch, SnapshotBatch) for frame in batch.frames
    )


def test_the_stream_flows_while_a_table_to_be_read_is_locked(
    each_database: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL 18 waits for the lock to say what is published, older ones for its holder to make a slot."""
    execute(
        each_database, "create table t (id int primary key, v text)", "create table u (v text primary key)"
    )
    execute(each_database, "insert into t values (1, 'row of t')")
    it = Keeping(each_database, unique, snapshot="never")
    with it.opened():
        pass
    it.state["table:public.t"] = TablePosition(None).encode()
    with psycopg.connect(each_database) as holder, it.opened() as source:
        holder.execute("lock table t in access exclusive mode")
        polled(source, lambda batches: "reading public.t waits for" in caplog.text)
        assert str(holder.info.backend_pid) in caplog.text
        execute(each_database, "insert into u values ('it flows')")
        batches = polled(source, lambda batches: says(batches, b"it flows"))
        assert not rows(batches)
        holder.rollback()
        batches = polled(source, lambda batches: bool(rows(batches)))
        assert rows(batches) == [b"1\trow of t\n"]


def test_the_stream_flows_while_there_is_no_slot_to_spare(
    own_postgres: Callable[..., PostgresServer], unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading later takes a second slot for a moment; a server may have none left for a long time."""
    dsn = own_postgres(18, max_replication_slots=1).database()
    execute(dsn, "create table t (id int primary key, v text)")
    it = Keeping(dsn, unique, snapshot="never")
    with it.opened():
        pass
    it.state["table:public.t"] = TablePosition(None).encode()
    with it.opened() as source:
        polled(source, lambda batches: "reading public.t waits for a free slot" in caplog.text)
        execute(dsn, "insert into t values (1, 'it flows')")
        polled(source, lambda batches: says(batches, b"it flows"))
        assert "max_replication_slots" in caplog.text


def test_what_was_published_before_a_gap_is_taken_back_when_all_is_read_again(
    database: str, unique: str
) -> None:
    """D55, when_needed: nobody tells what was deleted while there was no slot. A kill in the middle changes nothing."""
    execute(
        database, "create table t (id int primary key, v text)", "insert into t values (1, 'a'), (2, 'b')"
    )
    it = Keeping(database, unique, snapshot="when_needed")
    with it.opened() as source:
        batches = polled(source, lambda batches: len(rows(batches)) == 2)
        assert not emptied(batches)
        for batch in [*batches, *polled(source, lambda batches: not source.reading_tables)]:
            merge(it.state, batch.state or {})
    execute(database, f"select pg_drop_replication_slot('{unique}')", "delete from t where id = 1")
    for _ in range(2):
        with it.opened() as source:
            batches = polled(source, lambda batches: bool(rows(batches)))
            assert emptied(batches) == ["public.t"]
            assert rows(batches) == [b"2\tb\n"]


@pytest.mark.parametrize("mode", ["initial", "always"])
def test_a_name_that_is_to_be_emptied_stays_so_until_its_table_is_read(
    mode: str, database: str, unique: str
) -> None:
    """A kill between the finding that a table was made anew and its reading changes nothing, whatever reads it then."""
    execute(database, "create table t (id int primary key, v text)", "insert into t values (1, 'new')")
    it = Keeping(database, unique, snapshot="never")
    with it.opened():
        pass
    it.state["table:public.t"] = TablePosition(0x10, oid=1).encode()
    for _ in range(2):
        with it.opened(snapshot=mode) as source:
            batches = polled(source, lambda batches: bool(rows(batches)))
            assert emptied(batches) == ["public.t"]
            assert rows(batches) == [b"1\tnew\n"]


def test_a_heartbeat_query_that_waits_for_a_lock_holds_up_nothing(
    database: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, "create table beat (n int primary key)", "create table t (v text primary key)")
    execute(database, "insert into beat values (1)")
    it = Keeping(
        database, unique, snapshot="never", heartbeat=0.2, heartbeat_query="update public.beat set n = n"
    )
    with psycopg.connect(database) as holder, it.opened() as source:
        holder.execute("update beat set n = n")
        polled(source, lambda batches: "the heartbeat query waits for a lock" in caplog.text)
        execute(database, "insert into t values ('it flows')")
        polled(source, lambda batches: says(batches, b"it flows"))


def emptied(batches: list[Batch]) -> list[str]:
    """The tables that are emptied, in front of any row."""
    names = []
    for batch in batches:
        if isinstance(batch, SnapshotBatch) and batch.afresh and batch.table is not None:
            assert not rows(batches[: batches.index(batch)])
            names.append(batch.table.qualified)
    return names
