"""Which record is the first of a time: found by halving, because timestamps never go back within a partition.

Enters: a connection, a partition, a time. Leaves: an offset. Called by the log for readers, and by cleaning.
"""

from __future__ import annotations

import sqlite3

from liberator.locallog.record import OFFSET_MASK, place


def first_at(connection: sqlite3.Connection, partition: int, timestamp: int) -> int:
    """Offset of the first record of `timestamp` (milliseconds) or later; the partition's end if there is none."""
    low, high = connection.execute("SELECT first, next FROM partitions WHERE id = ?", (partition,)).fetchone()
    end = place(partition, high)
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT place, timestamp FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT 1",
            (place(partition, middle), end),
        ).fetchone()
        if row is None or row[1] >= timestamp:
            high = middle
        else:
            low = (row[0] & OFFSET_MASK) + 1
    return int(low)
