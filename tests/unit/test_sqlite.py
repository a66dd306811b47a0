"""A SQLite file that several open at the same moment."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liberator.sqlite import make_durable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads a file that is not yet written ahead: for its change of mode SQLite never waits."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM t").fetchall()
        yield connection


def test_the_other_is_waited_for(other: sqlite3.Connection, path: Path) -> None:
    release = threading.Timer(0.2, other.execute, ["COMMIT"])
    release.start()
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        make_durable(connection, patience=60)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    release.join()


def test_not_for_longer_than_the_patience(other: sqlite3.Connection, path: Path) -> None:
    with (
        closing(sqlite3.connect(path, timeout=0)) as connection,
        pytest.raises(sqlite3.OperationalError, match="database is locked"),
    ):
        make_durable(connection, patience=0.1)
