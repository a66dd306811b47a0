"""What goes: records past their retention, older values of a key, tombstones that everybody has seen.

Enters: a log. Leaves: room. Run by publishers between batches, a step at a time, each in a transaction of its own, so
that nobody waits long. Two may clean at once: neither ever removes a key's newest value.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from liberator.locallog.file import LogFile
from liberator.locallog.record import OFFSET_MASK, place
from liberator.locallog.search import first_at
from liberator.locallog.settings import TopicSettings

EVERY_MS = 30_000
"""Between two cleanings, whoever does them."""

_STEP = 5_000
"""Records looked at in one transaction."""

_WINDOW = 200_000
"""Offsets whose keys one compaction goes by: what does not fit is left to the next one."""

_BYTES = "sum(ifnull(length(key), 0) + ifnull(length(value), 0) + ifnull(length(headers), 0))"


@dataclass(frozen=True, slots=True)
class _Partition:
    id: int
    settings: TopicSettings
    first: int
    next: int
    records: int
    bytes: int
    compacted: int
    tombstone: int | None


def claim(file: LogFile, now_ms: int) -> bool:
    """Is a cleaning due, and ours to do?"""
    with file.read() as connection:
        (due,) = connection.execute("SELECT due FROM cleaning").fetchone()
    if now_ms < due <= now_ms + EVERY_MS:
        return False
    with file.write() as connection:
        moved = connection.execute("UPDATE cleaning SET due = ? WHERE due = ?", (now_ms + EVERY_MS, due))
        return moved.rowcount == 1


def clean(
    file: LogFile, settings: Callable[[], Iterator[tuple[int, TopicSettings]]], now_ms: int
) -> Iterator[None]:
    """Clean all partitions; stops after every transaction. settings: of every partition, by its id."""
    for id, of_topic in settings():
        if of_topic.delete:
            yield from _retain(file, id, of_topic, now_ms)
        if of_topic.compact:
            yield from _compact(file, id, of_topic, now_ms)


# Retention


def _retain(file: LogFile, id: int, settings: TopicSettings, now_ms: int) -> Iterator[None]:
    while True:
        with file.read() as connection:
            partition = _load(connection, id, settings)
            until = _expired(connection, partition, now_ms)
        if until <= partition.first:
            return
        with file.write() as connection:
            _delete(connection, id, "", place(id, partition.first), place(id, until))
            connection.execute("UPDATE partitions SET first = max(first, ?) WHERE id = ?", (until, id))
        yield


def _expired(connection: sqlite3.Connection, partition: _Partition, now_ms: int) -> int:
    """The offset before which a step's worth of records, at most, is past its time or beyond the size."""
    settings, id = partition.settings, partition.id
    until = partition.first
    if settings.retention_ms >= 0:
        until = first_at(connection, id, now_ms - settings.retention_ms)
    if 0 <= settings.retention_bytes < partition.bytes:
        until = max(until, _beyond(connection, partition, partition.bytes - settings.retention_bytes))
    last = connection.execute(
        "SELECT place FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT 1 OFFSET ?",
        (place(id, partition.first), place(id, until), _STEP),
    ).fetchone()
    return last[0] & OFFSET_MASK if last else until


def _beyond(connection: sqlite3.Connection, partition: _Partition, excess: int) -> int:
    """The offset before which the oldest records make up `excess` bytes, or as much of it as a step goes."""
    rows = connection.execute(
        "SELECT place, ifnull(length(key), 0) + ifnull(length(value), 0) + ifnull(length(headers), 0) FROM records"
        " WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
        (place(partition.id, partition.first), place(partition.id, partition.next), _STEP),
    )
    until = partition.first
    for at, size in rows:
        if excess <= 0:
            break
        excess -= size
        until = (at & OFFSET_MASK) + 1
    rows.close()
    return until


# Compaction


def _compact(file: LogFile, id: int, settings: TopicSettings, now_ms: int) -> Iterator[None]:
    with file.read() as connection:
        partition = _load(connection, id, settings)
        if not _is_dirty(partition, now_ms):
            return
        end = min(partition.next, partition.compacted + _WINDOW)
        # Of this connection alone, and not in the log's file.
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS newest (key BLOB PRIMARY KEY, place INTEGER) WITHOUT ROWID"
        )
        connection.execute("DELETE FROM temp.newest")
        connection.execute(
            "INSERT INTO temp.newest SELECT key, max(place) FROM records"
            " WHERE place >= ? AND place < ? AND key IS NOT NULL GROUP BY key",
            (place(id, partition.compacted), place(id, end)),
        )
    aged = now_ms - settings.tombstone_ms
    gone = (
        "AND (place < (SELECT n.place FROM temp.newest n WHERE n.key = records.key)"
        f" OR (value IS NULL AND timestamp <= {aged:d}))"
    )
    at = place(id, partition.first)
    while at < place(id, end):
        with file.write() as connection:
            step = connection.execute(
                "SELECT place FROM records WHERE place >= ? AND place < ? ORDER BY place LIMIT 1 OFFSET ?",
                (at, place(id, end), _STEP),
            ).fetchone()
            until = step[0] if step else place(id, end)
            _delete(connection, id, gone, at, until)
        at = until
        yield
    with file.write() as connection:
        (oldest,) = connection.execute(
            "SELECT min(timestamp) FROM records WHERE place >= ? AND place < ? AND value IS NULL",
            (place(id, partition.first), place(id, end)),
        ).fetchone()
        connection.execute(
            "UPDATE partitions SET compacted = max(compacted, ?), tombstone = ? WHERE id = ?",
            (end, oldest, id),
        )


def _is_dirty(partition: _Partition, now_ms: int) -> bool:
    new = partition.next - partition.compacted
    aged = now_ms - partition.settings.tombstone_ms
    return (new > 0 and new >= partition.settings.dirty_ratio * partition.records) or (
        partition.tombstone is not None and partition.tombstone <= aged
    )


def _load(connection: sqlite3.Connection, id: int, settings: TopicSettings) -> _Partition:
    row = connection.execute(
        "SELECT first, next, records, bytes, compacted, tombstone FROM partitions WHERE id = ?", (id,)
    ).fetchone()
    return _Partition(id, settings, *row)


def _delete(connection: sqlite3.Connection, id: int, condition: str, start: int, end: int) -> None:
    where = f"FROM records WHERE place >= ? AND place < ? {condition}"
    records, size = connection.execute(f"SELECT count(*), {_BYTES} {where}", (start, end)).fetchone()
    if records:
        connection.execute(f"DELETE {where}", (start, end))
        connection.execute(
            "UPDATE partitions SET records = records - ?, bytes = bytes - ? WHERE id = ?", (records, size, id)
        )
