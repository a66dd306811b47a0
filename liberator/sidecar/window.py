"""The ids of events that were published, for as long as clients may send them again: a SQLite file.

Enters: ids with a digest of their event, by group. Leaves: what is known of an id. Called by the writer, in its thread. On
the disk when a method returns. One process at a time: a second one is refused.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from liberator.errors import PreconditionError

_FORMAT = 1
_TABLES = """
CREATE TABLE events (
    id BLOB PRIMARY KEY, digest BLOB NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX events_at ON events (at);
CREATE INDEX events_number ON events (number);
"""
_ASK_AT_ONCE = 500
"""Ids in one question."""

_FORGET_AT_ONCE = 5_000
"""Rows, so that nobody waits for long."""


class Window:
    """name: that no other window has. path: of the file. ttl: seconds for which an id is remembered at least. now: seconds
    since the Unix epoch.

    Raises `PreconditionError`: sidecar.ids_in_use, sidecar.ids_foreign, sidecar.ids_failed (disk full, file damaged).
    """

    def __init__(self, path: Path, ttl: float, now: Callable[[], float] = time.time) -> None:
        self._path, self._ttl, self._now = path, ttl, now
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=0.5)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        version = execute("PRAGMA user_version").fetchone()[0]
        tables = execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables == 0:
            name = random.SystemRandom().randrange(1, 1 << 31)
            self._connection.executescript(
                f"BEGIN;{_TABLES}PRAGMA application_id = {name};PRAGMA user_version = {_FORMAT};COMMIT;"
            )
        elif version != _FORMAT:
            raise self._unusable("ids_foreign", "the file is no file of ids, or one of another version")
        self.name: int = execute("PRAGMA application_id").fetchone()[0]

    def known(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """The digests of those ids that are remembered."""
        found: dict[bytes, bytes] = {}
        with self._errors():
            for start in range(0, len(ids), _ASK_AT_ONCE):
                asked = ids[start : start + _ASK_AT_ONCE]
                marks = ",".join("?" * len(asked))
                statement = f"SELECT id, digest FROM events WHERE id IN ({marks})"
                found.update(self._connection.execute(statement, asked))
        return found

    def remember(self, events: Iterable[tuple[bytes, bytes]], number: int) -> None:
        """Ids and digests of a group."""
        now = int(self._now())
        rows = [(id, digest, number, now) for id, digest in events]
        with self._errors(), self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)", rows)

    def last(self) -> int:
        """The number of the last group; 0: there is none."""
        with self._errors():
            return int(self._connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])

    def forget_after(self, number: int) -> int:
        """Forget the groups behind `number`, which did not become durable. How many ids those were."""
        with self._errors(), self._transaction() as connection:
            return connection.execute("DELETE FROM events WHERE number > ?", (number,)).rowcount

    def forget_old(self) -> bool:
        """Forget some of those that are older than the time to live. True: there are more."""
        limit = int(self._now() - self._ttl)
        statement = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ? LIMIT ?)"
        with self._errors(), self._transaction() as connection:
            return connection.execute(statement, (limit, _FORGET_AT_ONCE)).rowcount == _FORGET_AT_ONCE

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                what = "another process uses this file of ids"
                raise self._unusable("ids_in_use", what, "give each sidecar a name of its own") from error
            raise self._unusable("ids_failed", f"the file of ids can't be used: {error}") from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._unusable("ids_failed", f"the file of ids can't be used: {error}") from error

    def _unusable(self, code: str, what: str, fix: str | None = None) -> PreconditionError:
        fix = fix or "name another file in idempotency.file, or look at its disk"
        return PreconditionError(what, code=f"sidecar.{code}", where=str(self._path), fix=fix)
