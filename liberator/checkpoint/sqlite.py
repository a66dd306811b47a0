"""Positions in a SQLite file: durable, atomic, several connectors in one file.

Enters: deltas and epochs. Leaves: states. Called by the capture loop and by `liberate checkpoint`. Never trusts what
it reads: every value carries a checksum, the file a version, and SQLite checks its own pages at every open.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from liberator.change import State
from liberator.checkpoint.format import FORMAT, Saved, check_version, checksum, corrupt, fenced
from liberator.errors import CheckpointError
from liberator.sqlite import make_durable

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_BUSY = 10.0
"""Seconds to wait for another writer of the same file."""

_TABLES = """
CREATE TABLE epochs (connector TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (
    connector TEXT NOT NULL, partition TEXT NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL,
    saved_at TEXT NOT NULL, PRIMARY KEY (connector, partition)) WITHOUT ROWID;
"""
_PASSES = ("locked", "busy", "full")
"""Words of SQLite's errors that pass when somebody else is done, or makes room."""


class SqliteCheckpoint:
    """The positions of connector `name` in the file at `path`; folders are made with the first write.

    Raises `CheckpointError`: checkpoint.corrupt, checkpoint.version (a format from the future), checkpoint.fenced,
    checkpoint.foreign (somebody else's SQLite file), checkpoint.unavailable (retryable when another process writes,
    or the disk is full).
    """

    def __init__(self, path: str | Path, name: str) -> None:
        self._path, self._name = Path(path), name
        self._connection: sqlite3.Connection | None = None
        self._epoch: int | None = None

    def acquire(self) -> int:
        """Become the writer: a new epoch, greater than all before."""
        self._epoch = self._in_transaction(self._next_epoch)
        return self._epoch

    def load(self) -> State:
        """All partitions as last saved; none when there is no file."""
        return {partition: value for partition, value, _ in self.describe()}

    def glance(self) -> State:
        """As `load`: nothing here is ever waited for."""
        return self.load()

    def save(self, delta: State, epoch: int) -> None:
        """Merge `delta`, on the disk when this returns, unless a newer epoch was acquired."""

        def merge(connection: sqlite3.Connection) -> None:
            if self._last_epoch(connection) != epoch:
                raise fenced(self._name, str(self._path))
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            for partition, value in delta.items():
                self._put(connection, partition, Saved(value, now))

        self._in_transaction(merge)

    def describe(self) -> Sequence[tuple[str, bytes, str]]:
        """(partition, value, when it was saved); no writer notices."""
        if self._connection is None and not self._path.exists():
            return []
        with self._errors():
            connection = self._connection = self._connection or self._open()
            rows = connection.execute(
                "SELECT partition, value, checksum, saved_at FROM positions WHERE connector = ? ORDER BY partition",
                (self._name,),
            ).fetchall()
        for partition, value, known, _ in rows:
            if not isinstance(value, bytes) or checksum(self._name, partition, value) != known:
                raise corrupt(f"partition {partition!r} of {self._name} is damaged", str(self._path))
        return [(partition, value, saved_at) for partition, value, _, saved_at in rows]

    def reset(self) -> None:
        """Forget all partitions, whatever their condition. Only an epoch of this object can still save.

        A file that SQLite itself can't read is moved aside, with all that other connectors keep in it.
        """

        def forget(connection: sqlite3.Connection) -> None:
            if self._epoch is None:
                self._next_epoch(connection)
            connection.execute("DELETE FROM positions WHERE connector = ?", (self._name,))

        try:
            self._in_transaction(forget)
        except CheckpointError as error:
            if error.code != "checkpoint.corrupt":
                raise
            self._move_aside()

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next_epoch(self, connection: sqlite3.Connection) -> int:
        epoch = self._last_epoch(connection) + 1
        connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (self._name, epoch))
        return epoch

    def _last_epoch(self, connection: sqlite3.Connection) -> int:
        row = connection.execute("SELECT epoch FROM epochs WHERE connector = ?", (self._name,)).fetchone()
        return int(row[0]) if row else 0

    def _put(self, connection: sqlite3.Connection, partition: str, saved: Saved) -> None:
        if saved.value:
            row = (
                self._name,
                partition,
                saved.value,
                checksum(self._name, partition, saved.value),
                saved.saved_at,
            )
            connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)", row)
        else:
            key = (self._name, partition)
            connection.execute("DELETE FROM positions WHERE connector = ? AND partition = ?", key)

    def _in_transaction(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._errors():
            connection = self._connection = self._connection or self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY, check_same_thread=False)
        try:
            make_durable(connection, _BUSY)
            self._check_file(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_file(self, connection: sqlite3.Connection) -> None:
        with closing(connection.execute("PRAGMA quick_check(1)")) as cursor:
            if cursor.fetchone()[0] != "ok":
                raise corrupt("SQLite finds the file damaged", str(self._path))
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and self._is_empty(connection):
                for statement in _TABLES.strip().split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            else:
                check_version(version, str(self._path))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _is_empty(self, connection: sqlite3.Connection) -> bool:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise CheckpointError(
                "the file is a SQLite database, but no checkpoint",
                code="checkpoint.foreign",
                where=str(self._path),
                fix="give checkpoint.url a path of its own",
            )
        return True

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise CheckpointError(
                f"the checkpoint can't be used: {error}",
                code="checkpoint.unavailable",
                where=str(self._path),
                fix="check the file's rights and its disk, and that no other program holds it open",
                retryable=any(word in str(error) for word in _PASSES),
            ) from error
        except sqlite3.DatabaseError as error:
            raise corrupt(f"SQLite says: {error}", str(self._path)) from error
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint's folder can't be made: {error.strerror}",
                code="checkpoint.unavailable",
                where=str(self._path),
                fix="check the path in checkpoint.url and the rights of the user that runs liberate",
            ) from error

    def _move_aside(self) -> None:
        self.close()
        aside = self._path.with_name(
            f"{self._path.name}.damaged-{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}"
        )
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        log.warning("moved the damaged checkpoint %s aside, to %s", self._path, aside.name)
