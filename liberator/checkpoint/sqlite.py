"""Positions in a SQLite file: durable (synchronous=FULL), atomic, several connectors in one file.

Every value carries a checksum, so that what is half-written or altered is refused instead of trusted.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path

from liberator.change import State
from liberator.errors import CheckpointError

FORMAT = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS epochs (connector TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (
    connector TEXT NOT NULL, partition TEXT NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL,
    saved_at TEXT NOT NULL, PRIMARY KEY (connector, partition)) WITHOUT ROWID;
"""


class SqliteCheckpoint:
    """The positions of one connector in the file at `path`. Folders are made."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._connection: sqlite3.Connection | None = None

    def acquire(self) -> int:
        """See `Checkpoint.acquire`."""
        with self._transaction() as connection:
            row = connection.execute("SELECT epoch FROM epochs WHERE connector = ?", (self._name,)).fetchone()
            epoch = int(row[0]) + 1 if row else 1
            connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (self._name, epoch))
        return epoch

    def load(self) -> State:
        """See `Checkpoint.load`."""
        return {partition: value for partition, value, _ in self.describe()}

    def save(self, delta: State, epoch: int) -> None:
        """See `Checkpoint.save`."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        with self._transaction() as connection:
            row = connection.execute("SELECT epoch FROM epochs WHERE connector = ?", (self._name,)).fetchone()
            if row is None or row[0] != epoch:
                raise CheckpointError(
                    f"another instance of connector {self._name} took over",
                    code="checkpoint.fenced",
                    where=str(self._path),
                    fix="run one instance, or let the other go on",
                )
            for partition, value in delta.items():
                if value:
                    record = (self._name, partition, value, zlib.crc32(value), now)
                    connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)", record)
                else:
                    connection.execute(
                        "DELETE FROM positions WHERE connector = ? AND partition = ?", (self._name, partition)
                    )

    def reset(self) -> None:
        """See `Checkpoint.reset`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM positions WHERE connector = ?", (self._name,))

    def describe(self) -> list[tuple[str, bytes, str]]:
        """See `Checkpoint.describe`."""
        if self._connection is None and not self._path.exists():
            return []
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT partition, value, checksum, saved_at FROM positions WHERE connector = ? ORDER BY partition",
                (self._name,),
            ).fetchall()
        for partition, value, checksum, _ in rows:
            if zlib.crc32(value) != checksum:
                raise self._corrupt(f"partition {partition} does not match its checksum")
        return [(partition, value, saved_at) for partition, value, _, saved_at in rows]

    def close(self) -> None:
        """See `Checkpoint.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection = self._connection or self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise CheckpointError(
                f"the checkpoint can't be used: {error}",
                code="checkpoint.unavailable",
                where=str(self._path),
                fix="check the file's rights and disk",
                retryable="locked" in str(error),
            ) from None
        except sqlite3.DatabaseError as error:
            raise self._corrupt(str(error)) from None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            with closing(connection.execute("PRAGMA user_version")) as cursor:
                version = cursor.fetchone()[0]
            if version > FORMAT:
                raise CheckpointError(
                    f"the checkpoint is of format {version}, this version of liberator reads {FORMAT}",
                    code="checkpoint.version",
                    where=str(self._path),
                    fix="run the version of liberator that wrote it, or a newer one",
                )
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _corrupt(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"the checkpoint can't be trusted: {what}",
            code="checkpoint.corrupt",
            where=str(self._path),
            fix="restore the file, or `liberate checkpoint reset` starts again with a new snapshot",
        )
