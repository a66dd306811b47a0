"""Which events of the assigned partitions are done, and so up to where each of them may be committed (Invariant 10).

Enters: offsets as they are read, and as they are done, in any order. Leaves: offsets to commit. Called by the loop. No I/O.
What is done in the order in which it was read, which is the usual case, costs nothing per event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from liberator.change import Event, TopicPartition, runs

_FORGET = 10_000
"""Offsets that are done are let go so many at a time."""


class _Partition:
    __slots__ = ("_first", "_read", "committed", "done", "next", "reached")

    def __init__(self, offset: int) -> None:
        self._read: list[int] = []
        self._first = 0
        self.done: set[int] = set()
        self.next = offset
        self.committed = offset
        self.reached = offset - 1

    def place(self) -> int:
        """The first offset that is not done yet."""
        return self._read[self._first] if self.left() else self.next

    def left(self) -> int:
        """From the first one that is not done on: how many are known."""
        return len(self._read) - self._first

    def add(self, offsets: Sequence[int]) -> None:
        """These are to be done."""
        self._read += offsets
        self.next = offsets[-1] + 1

    def finish(self, offsets: list[int]) -> None:
        """These are done."""
        if not self.done and self._read[self._first : self._first + len(offsets)] == offsets:
            self._move(len(offsets))
            return
        place = self.place()
        self.done.update(offset for offset in offsets if offset >= place)
        end = self._first
        while end < len(self._read) and self._read[end] in self.done:
            self.done.remove(self._read[end])
            end += 1
        self._move(end - self._first)

    def cut(self, last: int) -> None:
        """Forget what was read behind `last`."""
        while self.left() and self._read[-1] > last:
            self.next = self._read.pop()

    def _move(self, count: int) -> None:
        self._first += count
        if self._first >= _FORGET:
            del self._read[: self._first]
            self._first = 0


class Offsets:
    """Read and done, by partition. Offsets of a partition are read in ascending order; some may not exist."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}

    def read(self, partition: TopicPartition, offsets: Sequence[int]) -> None:
        """Events were read, one at least, and are to be done."""
        known = self._partitions.get(partition)
        if known is None:
            known = self._partitions[partition] = _Partition(offsets[0])
        known.add(offsets)

    def done(self, partition: TopicPartition, offsets: list[int]) -> None:
        """Events are done, or durably dead-lettered. Of a partition that is not ours any more: too late."""
        known = self._partitions.get(partition)
        if known is None:
            return
        known.reached = max(known.reached, *offsets)
        known.finish(offsets)

    def to_commit(self) -> dict[TopicPartition, int]:
        """Of each partition the first offset that is not done, where that is further than what was committed."""
        return {
            partition: known.place()
            for partition, known in self._partitions.items()
            if known.place() != known.committed
        }

    def further(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Those of these that are beyond what was committed."""
        known = self._partitions
        return {at: offset for at, offset in offsets.items() if at in known and offset > known[at].committed}

    def place(self, partition: TopicPartition) -> int:
        """The first offset of a partition that is not done; -1: nothing was read of it."""
        known = self._partitions.get(partition)
        return -1 if known is None else known.place()

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """These were committed."""
        for partition, offset in offsets.items():
            if partition in self._partitions:
                self._partitions[partition].committed = offset

    def cut(self, partition: TopicPartition, under_way: int) -> int:
        """Forget what was read behind the last event that is done or `under_way`; returns the offset of that. What is left
        has to be done, or what was done behind it is done again."""
        known = self._partitions.get(partition)
        if known is None:
            return -1
        last = max(known.reached, under_way)
        known.cut(last)
        return last

    def left(self, partitions: Iterable[TopicPartition]) -> bool:
        """Is something of these partitions still to be done?"""
        return any(self._partitions[one].left() for one in partitions if one in self._partitions)

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """These are not ours any more."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def outstanding(self) -> int:
        """How many events were read and are not done."""
        return sum(known.left() - len(known.done) for known in self._partitions.values())


def offsets_of(events: Sequence[Event]) -> Iterator[tuple[TopicPartition, list[int]]]:
    """Their offsets by partition; a partition comes as often as its events are apart."""
    offsets = [event.offset for event in events]
    for partition, start, end in runs(
        [event.topic for event in events], [event.partition for event in events]
    ):
        yield partition, offsets[start:end]
