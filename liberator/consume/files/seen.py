"""Which files were done, over restarts: a SQLite file.

Enters: keys and etags. Leaves: what is known. On the disk when a method returns. One process at a time: a second one is
refused, as it would start the function on the same files. A file that went is remembered for a while (`REMEMBERED`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from liberator.consume.files.changes import REMEMBERED, Known
from liberator.errors import PreconditionError

_TABLE = """
CREATE TABLE IF NOT EXISTS files (
    pattern TEXT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, gone REAL, PRIMARY KEY (pattern, key)) WITHOUT ROWID
"""


class Seen:
    """path: of the SQLite file. Raises `PreconditionError`: consume.files_in_use, consume.files_unusable."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=0.5)
            try:
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                with self._connection:
                    self._connection.execute(_TABLE)
                    limit = self._now() - REMEMBERED
                    self._connection.execute("DELETE FROM files WHERE gone < ?", (limit,))
            except BaseException:
                self._connection.close()
                raise

    def known(self, pattern: str) -> dict[str, Known]:
        """The files of a pattern, by key."""
        with self._errors():
            rows = self._connection.execute("SELECT key, etag, gone FROM files WHERE pattern = ?", (pattern,))
            return {key: Known(etag, gone) for key, etag, gone in rows}

    def done(self, pattern: str, files: Collection[tuple[str, str]]) -> None:
        """These files, each with its etag, start the function no more."""
        rows = [(pattern, key, etag) for key, etag in files]
        self._write("INSERT OR REPLACE INTO files (pattern, key, etag) VALUES (?, ?, ?)", rows)

    def went(self, pattern: str, keys: Collection[str]) -> None:
        """They are not there any more."""
        now = self._now()
        self._write(
            "UPDATE files SET gone = ? WHERE pattern = ? AND key = ?", [(now, pattern, key) for key in keys]
        )

    def came_back(self, pattern: str, keys: Collection[str]) -> None:
        """They are there again, as they were."""
        self._write(
            "UPDATE files SET gone = NULL WHERE pattern = ? AND key = ?", [(pattern, key) for key in keys]
        )

    def forget(self, pattern: str, keys: Collection[str]) -> None:
        """They went long ago."""
        self._write("DELETE FROM files WHERE pattern = ? AND key = ?", [(pattern, key) for key in keys])

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def _write(self, statement: str, rows: Collection[tuple[object, ...]]) -> None:
        if rows:
            with self._errors(), self._connection:
                self._connection.executemany(statement, rows)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if "locked" in str(error):
                what, code = "another process works on these files", "consume.files_in_use"
                fix = "run one of them, or give this connector a name of its own"
            else:
                what, code = f"what was done can't be remembered: {error}", "consume.files_unusable"
                fix = "name another file in trigger.seen, or look at its disk"
            raise PreconditionError(what, code=code, where=str(self._path), fix=fix) from error
