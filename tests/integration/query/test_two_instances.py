"""Two instances of one connector that queries: one reads, the other stands by and goes on from what the first had saved."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from liberator.errors import PreconditionError
from liberator.source.query.postgres import PostgresDatabase
from liberator.source.query.sql_alchemy import SqlAlchemyDatabase
from liberator.testing.publisher import MemoryPublisher
from liberator.testing.servers import MariaDb
from tests.integration.query.conftest import MakeLooks, Session
from tests.integration.query.reading import Running, keys, seen, until


def of_postgres(url: str) -> PostgresDatabase:
    return PostgresDatabase(
        url, "test", statement_timeout=10, wants=lambda schema, table: True, stop=threading.Event()
    )


def of_mariadb(url: str) -> SqlAlchemyDatabase:
    return SqlAlchemyDatabase(
        url,
        statement_timeout=10,
        wants=lambda schema, table: True,
        default_schema="x",
        default_only=True,
        stop=threading.Event(),
    )


def test_postgres_lets_one_session_read_under_a_name(database: str) -> None:
    check_that_one_reads(lambda: of_postgres(database))


def test_mariadb_lets_one_session_read_under_a_name(mariadb: MariaDb) -> None:
    url = mariadb.database()
    check_that_one_reads(lambda: of_mariadb(url))
    mariadb.drop(url)


def check_that_one_reads(make: Callable[[], PostgresDatabase | SqlAlchemyDatabase]) -> None:
    with closing(make()) as first, closing(make()) as second:
        first.open()
        second.open()
        first.claim("shop")
        with pytest.raises(
            PreconditionError, match=r"another instance .* \(session \d+ of the server\)"
        ) as caught:
            second.claim("shop")
        assert (caught.value.code, caught.value.retryable, caught.value.exit_code) == (
            "source.in_use",
            True,
            3,
        )
        second.claim("another")
        first.close()
        second.claim("shop")


def test_the_second_instance_stands_by_and_goes_on_behind_what_the_first_saved(
    looks: MakeLooks, db: Session, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute("create table t (id int primary key); insert into t values (1), (2)")
    it = looks("public.t", poll_interval="50ms")
    first, second = MemoryPublisher(), MemoryPublisher()
    with Running(it.connector(first, once=False)) as working:
        until(lambda: len(first.events) == 2, "the first does not read")
        with Running(it.connector(second, once=False)):
            until(lambda: "runs already" in caplog.text, "the second does not stand by")
            working.connector.capture.stop()
            until(lambda: first.closed, "the first does not end")  # until then it may read what comes now
            db.execute("insert into t values (3)")
            until(lambda: len(second.events) > 0, "the second does not take over")
    assert keys([seen(event) for event in second.events]) == [3]


def test_the_lock_of_a_connection_that_was_lost_is_free_again(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key)")
    it = looks("public.t", poll_interval="50ms")
    publisher = MemoryPublisher()
    with Running(it.connector(publisher, once=False)):
        until(lambda: locks(db) == 1, "it has no lock")
        db.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
        db.execute("insert into t values (1)")
        until(lambda: len(publisher.events) == 1, "it does not go on")
        assert locks(db) == 1
    until(lambda: locks(db) == 0, "the lock stays")


def locks(db: Session) -> int:
    """Advisory locks in this database."""
    [(count,)] = db.execute(
        "select count(*) from pg_locks where locktype = 'advisory' and granted"
        " and database = (select oid from pg_database where datname = current_database())"
    ).fetchall()
    return int(count)


def test_a_try_without_a_name_reads_beside_a_running_instance(
    looks: MakeLooks, database: str, db: Session
) -> None:
    import liberator

    db.execute("create table t (id int primary key); insert into t values (1)")
    it = looks("public.t", poll_interval="50ms")
    publisher = MemoryPublisher()
    with Running(it.connector(publisher, once=False)):
        until(lambda: len(publisher.events) == 1, "it does not read")
        for batch in liberator.stream(database, mode="query", tables=["public.t"], once=True):
            assert [change.after for change in batch.changes] == [{"id": 1}]
            batch.ack()
