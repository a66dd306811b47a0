"""The PostgreSQL that other tests stand on: it starts, restarts, survives a kill, dies with its parent."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest

from liberator.testing.servers import Postgres, PostgresServer, ServerError, postgres_bin
from liberator.testing.servers.process import alive, descendants, wait_until


@pytest.fixture(params=[18, 15], ids=["pg18", "pg15"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server for this test alone, on each version in turn."""
    with PostgresServer(postgres_bin(request.param)) as running:
        yield running


def test_decodes_logically(postgres: Postgres) -> None:
    assert postgres.execute("SHOW wal_level") == [("logical",)]


def test_keeps_data_and_port_through_restarts(server: PostgresServer) -> None:
    dsn = server.database("shop")
    server.execute("CREATE TABLE t AS SELECT 1 AS a", dsn)
    for mode in ("fast", "immediate"):
        server.restart(mode)
        assert server.execute("SELECT a FROM t", dsn) == [(1,)]


def test_a_kill_leaves_no_process_and_loses_no_commit(server: PostgresServer) -> None:
    server.execute("CREATE TABLE t AS SELECT 1 AS a")
    processes = [server.pid, *descendants(server.pid)]
    server.kill()
    assert not any(alive(pid) for pid in processes)
    server.start()
    assert server.execute("SELECT a FROM t") == [(1,)]


def test_takes_settings_and_changes_of_them(own_postgres: Callable[..., PostgresServer]) -> None:
    server = own_postgres(18, wal_level="replica", cluster_name="it's")
    assert server.execute("SELECT current_setting('wal_level'), current_setting('cluster_name')") == [
        ("replica", "it's")
    ]
    server.conf["wal_level"] = "logical"
    server.restart()
    assert server.execute("SHOW wal_level") == [("logical",)]


def test_says_why_it_does_not_start() -> None:
    server = PostgresServer(postgres_bin(18), conf={"no_such_setting": 1})
    with pytest.raises(ServerError, match="no_such_setting"):
        server.start()
    server.close()


def test_an_odd_database_name_stays_as_it_is(postgres: Postgres) -> None:
    name = """We"ird/Näme's %41"""
    dsn = postgres.database(name)
    assert postgres.execute("SELECT current_database()", dsn) == [(name,)]
    postgres.drop(dsn)


def test_drops_a_database_with_all_that_holds_it(postgres: Postgres, unique: str) -> None:
    dsn = postgres.database()
    postgres.execute(f"SELECT pg_create_logical_replication_slot('{unique}', 'pgoutput')", dsn)
    postgres.execute("CREATE TABLE t (a int)", dsn)
    postgres.execute(f"BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{unique}'", dsn)
    with psycopg.connect(dsn) as busy:
        postgres.drop(dsn)
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT 1")
    assert postgres.execute(f"SELECT * FROM pg_replication_slots WHERE slot_name = '{unique}'") == []
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        postgres.execute("SELECT 1", dsn)


def test_leaves_no_folder_behind() -> None:
    with PostgresServer(postgres_bin(18)) as server:
        assert server.data.is_dir()
        assert server.log.is_file()
    assert not server.folder.exists()


def test_dies_when_its_parent_is_killed() -> None:
    script = (
        "import time\n"
        "from liberator.testing.servers import PostgresServer, postgres_bin\n"
        "server = PostgresServer(postgres_bin(18)).start()\n"
        "print(server.pid, server.folder, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid, folder = parent.stdout.readline().split()
    processes = [int(pid), *descendants(int(pid))]
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not any(alive(process) for process in processes), timeout=120)
    shutil.rmtree(folder)
