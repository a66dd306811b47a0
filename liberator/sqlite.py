"""What every SQLite file that several processes share needs: commits that are on the disk, and readers that never wait.

Enters: a connection. Called by those who keep state in such a file.

Not obvious: the change of a new file to write-ahead logging is the one thing for which SQLite does not wait. Of two
connections that begin it at the same moment one, or both, get "database is locked" at once, whatever their timeout.
"""

from __future__ import annotations

import random
import sqlite3
import time

_LOOK_AGAIN = 0.01


def make_durable(connection: sqlite3.Connection, patience: float) -> None:
    """Write ahead, and sync every commit. patience: seconds to wait for others that open the same file.

    Raises `sqlite3.OperationalError` when somebody else has locked the file for longer.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_AGAIN * random.random())
    connection.execute("PRAGMA synchronous = FULL").close()
