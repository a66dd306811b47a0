"""Snapshots under load and under kill -9: no gap, no stale row, finished tables are not read again."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from liberator.testing.oracle import assert_complete
from liberator.testing.servers import Postgres
from tests.acceptance.connector import PATIENCE
from tests.fault.conftest import FaultConnector, SlowedConnector
from tests.fault.writers import TABLES, Writers, prepare

Make = Callable[..., FaultConnector]
Slow = Callable[..., SlowedConnector]

MY_SLOTS = "select slot_name from pg_replication_slots where database = current_database()"
DROP_MY_SLOTS = (
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()"
)
SOAK = os.environ.get("LIBERATOR_SOAK") == "1"
SEEDS = range(100 if SOAK else 5)
ROWS = 1_000_000 if SOAK else 20_000


@pytest.mark.parametrize("seed", SEEDS)
def test_the_hand_over_from_snapshot_to_stream_under_writers(
    seed: int, postgres18: Postgres, postgres15: Postgres, connector: Make
) -> None:
    """D46: four writers insert, update, delete and change keys during snapshot and hand-over."""
    server = postgres15 if seed % 2 else postgres18
    dsn = server.database()
    prepare(dsn, ROWS)
    it = connector(dsn)
    with Writers(dsn, seed):
        it.start()
        it.wait_for(lambda: any(event.op != "r" for event in it.all_events()), "the stream")
        time.sleep(0.5)
    it.stop()
    it.run_once()
    assert_complete(it.lines(), dsn, TABLES)
    it.close()
    server.drop(dsn)


def test_a_transaction_open_while_the_slot_is_made_comes_exactly_once(
    each_database: str, connector: Make
) -> None:
    """D47: making the slot waits for it, and the log names who is waited for."""
    prepare(each_database, 10)
    it = connector(each_database)
    with psycopg.connect(each_database) as writer:
        writer.execute("insert into account values (777, 'open', 1, null)")
        process = it.launch("--once")
        it.wait_for(lambda: "transactions that run now" in it.log, "the warning")
        assert str(writer.info.backend_pid) in it.log
    assert process.wait(PATIENCE) == 0
    assert [event.op for event in it.all_events() if event.key == {"id": 777}] == ["r"]
    assert_complete(it.lines(), each_database, TABLES)


def test_a_snapshot_that_cannot_get_its_slot_leaves_none_when_it_is_stopped(
    database: str, connector: Make
) -> None:
    prepare(database, 10)
    it = connector(database)
    with psycopg.connect(database) as writer:
        writer.execute("insert into account values (777, 'open', 1, null)")
        process = it.launch()
        it.wait_for(lambda: "transactions that run now" in it.log, "the warning")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert it.execute(MY_SLOTS) == []
    it.run_once()
    assert_complete(it.lines(), database, TABLES)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_snapshot_killed_in_the_middle_goes_on_without_reading_finished_tables_again(
    part: float, database: str, slowed: Slow
) -> None:
    """D48: a table that was being read is read again, at a later place of the stream."""
    rows = ROWS
    with psycopg.connect(database, autocommit=True) as connection:
        for number in range(5):
            connection.execute(f"create table t{number} (id int primary key, v text)".encode())
            connection.execute(
                f"insert into t{number} select g, repeat('v', 50) from generate_series(1, {rows}) g".encode()
            )
    it = slowed(database)
    read = int(5 * rows * part)
    it.is_killed_after(
        62 * read, read - 5_000
    )  # bytes; what is under way between the two is a few thousand rows
    finished = it.finished_tables()
    with psycopg.connect(database, autocommit=True) as connection:
        for number in range(5):
            connection.execute(f"delete from t{number} where id % 10 = 0".encode())
            connection.execute(f"update t{number} set v = 'changed' where id % 10 = 1".encode())
    it.run_once()
    tables = [f"public.t{number}" for number in range(5)]
    assert_complete(it.lines(), database, tables, complete=False)
    reads = Counter(
        event.value["source"]["table"] for event in it.all_events() if event.value and event.op == "r"
    )
    assert finished or part < 0.9
    for table in finished:
        assert reads[table] == rows, f"{table} was finished and read again"


def test_a_table_without_a_key_that_is_read_again_is_emptied_first(database: str, slowed: Slow) -> None:
    """Rows that come again could not be told from new ones without a key."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table journal (at int, line text)")
        connection.execute(
            "insert into journal select g, repeat('line ', 30) from generate_series(1, 20000) g"
        )
        it = slowed(database)
        it.is_killed_after(1_000_000, 1000)
        connection.execute("insert into journal values (0, 'while it was down'), (0, 'while it was down')")
    it.run_once()
    assert_complete(it.lines(), database, ["public.journal"], complete=False)


def test_it_stops_in_time_while_what_is_to_be_read_again_is_locked(
    each_database: str, connector: Make
) -> None:
    """It says whom it waits for, at the start (PostgreSQL 18) or when the rows are to be read, and gives up when told to."""
    prepare(each_database, 10)
    it = connector(each_database)
    it.run_once()
    it.have_read_again("public.account")
    with psycopg.connect(each_database) as holder:
        holder.execute("lock table account in access exclusive mode")
        it.launch()
        it.wait_for(lambda: str(holder.info.backend_pid) in it.log, "a word about the lock")
        it.stop()
    it.run_once()
    assert_complete(it.lines(), each_database, TABLES)


def test_what_is_to_be_read_survives_a_connection_that_is_lost_before(
    each_database: str, connector: Make
) -> None:
    """A stream that is opened again knows what the last opening found to be read, though no batch has said so."""
    prepare(each_database, 10)
    it = connector(each_database, "--snapshot", "always")
    it.run_once()
    with psycopg.connect(each_database) as writer:
        writer.execute("insert into account values (777, 'open', 1, null)")
        process = it.launch("--once")
        it.wait_for(lambda: "transactions that run now" in it.log, "the wait for a slot")
        it.execute(
            "select pg_terminate_backend(active_pid, 60000) from pg_replication_slots"
            f" where slot_name = '{it.slot}' and active_pid is not null"
        )
    assert process.wait(PATIENCE) == 0
    assert "trying again" in it.log
    reads = Counter(event.id for event in it.all_events() if event.op == "r")
    assert len(reads) == 20 + 21
    assert_complete(it.lines(), each_database, TABLES)


def test_a_finished_snapshot_needs_no_right_to_read_any_more(
    database: str, connector: Make, unique: str
) -> None:
    """D49"""
    prepare(database, 10)
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(f"create role {unique} login replication".encode())
        owner.execute(f"grant select on all tables in schema public to {unique}".encode())
        owner.execute("create publication theirs for all tables")
        it = connector(database.replace("//postgres@", f"//{unique}@"), "--publication", "theirs")
        assert len(it.run_once()) == 20
        owner.execute(f"revoke select on all tables in schema public from {unique}".encode())
        owner.execute("insert into account values (777, 'later', 1, null)")
        assert [event.op for event in it.run_once()] == ["c"]
        owner.execute(DROP_MY_SLOTS)
        owner.execute(f"drop owned by {unique}".encode())
        owner.execute(f"drop role {unique}".encode())


def test_always_reads_all_tables_again_at_every_start_and_rows_never_go_backwards(
    database: str, connector: Make
) -> None:
    prepare(database, 2000)
    it = connector(database, "--snapshot", "always")
    it.run_once()
    with Writers(database, 1, sessions=2):
        time.sleep(1)
    it.run_once()
    assert_complete(it.lines(), database, TABLES)
    reads = Counter(event.id for event in it.all_events() if event.op == "r")
    assert len(reads) > 4000
    assert set(reads.values()) == {1}


def test_initial_only_reads_once_and_leaves_no_slot(database: str, connector: Make) -> None:
    prepare(database, 100)
    it = connector(database, "--snapshot", "initial_only")
    code = it.launch().wait(PATIENCE)
    assert code == 0
    assert len(it.all_events()) == 200
    assert it.execute(MY_SLOTS) == []
    assert it.launch().wait(PATIENCE) == 0
    assert len(it.all_events()) == 200


def test_never_streams_without_the_rows_that_are_there(database: str, connector: Make) -> None:
    prepare(database, 100)
    it = connector(database, "--snapshot", "never").start()
    it.execute("insert into account values (777, 'new', 1, null)")
    assert [event.op for event in it.events()] == ["c"]


def test_a_table_that_is_rewritten_during_the_snapshot_is_read_whole(database: str, slowed: Slow) -> None:
    """An old snapshot shows a rewritten table empty: such a table is read under a newer one."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table a_first (id int primary key, v text)")
        connection.execute("insert into a_first select g, repeat('v', 100) from generate_series(1, 30000) g")
        connection.execute("create table b_second (id int primary key, v int)")
        connection.execute("insert into b_second select g, g from generate_series(1, 500) g")
        it = slowed(database)
        process = it.reads(1_000_000, 1000, "--once")
        connection.execute("alter table b_second alter column v type bigint using v * 2")
        it.goes_on()
    assert process.wait(PATIENCE) == 0
    assert "rewritten" in it.log
    assert_complete(it.lines(), database, ["public.a_first", "public.b_second"])
