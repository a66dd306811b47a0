"""Slots that the server gave up, and servers that have none to give: never a silent gap, always a way out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import psycopg
import pytest

from liberator.testing.oracle import assert_complete
from liberator.testing.servers import PostgresServer, postgres_bin
from tests.acceptance.connector import PATIENCE
from tests.fault.conftest import FaultConnector
from tests.fault.writers import TABLES, prepare

Make = Callable[..., FaultConnector]


@pytest.fixture(scope="module", params=[18, 15], ids=["pg18", "pg15"])
def forgetful(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server that keeps 16 MB of WAL for a slot, and no more."""
    conf = {"max_slot_wal_keep_size": "16MB", "max_wal_size": "32MB"}
    with PostgresServer(postgres_bin(request.param), conf=conf) as server:
        yield server


@pytest.fixture(scope="module")
def poor() -> Iterator[PostgresServer]:
    """A server that has a single slot, a single walsender and few connections."""
    conf = {"max_replication_slots": 1, "max_wal_senders": 1, "max_connections": 12}
    with PostgresServer(postgres_bin(18), conf=conf) as server:
        yield server


@pytest.fixture
def scarce(poor: PostgresServer) -> Iterator[str]:
    """The dsn of a database on the poor server."""
    dsn = poor.database()
    prepare(dsn, 10)
    yield dsn
    poor.drop(dsn)


def invalidate(server: PostgresServer, slot: str) -> None:
    """Write WAL until the server has removed what the slot needs."""
    for _ in range(20):
        server.execute("select pg_logical_emit_message(false, 'filler', 'x'), pg_switch_wal()")
        server.execute("checkpoint")
        status = server.execute(f"select wal_status from pg_replication_slots where slot_name = '{slot}'")
        if status == [("lost",)]:
            return
    raise AssertionError(f"the slot is still {status}")


def test_a_slot_lost_while_it_was_stopped_is_refused_with_the_way_out(
    forgetful: PostgresServer, connector: Make
) -> None:
    """D56"""
    dsn = forgetful.database()
    prepare(dsn, 10)
    it = connector(dsn)
    it.run_once()
    invalidate(forgetful, it.slot)
    assert it.launch("--once").wait(PATIENCE) == 3
    assert "trying again" not in it.log
    assert "source.slot_lost" in it.last_words
    assert "max_slot_wal_keep_size" in it.last_words
    assert "checkpoint reset" in it.last_words
    assert "new snapshot" in it.last_words


def test_a_slot_lost_under_a_running_connector_ends_it(forgetful: PostgresServer, connector: Make) -> None:
    """D56: the server ends its walsender."""
    dsn = forgetful.database()
    prepare(dsn, 10)
    it = connector(dsn).start()
    it.events()
    it.freeze()
    invalidate(forgetful, it.slot)
    it.thaw()
    assert it.ended(PATIENCE) == 3
    assert it.log.count("trying again") <= 1, "the stream that was lost, and not the slot"
    assert "source.slot_lost" in it.last_words
    assert "new snapshot" in it.last_words


def test_when_needed_a_lost_slot_is_answered_with_a_new_snapshot(
    forgetful: PostgresServer, connector: Make
) -> None:
    """D56: what was deleted in between is deleted in the stream as well, since the tables are emptied there first."""
    dsn = forgetful.database()
    prepare(dsn, 10)
    it = connector(dsn, "--snapshot", "when_needed")
    it.run_once()
    it.execute("insert into account values (777, 'missed', 1, null)", "delete from account where id = 3")
    invalidate(forgetful, it.slot)
    assert Counter(event.op for event in it.run_once()) == {"t": 2, "r": 20}
    assert "starting anew with a snapshot" in it.log
    it.execute("insert into account values (778, 'streamed', 1, null)")
    it.run_once()
    assert_complete(it.lines(), dsn, TABLES)


def waits_for(it: FaultConnector, *what: str) -> None:
    """It says what is missing and which setting would give more, and tries again."""
    it.launch("--once")
    it.wait_for(lambda: it.log.count("trying again") >= 2, "another attempt")
    for word in what:
        assert word in it.log


def gets_it(it: FaultConnector) -> None:
    """What was missing is there: it does its work."""
    assert it.ended(PATIENCE) == 0
    assert len(it.all_events()) == 20


def test_waits_for_a_free_slot(poor: PostgresServer, scarce: str, connector: Make) -> None:
    """D61"""
    it = connector(scarce)
    poor.execute("select pg_create_physical_replication_slot('taken')")
    try:
        waits_for(it, "all replication slots are in use", "max_replication_slots")
    finally:
        poor.execute("select pg_drop_replication_slot('taken')")
    gets_it(it)


def test_waits_for_a_free_walsender(scarce: str, connector: Make) -> None:
    """D61"""
    it = connector(scarce)
    with psycopg.connect(scarce, replication="database", autocommit=True):
        waits_for(it, "max_wal_senders")
    gets_it(it)


def test_waits_for_a_free_connection(scarce: str, connector: Make) -> None:
    """D61"""
    it = connector(scarce)
    with ExitStack() as taken:
        with suppress(psycopg.OperationalError):
            while True:
                taken.enter_context(psycopg.connect(scarce))
        waits_for(it, "too many clients", "max_connections")
    gets_it(it)


@pytest.mark.soak
def test_gives_up_after_a_minute_without_a_slot(poor: PostgresServer, scarce: str, connector: Make) -> None:
    """D61: the limit itself is also tested in tests/unit/test_capture.py."""
    it = connector(scarce)
    poor.execute("select pg_create_physical_replication_slot('taken')")
    started = time.monotonic()
    try:
        assert it.launch().wait(60 + PATIENCE) == 3
    finally:
        poor.execute("select pg_drop_replication_slot('taken')")
    assert time.monotonic() - started > 55
    assert "max_replication_slots" in it.last_words
