"""The ids of events that a function has done: in a SQLite file, or in a table of PostgreSQL that several machines share.

Enters: ids. Leaves: which of them are known. Called by `idempotent`, in the loop's thread. An id is forgotten after `ttl`
seconds, at the next opportunity.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from liberator.errors import FunctionError
from liberator.sqlite import make_durable

_BUSY = 5.0
"""Seconds to wait for another process that writes to the same file."""

_FORGET_EVERY = 600.0
_AT_ONCE = 500
"""Ids in one question to SQLite."""

_SQLITE = """
CREATE TABLE IF NOT EXISTS done (
    connector TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (connector, id)) WITHOUT ROWID
"""
_POSTGRES = """
CREATE TABLE IF NOT EXISTS liberator_done (
    connector text NOT NULL, id text NOT NULL, at double precision NOT NULL, PRIMARY KEY (connector, id))
"""


class SqliteIds:
    """See `idempotent.DoneIds`. connector: whose ids. ttl: seconds."""

    def __init__(self, path: Path, connector: str, ttl: float) -> None:
        self._connector, self._ttl, self._where = connector, ttl, f"sqlite:{path}"
        self._forget_at = 0.0
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY)
            make_durable(self._connection, _BUSY)
            with self._connection:
                self._connection.execute(_SQLITE)

    def known(self, ids: Collection[str]) -> set[str]:
        """Those of them that are remembered."""
        wanted, found, since = list(ids), set[str](), time.time() - self._ttl
        with self._errors():
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                places = ",".join("?" * len(part))
                rows = self._connection.execute(
                    f"SELECT id FROM done WHERE connector = ? AND at >= ? AND id IN ({places})",
                    (self._connector, since, *part),
                )
                found.update(row[0] for row in rows)
        return found

    def remember(self, ids: Collection[str]) -> None:
        """Durable when it returns."""
        now = time.time()
        with self._errors(), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO done VALUES (?, ?, ?)", [(self._connector, id, now) for id in ids]
            )
            if now >= self._forget_at:
                self._forget_at = now + _FORGET_EVERY
                self._connection.execute(
                    "DELETE FROM done WHERE connector = ? AND at < ?", (self._connector, now - self._ttl)
                )

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise _failure(self._where, str(error)) from error


class PostgresIds:
    """See `idempotent.DoneIds`. connector: whose ids. ttl: seconds."""

    def __init__(self, url: str, connector: str, ttl: float) -> None:
        self._connector, self._ttl = connector, ttl
        self._forget_at = 0.0
        with self._errors():
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
            if self._connection.execute("SELECT to_regclass('liberator_done')").fetchone() == (None,):
                self._connection.execute(_POSTGRES)

    def known(self, ids: Collection[str]) -> set[str]:
        """Those of them that are remembered."""
        with self._errors():
            rows = self._connection.execute(
                "SELECT id FROM liberator_done WHERE connector = %s AND at >= %s AND id = ANY(%s)",
                (self._connector, time.time() - self._ttl, list(ids)),
            )
            return {row[0] for row in rows}

    def remember(self, ids: Collection[str]) -> None:
        """Durable when it returns."""
        now = time.time()
        with self._errors():
            self._connection.execute(
                "INSERT INTO liberator_done SELECT %s, unnest(%s::text[]), %s"
                " ON CONFLICT (connector, id) DO UPDATE SET at = excluded.at",
                (self._connector, sorted(ids), now),
            )
            if now >= self._forget_at:
                self._forget_at = now + _FORGET_EVERY
                self._connection.execute(
                    "DELETE FROM liberator_done WHERE connector = %s AND at < %s",
                    (self._connector, now - self._ttl),
                )

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise _failure("PostgreSQL", type(error).__name__) from error


def _failure(where: str, why: str) -> FunctionError:
    return FunctionError(
        f"the ids of what is done can't be kept: {why}",
        code="function.idempotency",
        where=where,
        fix="correct policy.idempotency.store, or make it reachable",
        retryable=True,
    )
