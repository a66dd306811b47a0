"""Positions of source connectors, in the log's own file: saved in the transaction of their events, or in one of their own.

Enters: deltas and epochs. Leaves: positions, each checked against its checksum. Called through `Transaction` and
`LocalLog`, for `checkpoint.local` and `publish.local`.
"""

from __future__ import annotations

import sqlite3
import zlib
from datetime import datetime, timezone

from liberator.change import State
from liberator.locallog.failure import LocalLogFailure


def load_positions(connection: sqlite3.Connection, connector: str) -> list[tuple[str, bytes, str]]:
    """(partition, value, when it was saved: ISO 8601, UTC). Raises `LocalLogFailure` (corrupt)."""
    rows = connection.execute(
        "SELECT partition, value, checksum, saved_at FROM positions WHERE connector = ? ORDER BY partition",
        (connector,),
    ).fetchall()
    for partition, value, checksum, _ in rows:
        if not isinstance(value, bytes) or _checksum(connector, partition, value) != checksum:
            raise LocalLogFailure("corrupt", f"partition {partition!r} of {connector} is damaged")
    return [(partition, value, saved_at) for partition, value, _, saved_at in rows]


def save_positions(connection: sqlite3.Connection, connector: str, delta: State, now_ms: int) -> None:
    """Merge `delta`: an empty value forgets its partition."""
    saved_at = datetime.fromtimestamp(now_ms / 1000, timezone.utc).isoformat(timespec="milliseconds")
    for partition, value in delta.items():
        if value:
            row = (connector, partition, value, _checksum(connector, partition, value), saved_at)
            connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)", row)
        else:
            connection.execute(
                "DELETE FROM positions WHERE connector = ? AND partition = ?", (connector, partition)
            )


def forget_positions(connection: sqlite3.Connection, connector: str) -> None:
    """Forget all of them, whatever their condition; the epoch lives on."""
    connection.execute("DELETE FROM positions WHERE connector = ?", (connector,))


def epoch_of(connection: sqlite3.Connection, connector: str) -> int:
    """The newest epoch; 0: there was none yet."""
    row = connection.execute("SELECT epoch FROM epochs WHERE connector = ?", (connector,)).fetchone()
    return int(row[0]) if row else 0


def next_epoch(connection: sqlite3.Connection, connector: str) -> int:
    """A greater one, which ends all before."""
    epoch = epoch_of(connection, connector) + 1
    connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (connector, epoch))
    return epoch


def _checksum(connector: str, partition: str, value: bytes) -> int:
    # Over the place too, so that a value under a wrong name is noticed.
    return zlib.crc32(value, zlib.crc32(f"{connector}/{partition}".encode()))
