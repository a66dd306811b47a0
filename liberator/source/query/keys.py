"""Which rows were published, so that those that are gone can be told: a SQLite file of keys.

Enters: keys of rows that are handed on, and of rows that a comparison finds. Leaves: keys that no comparison found since.
Called by the reader's thread only. What is in memory does not grow with the number of keys. A key has the number of the last
comparison that knew its row; what is added between two comparisons has that of the first.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from liberator.errors import SourceError
from liberator.source.query.database import Place

_CHUNK = 200

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tables (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, compared INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS keys (
    tbl INTEGER NOT NULL, key TEXT NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (tbl, key)) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO keys (tbl, key, seen) VALUES (?, ?, ?)
    ON CONFLICT (tbl, key) DO UPDATE SET seen = excluded.seen WHERE seen < excluded.seen
"""


_TAKE_BACK = "UPDATE keys SET seen = ? WHERE tbl = ? AND seen >= ?"


class KeySet:
    """The keys of one connector's tables. id: of the file, kept with the position, so that another one is not mistaken
    for it. path: None: a file that is gone with this process. Every method raises `SourceError` for a file that can't be
    used."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._numbers: dict[str, int] = {}
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            # Made in the thread that opens the source, used in the one that reads, never in both at a time.
            self._connection = sqlite3.connect(path or "", isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            self._connection.execute(
                "INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT * FROM about)", (uuid.uuid4().hex,)
            )
            [(self.id,)] = self._connection.execute("SELECT id FROM about").fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from None

    def compared(self, table: str) -> int:
        """How many comparisons of a table were begun, in all its lives: their numbers are in ids, which never come twice."""
        number = self._number(table)
        [(count,)] = self._ask("SELECT compared FROM tables WHERE number = ?", number)
        return int(count)

    def begin(self, table: str, comparison: int) -> None:
        """A comparison of this number begins. One that was cut off under the same number has said of some rows that they are
        there, and they may have gone since: that is taken back."""
        if self.compared(table) >= comparison:
            self._ask(_TAKE_BACK, comparison - 1, self._number(table), comparison)
        self._ask("UPDATE tables SET compared = ? WHERE number = ?", comparison, self._number(table))

    def add(self, table: str, keys: Iterable[Place], seen: int) -> None:
        """Remember rows, on the disk when this returns. seen: the newest comparison that knows them."""
        number = self._number(table)
        rows = [(number, _text(key), seen) for key in keys]
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany(_ADD, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def unseen(self, table: str, seen: int) -> Iterator[list[Place]]:
        """The keys, some at a time in a fixed order, that no comparison from number `seen` on knows."""
        number = self._number(table)
        last = ""
        while True:
            question = "SELECT key FROM keys WHERE tbl = ? AND key > ? AND seen < ? ORDER BY key LIMIT ?"
            rows = self._ask(question, number, last, seen, _CHUNK)
            if not rows:
                return
            last = rows[-1][0]
            yield [json.loads(key) for (key,) in rows]

    def forget(self, table: str, seen: int) -> None:
        """The keys that no comparison from number `seen` on knows."""
        self._ask("DELETE FROM keys WHERE tbl = ? AND seen < ?", self._number(table), seen)

    def close(self) -> None:
        """Give the file back. Idempotent."""
        self._connection.close()

    def _number(self, table: str) -> int:
        if table not in self._numbers:
            self._ask("INSERT OR IGNORE INTO tables (name) VALUES (?)", table)
            [(number,)] = self._ask("SELECT number FROM tables WHERE name = ?", table)
            self._numbers[table] = int(number)
        return self._numbers[table]

    def _ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(text, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> SourceError:
        return SourceError(
            f"the file of published keys can't be used: {error}",
            code="source.key_file",
            where=None if self._path is None else str(self._path),
            fix="make room or correct its rights; source.query.key_file chooses another place",
        )


def _text(key: Place) -> str:
    return json.dumps(key, separators=(",", ":"))
