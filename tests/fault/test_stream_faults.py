"""The stream under kill -9, restarts of the server and signals: nothing lost, duplicates under the same id."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from liberator.testing.oracle import assert_complete
from liberator.testing.servers import PostgresServer
from tests.acceptance.connector import PATIENCE
from tests.fault.conftest import FaultConnector
from tests.fault.writers import TABLES, Writers, prepare

Make = Callable[..., FaultConnector]

SOAK = os.environ.get("LIBERATOR_SOAK") == "1"
KILLS = 200 if SOAK else 30


@pytest.mark.parametrize("snapshot_first", [True, False], ids=["stream", "from-the-start"])
def test_killed_again_and_again_while_changes_flow(
    snapshot_first: bool, database: str, connector: Make
) -> None:
    """D63: kill -9 at random moments; from the start also before the slot is made and inside the snapshot."""
    prepare(database, 5000)
    chance = random.Random(63)
    it = connector(database, "--set", "source.log.heartbeat=200ms")
    if snapshot_first:
        it.run_once()
    with Writers(database, 63, sessions=2, pause=0.002):
        for _ in range(KILLS // 2):
            process = it.launch()
            time.sleep(chance.uniform(0.2, 1.6))
            assert process.poll() is None, it.log[-3000:]
            process.kill()
            process.wait()
    it.run_once()
    assert_complete(it.lines(), database, TABLES, complete=snapshot_first)


def test_a_transaction_cut_in_the_middle_comes_whole_after_a_restart(database: str, connector: Make) -> None:
    """D64"""
    prepare(database, 0)
    it = connector(database)
    it.run_once()
    it.execute("insert into ledger select 1, g, g, null from generate_series(1, 50) g")
    assert it.launch("--max-events", "20").wait(PATIENCE) == 0
    assert len(it.all_events()) == 20
    it.run_once()
    assert {event.key["nr"] for event in it.all_events()} == set(range(1, 51))
    assert_complete(it.lines(), database, TABLES)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_the_server_is_survived_within_30_seconds(
    mode: str, own_postgres: Callable[..., PostgresServer], connector: Make
) -> None:
    """D65"""
    server = own_postgres(18, fsync="on", synchronous_commit="on")
    dsn = server.database()
    prepare(dsn, 100)
    it = connector(dsn).start()
    with Writers(dsn, 65, sessions=2, pause=0.01):
        time.sleep(1)
        server.restart(mode)
        time.sleep(1)
    it.close_connection()
    it.execute("insert into account values (777, 'after', 1, null)")
    it.wait_for(
        lambda: any(event.key == {"id": 777} for event in it.all_events()), "the change after the restart"
    )
    assert it.running
    it.stop()
    it.run_once()
    assert_complete(it.lines(), dsn, TABLES)


def test_a_terminated_walsender_is_replaced(database: str, connector: Make) -> None:
    """D65"""
    prepare(database, 100)
    it = connector(database).start()
    with Writers(database, 65, sessions=2, pause=0.01):
        for _ in range(3):
            time.sleep(0.5)
            it.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots"
                f" where slot_name = '{it.slot}' and active_pid is not null"
            )
    it.events()
    it.stop()
    assert_complete(it.lines(), database, TABLES)


def test_a_catalogue_connection_that_is_lost_when_it_is_needed(database: str, connector: Make) -> None:
    """The first row of a new shape makes the connector ask the catalogue."""
    prepare(database, 10)
    it = connector(database, "--set", "source.log.heartbeat=1h").start()  # nothing else asks the catalogue
    it.events()
    it.freeze()
    it.execute(
        "alter table account add column extra int", "insert into account values (777, 'new', 1, null, 7)"
    )
    ended = it.execute(
        "select pg_terminate_backend(pid, 60000) from pg_stat_activity"
        f" where application_name = '{it.name}' and backend_type = 'client backend' and query ilike 'select%'"
    )
    assert ended == [(True,)]
    it.thaw()
    assert it.events()[-1].row["extra"] == 7
    assert "looking up public.account" in it.log


def test_sigterm_drains_saves_and_leaves_with_0(database: str, connector: Make) -> None:
    """D68"""
    prepare(database, 100)
    it = connector(database).start()
    with Writers(database, 68, sessions=2):
        time.sleep(1)
        it.stop()
    published = len(it.all_events())
    it.execute("insert into account values (777, 'after', 1, null)")
    it.run_once()
    assert_complete(it.lines(), database, TABLES)
    ids = [event.id for event in it.all_events()]
    assert len(ids) == len(set(ids)), "a clean stop publishes nothing twice"
    assert published < len(ids)


def test_a_second_signal_ends_at_once(database: str, connector: Make) -> None:
    """D68: while the way out takes its time because nobody reads the pipe."""
    prepare(database, 100_000)
    it = connector(database, "--publish", "-")
    process = it.launch_into_a_full_pipe()
    process.send_signal(signal.SIGTERM)
    it.wait_for(lambda: is_restored(process.pid, signal.SIGTERM), "the first one's effect")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == -signal.SIGTERM
    assert process.stdout is not None
    process.stdout.close()


def is_restored(pid: int, number: signal.Signals) -> bool:
    """Would this signal do what it does to a process that takes no care of it?"""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return not caught & 1 << (number - 1)


def test_an_idle_database_stays_idle(database: str, connector: Make) -> None:
    """Idle CPU is at most a few per cent: nothing polls in a hurry."""
    prepare(database, 0)
    it = connector(database).start()
    it.is_quiet(0.15, 3.0)


def test_a_stalled_reader_does_not_keep_the_server_from_shutting_down(
    own_postgres: Callable[..., PostgresServer], connector: Make
) -> None:
    """Invariant 8: a walsender waits for its reader at a fast shutdown, so the stream is closed."""
    server = own_postgres(18, wal_sender_timeout="1h")  # by then the server would shut down without it
    dsn = server.database()
    prepare(dsn, 100_000)
    it = connector(dsn, "--publish", "-")
    process = it.launch_into_a_full_pipe()
    it.execute("insert into ledger select 9, g, g, repeat('m', 1000) from generate_series(1, 50000) g")
    it.close_connection()
    time.sleep(1)
    server.restart("fast", PATIENCE)
    assert process.poll() is None, it.log[-2000:]
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
