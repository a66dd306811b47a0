"""Starts that must not happen: refused in time, in one block that says what to do (section H of the cases)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from liberator.testing.servers import Postgres, PostgresServer
from liberator.testing.servers.process import wait_until
from tests.acceptance.connector import PATIENCE, Connector

Make = Callable[..., Connector]

MY_SLOTS = "select slot_name from pg_replication_slots where database = current_database()"
DROP_MY_SLOTS = (
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()"
)


@contextmanager
def role(dsn: str, name: str, attributes: str) -> Iterator[str]:
    """A role of its own and its dsn."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create role {name} login password 'right' {attributes}".encode())
        yield dsn.replace("//postgres@", f"//{name}:right@")
        connection.execute(f"drop owned by {name}".encode())
        connection.execute(f"drop role {name}".encode())


def table(dsn: str, name: str = "t") -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create table {name} (id int primary key, v text)".encode())
        connection.execute(f"insert into {name} values (1, 'one')".encode())


def test_refuses_a_server_that_does_not_write_logical_wal(
    own_postgres: Callable[..., PostgresServer], connector: Make
) -> None:
    """D54"""
    dsn = own_postgres(18, wal_level="replica").database()
    table(dsn)
    words = connector(dsn).refusal()
    assert "logical decoding requires wal_level >= logical" in words
    assert "restart" in words


def test_refuses_to_go_on_without_its_slot(each_database: str, connector: Make) -> None:
    """D55: a new slot would skip what changed meanwhile."""
    table(each_database)
    it = connector(each_database)
    it.run_once()
    it.execute(f"select pg_drop_replication_slot('{it.slot}')")
    code, words = run(it)
    assert code == 3
    assert "checkpoint reset" in words
    assert it.execute(MY_SLOTS) == []


def test_when_needed_starts_anew_without_its_slot(database: str, connector: Make) -> None:
    table(database)
    it = connector(database, "--snapshot", "when_needed")
    assert len(it.run_once()) == 1
    it.execute(f"select pg_drop_replication_slot('{it.slot}')", "insert into t values (2, 'two')")
    events = it.run_once()
    assert [event.op for event in events] == ["t", "r", "r"], "what was deleted meanwhile is told by nobody"
    assert [event.after for event in events[1:]] == [{"id": 1, "v": "one"}, {"id": 2, "v": "two"}]


def test_refuses_a_slot_that_it_has_no_checkpoint_for(database: str, connector: Make) -> None:
    """Invariant 5"""
    table(database)
    it = connector(database)
    it.execute(f"select pg_create_logical_replication_slot('{it.slot}', 'pgoutput')")
    words = it.refusal()
    assert "checkpoint adopt" in words
    assert len(it.execute(MY_SLOTS)) == 1


def test_adopting_the_position_of_the_slot_goes_on_from_it(database: str, connector: Make) -> None:
    table(database)
    it = connector(database)
    it.run_once()
    it.execute("insert into t values (2, 'two')")
    for file in it.folder.glob(".liberator/*"):
        file.unlink()
    assert run(it)[0] == 3
    command(it, "checkpoint", "adopt")
    assert [event.after for event in it.run_once()] == [{"id": 2, "v": "two"}]


def test_a_reset_starts_anew_with_a_snapshot(database: str, connector: Make) -> None:
    table(database)
    it = connector(database)
    it.run_once()
    command(it, "checkpoint", "reset")
    assert it.execute(MY_SLOTS) == []
    assert [event.op for event in it.run_once()] == ["r"]


def test_a_slot_made_beforehand_loses_nothing_and_the_rows_are_read_at_the_first_run(
    database: str, connector: Make
) -> None:
    table(database)
    it = connector(database)
    command(it, "slot", "create")
    it.execute("insert into t values (2, 'two')", "delete from t where id = 1")
    events = it.run_once()
    assert [event.op for event in events] == ["c", "d", "tombstone", "r"]
    assert events[-1].after == {"id": 2, "v": "two"}


def test_refuses_the_position_of_another_database(
    postgres18: Postgres, database: str, connector: Make
) -> None:
    table(database)
    it = connector(database)
    it.run_once()
    other = postgres18.database()
    try:
        table(other)
        it.dsn = other
        code, words = run(it)
    finally:
        postgres18.drop(other)
    assert code == 3
    assert "another database" in words


def test_refuses_a_position_older_than_the_slot(database: str, connector: Make) -> None:
    """A checkpoint restored from a backup: what lies between can't be read again."""
    table(database)
    it = connector(database)
    it.run_once()
    it.execute("insert into t values (2, 'two')")
    it.execute(f"select pg_replication_slot_advance('{it.slot}', pg_current_wal_lsn())")
    code, words = run(it)
    assert code == 3
    assert "older than the slot" in words


def test_stands_by_while_another_session_reads_the_slot_and_never_ends_that(
    database: str, connector: Make
) -> None:
    """D57. A bounded run gives up after half a minute: tests/unit/test_capture.py, and with `soak`
    tests/fault/test_standby.py."""
    table(database)
    first = connector(database).start()
    [[pid]] = first.execute(f"select active_pid from pg_replication_slots where slot_name = '{first.slot}'")
    second = Connector(database, first.folder, first.name, "--publish", "-")
    with closing(second):
        second.launch("--once")
        second.wait_for(lambda: f"active for PID {pid}" in second.log, "the word that it stands by")
        assert second.running
        [[still]] = first.execute(
            f"select active_pid from pg_replication_slots where slot_name = '{first.slot}'"
        )
        assert still == pid
    first.stop()


def test_refuses_a_publication_that_does_not_exist(database: str, connector: Make) -> None:
    """D58"""
    table(database)
    words = connector(
        database, "--publication", "nowhere", "--set", "source.log.publication_autocreate=disabled"
    ).refusal()
    assert "publication nowhere does not exist" in words
    assert "CREATE PUBLICATION" in words


def test_refuses_a_publication_without_tables(database: str, connector: Make) -> None:
    """D58"""
    table(database)
    it = connector(database, "--publication", "empty")
    it.execute("create publication empty")
    assert "no table to capture" in it.refusal()


def test_refuses_a_publication_that_lacks_a_configured_table(database: str, connector: Make) -> None:
    """D58: refused on a first start; with a checkpoint a table that is gone is a warning."""
    table(database)
    table(database, "u")
    it = connector(database, "--publication", "part", "--table", "public.t", "--table", "public.u")
    it.execute("create publication part for table t")
    words = it.refusal()
    assert 'ALTER PUBLICATION "part" ADD TABLE public.u' in words
    it.execute("alter publication part add table u")
    it.run_once()
    it.execute("alter publication part drop table u", "insert into t values (2, 'two')")
    assert len(it.run_once()) == 1
    assert "public.u" in it.log


def test_a_publication_that_somebody_else_made_is_left_as_it_is(database: str, connector: Make) -> None:
    table(database)
    table(database, "u")
    it = connector(database, "--publication", "theirs")
    it.execute("create publication theirs for table t")
    it.run_once()
    assert it.execute("select tablename from pg_publication_tables where pubname = 'theirs'") == [("t",)]


def test_a_role_without_replication_is_told_the_command(database: str, connector: Make, unique: str) -> None:
    """D59"""
    table(database)
    with role(database, unique, "") as dsn:
        words = connector(dsn).refusal()
    assert "REPLICATION" in words
    assert "ALTER ROLE" in words


def test_a_role_without_select_is_told_the_grant(database: str, connector: Make, unique: str) -> None:
    """D59: nothing is left behind; with the grant it works."""
    table(database)
    with role(database, unique, "replication") as dsn:
        it = connector(dsn, "--publication", "theirs")
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute("create publication theirs for table t")
            words = it.refusal()
            assert f'GRANT SELECT ON "public"."t" TO "{unique}"' in words
            assert owner.execute(MY_SLOTS).fetchall() == []
            owner.execute(f"grant select on t to {unique}".encode())
            assert len(it.run_once()) == 1
            owner.execute(DROP_MY_SLOTS)


def test_a_role_without_create_is_told_the_grant(database: str, connector: Make, unique: str) -> None:
    """D59"""
    table(database)
    with role(database, unique, "replication") as dsn:
        words = connector(dsn).refusal()
    assert "GRANT CREATE ON DATABASE" in words
    assert "CREATE PUBLICATION" in words


def test_row_security_that_hides_rows_is_refused(database: str, connector: Make, unique: str) -> None:
    table(database)
    with role(database, unique, "replication") as dsn, psycopg.connect(database, autocommit=True) as owner:
        owner.execute("create publication theirs for table t")
        owner.execute(f"grant select on t to {unique}".encode())
        owner.execute("alter table t enable row level security")
        words = connector(dsn, "--publication", "theirs").refusal()
    assert "BYPASSRLS" in words


def test_a_wrong_password_is_refused_at_once_and_never_shown(
    own_postgres: Callable[..., PostgresServer], connector: Make
) -> None:
    """D59: authentication errors are permanent."""
    server = own_postgres(18)
    dsn = server.database()
    table(dsn)
    server.execute("create role cdc login superuser password 'right'")
    hba = server.data / "pg_hba.conf"
    hba.write_text(
        "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        "host replication all 127.0.0.1/32 scram-sha-256\n"
    )
    server.execute("select pg_reload_conf()")
    assert wait_until(lambda: asks_for_a_password(dsn.replace("//postgres@", "//cdc@")), timeout=PATIENCE)
    words = connector(dsn.replace("//postgres@", "//cdc:wr0ng-s3cret@")).refusal()
    assert "password authentication failed" in words
    assert "wr0ng" not in words


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (["--slot", "My-Slot"], "source.log.slot"),
        (["--set", "source.log.slott=x"], "source.log.slott"),
        (["--set", "source.log.heartbeat=soon"], "source.log.heartbeat"),
        (["--set", "source.url=postgresql://${NO_SUCH_VARIABLE}/x"], "NO_SUCH_VARIABLE"),
    ],
)
def test_a_wrong_configuration_is_refused_before_connecting(
    connector: Make, options: list[str], where: str
) -> None:
    """D60: exit code 2; the address of the database leads nowhere."""
    it = connector("postgresql://127.0.0.1:1/nowhere", *options)
    code, words = run(it)
    assert code == 2
    assert where in words


def asks_for_a_password(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return True
    return False


def run(it: Connector) -> tuple[int, str]:
    """Run it once, whatever comes of it: the exit code and its last words."""
    code = it.launch("--once").wait(PATIENCE)
    return code, it.last_words


def command(it: Connector, *words: str) -> None:
    """Run a command about the connector, as its user would."""
    line = [sys.executable, "-m", "liberator", *words, "--source", it.dsn, "--name", it.name]
    subprocess.run(line, check=True, cwd=it.folder, stdin=subprocess.DEVNULL)


def test_a_table_can_be_read_again_at_a_place_of_the_stream(database: str, connector: Make) -> None:
    table(database)
    table(database, "u")
    it = connector(database)
    it.run_once()
    it.execute("update t set v = 'changed'")
    command(it, "checkpoint", "reset", "--read", "public.t")
    assert [(event.op, event.after) for event in it.run_once()] == [
        ("u", {"id": 1, "v": "changed"}),
        ("r", {"id": 1, "v": "changed"}),
    ]
    assert it.run_once() == []


def test_a_column_list_without_the_key_gives_events_without_a_key(database: str, connector: Make) -> None:
    """Only a publication of inserts may leave the key out; what is not published can't be a key."""
    table(database)
    it = connector(database, "--publication", "part", "--table", "public.t")
    it.execute("create publication part for table t (v) with (publish = 'insert')")
    assert [(event.key, event.after) for event in it.run_once()] == [(None, {"v": "one"})]
    it.execute("insert into t values (2, 'two')")
    assert [(event.key, event.after) for event in it.run_once()] == [(None, {"v": "two"})]
