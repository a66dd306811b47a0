"""The SQLite file: opened, recognised, written to by one process at a time and in turn.

Enters: a folder. Leaves: connections inside a read or a write. Called by everything else here. What SQLite says
becomes a `LocalLogFailure`.

Not obvious: SQLite lets whoever comes first write, and those who wait look again in growing intervals, so a process
that writes all the time starves the others. Here only one of those who wait asks SQLite, the one that holds the lock
on ``turn.lock``; a writer that has just finished must get that lock first, and by then another one is before it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path

from liberator.locallog.failure import LocalLogFailure

NAME = "log.db"
FORMAT = 1
"""The version of the tables that is written; a file with a higher one is refused."""

PATIENCE = 10.0
"""Seconds to wait for other writers."""

_APPLICATION = 0x6C6C6F67
"""In the file's header: it is a local log."""

_LOOK_AGAIN = 0.001

_TUNING = (
    # 300-byte events: fewer, larger pages are written a third faster than with SQLite's 4 KiB.
    "PRAGMA page_size = 8192",
    "PRAGMA journal_mode = WAL",
    # A commit is on the disk when it returns, by one sync of the write-ahead log.
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 2000",
    "PRAGMA cache_size = -16384",
    "PRAGMA busy_timeout = 0",
)


class LogFile:
    """One connection to the file in `folder`, both made if need be. For one thread at a time."""

    def __init__(self, folder: str | Path, *, patience: float = PATIENCE) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME
        self._patience = patience
        with self._errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._turn = _Turn(self.folder / "turn.lock")
            try:
                self._connection = self._open()
            except BaseException:
                self._turn.close()
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with. Every statement sees all that was committed before it."""
        with self._errors():
            yield self._connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction, on the disk when this ends; nothing of it remains when it is left by an exception."""
        deadline = time.monotonic() + self._patience
        connection = self._connection
        with self._errors():
            with self._turn.taken(deadline):
                self._begin(deadline)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def version(self) -> int:
        """A number that changes when another process, or another connection, has committed something."""
        with self._errors():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Give back the file. Idempotent."""
        self._connection.close()
        self._turn.close()

    def _begin(self, deadline: float) -> None:
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_AGAIN)

    def _open(self) -> sqlite3.Connection:
        deadline = time.monotonic() + self._patience
        connection = sqlite3.connect(
            self.path, isolation_level=None, timeout=self._patience, check_same_thread=False
        )
        try:
            with self._turn.taken(deadline):
                for statement in _TUNING[:-1]:
                    connection.execute(statement).close()
                connection.execute("BEGIN IMMEDIATE")
                _recognise(connection)
                connection.execute("COMMIT")
                connection.execute(_TUNING[-1]).close()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            raise _failure(error) from error
        except OSError as error:
            raise LocalLogFailure(
                "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "unavailable",
                f"the local log can't be opened: {error.strerror}",
                "check the path after local:, and the rights of the user that runs liberate",
            ) from error


class _Turn:
    """The lock of who is next to write. The kernel gives it back for a process that dies."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    @contextmanager
    def taken(self, deadline: float) -> Iterator[None]:
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _busy() from None
            time.sleep(_LOOK_AGAIN)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _recognise(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file; refuse one that is no local log, or a later version's."""
    with closing(connection.cursor()) as cursor:
        (application,) = cursor.execute("PRAGMA application_id").fetchone()
        (version,) = cursor.execute("PRAGMA user_version").fetchone()
        (tables,) = cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application == 0 and tables == 0:
            for statement in _statements():
                cursor.execute(statement)
            cursor.execute(f"PRAGMA application_id = {_APPLICATION}")
            cursor.execute(f"PRAGMA user_version = {FORMAT}")
        elif application != _APPLICATION:
            raise LocalLogFailure(
                "foreign",
                f"{NAME} is a SQLite database, but no local log",
                "give local: a folder of its own",
            )
        elif version > FORMAT:
            raise LocalLogFailure(
                "version",
                f"the local log has format {version}, and this version of liberator knows formats up to {FORMAT}",
                "run the version of liberator that wrote it, or a newer one",
            )


def _statements() -> list[str]:
    text = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
    bare = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return [statement for statement in bare.split(";") if statement.strip()]


def _busy() -> LocalLogFailure:
    return LocalLogFailure(
        "busy",
        "another process has been writing to the local log for too long",
        "look for a program that holds the file, or was suspended while it wrote",
        retryable=True,
    )


def _failure(error: sqlite3.Error | OverflowError) -> LocalLogFailure:
    words = str(error)
    if "locked" in words or "busy" in words:
        return _busy()
    if "full" in words:
        fix = "make room on the disk (or raise the quota); nothing of the last batch was written"
        return LocalLogFailure("full", "there is no room for the local log", fix, retryable=True)
    if "too big" in words or isinstance(error, OverflowError):
        return LocalLogFailure("too_large", "an event is larger than SQLite takes (1 GB)")
    if isinstance(error, sqlite3.OperationalError):
        return LocalLogFailure(
            "unavailable", f"the local log can't be used: {words}", "check the disk and the file's rights"
        )
    return LocalLogFailure(
        "corrupt", f"the local log is damaged: {words}", "restore the folder, or begin with an empty one"
    )
