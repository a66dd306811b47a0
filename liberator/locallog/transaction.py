"""A transaction: events, offsets and positions that become durable together, or not at all.

Enters: columns of events; offsets of a consumer group; positions of a connector. Leaves: rows. Made by
`LocalLog.transaction`. Never looks at a key or a value: the partition is the caller's choice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from liberator.change import State, TopicPartition
from liberator.locallog import positions
from liberator.locallog.failure import LocalLogFailure
from liberator.locallog.group import has_members
from liberator.locallog.record import place

if TYPE_CHECKING:
    from liberator.locallog.log import Topic


class Transaction:
    """What may be written inside of ``with log.transaction() as transaction:``. Raises `LocalLogFailure`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        find: Callable[[TopicPartition], tuple[Topic, int]],
        now_ms: int,
        folder: Path,
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._find = find
        self._now_ms = now_ms

    def append(
        self,
        topics: Sequence[str],
        partitions: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Sequence[bytes | None],
        timestamps: Sequence[int | None] | None = None,
    ) -> None:
        """Add events; those of a partition in the order of the columns. headers: packed. timestamps: milliseconds since the
        Unix epoch; None: now. Within a partition times never go back, nor ahead of the clock: one that would is the nearest
        that does not.

        Raises unknown_topic, and record_refused for a null key in a compacted topic.
        """
        tails: dict[tuple[str, int], _Tail] = {}
        rows = []
        times = repeat(None, len(topics)) if timestamps is None else timestamps
        columns = zip(topics, partitions, keys, values, headers, times, strict=True)
        for topic, number, key, value, packed, time in columns:
            tail = tails.get((topic, number))
            if tail is None:
                tail = tails[topic, number] = self._tail(TopicPartition(topic, number))
            if key is None and tail.compacted:
                raise _no_key(topic)
            newest = self._now_ms if time is None or time > self._now_ms else time
            if newest > tail.timestamp:
                tail.timestamp = newest
            rows.append((tail.place, tail.timestamp, key, value, packed))
            tail.place += 1
            tail.bytes += (
                (len(value) if value else 0) + (len(key) if key else 0) + (len(packed) if packed else 0)
            )
        self._connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)
        for tail in tails.values():
            count = tail.place - tail.began
            self._connection.execute(
                "UPDATE partitions SET next = next + ?, records = records + ?, bytes = bytes + ?, newest = ?"
                " WHERE id = ?",
                (count, count, tail.bytes, tail.timestamp, tail.id),
            )

    def commit_offsets(
        self, group: str, offsets: Mapping[TopicPartition, int], member: str | None = None
    ) -> None:
        """Save what a consumer group has done. member: it must own these partitions, else lost is raised.

        Without a member, as an operator: nobody is asked.
        """
        for partition, offset in offsets.items():
            _, id = self._find(partition)
            if member is not None and self._owner(group, id) != member:
                raise LocalLogFailure(
                    "lost",
                    f"partition {partition.partition} of {partition.topic} is not this consumer's any more",
                    "nothing to do: its new owner begins where the last commit stands",
                )
            self._connection.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", (group, id, offset))

    def has_members(self, group: str) -> bool:
        """Does a consumer of this group live?"""
        return has_members(self._connection, group, self._folder)

    def save_positions(self, connector: str, delta: State, epoch: int | None = None) -> None:
        """Merge a connector's positions. epoch: it must be the newest one, else fenced is raised."""
        if epoch is not None and positions.epoch_of(self._connection, connector) != epoch:
            raise LocalLogFailure("fenced", f"another instance of connector {connector} has taken over")
        positions.save_positions(self._connection, connector, delta, self._now_ms)

    def next_epoch(self, connector: str) -> int:
        """A greater epoch for a connector's positions."""
        return positions.next_epoch(self._connection, connector)

    def forget_positions(self, connector: str, epoch: int | None) -> None:
        """Forget all positions of a connector, whatever their condition. Epochs but this one can't save any more."""
        if positions.epoch_of(self._connection, connector) != epoch:
            positions.next_epoch(self._connection, connector)
        positions.forget_positions(self._connection, connector)

    def _owner(self, group: str, partition: int) -> str | None:
        row = self._connection.execute(
            "SELECT owner FROM claims WHERE in_group = ? AND partition = ?", (group, partition)
        ).fetchone()
        return row[0] if row else None

    def _tail(self, partition: TopicPartition) -> _Tail:
        topic, id = self._find(partition)
        end, newest = self._connection.execute(
            "SELECT next, newest FROM partitions WHERE id = ?", (id,)
        ).fetchone()
        return _Tail(id, end, newest, topic.settings.compact)


class _Tail:
    """The end of a partition, while events are added."""

    __slots__ = ("began", "bytes", "compacted", "id", "place", "timestamp")

    def __init__(self, id: int, end: int, timestamp: int, compacted: bool) -> None:
        self.id = id
        self.began = self.place = place(id, end)
        self.timestamp = timestamp
        self.compacted = compacted
        self.bytes = 0


def _no_key(topic: str) -> LocalLogFailure:
    return LocalLogFailure(
        "record_refused",
        f"the compacted topic {topic} takes no event without a key",
        "set cleanup.policy=delete for the topic, or give the table a key (publish.key)",
    )
