"""Which events of the assigned partitions are done, and so up to where each of them may be committed (Invariant 10).

Enters: offsets as they are read, and as they are done, in any order. Leaves: offsets to commit. Called by the loop. No I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from liberator.change import TopicPartition


class _Partition:
    __slots__ = ("committed", "done", "next", "outstanding", "reached")

    def __init__(self, offset: int) -> None:
        self.outstanding: deque[int] = deque()
        self.done: set[int] = set()
        self.next = offset
        self.committed = offset
        self.reached = offset - 1

    def place(self) -> int:
        """The first offset that is not done yet."""
        return self.outstanding[0] if self.outstanding else self.next


class Offsets:
    """Read and done, by partition. Offsets of a partition are read in ascending order; some may not exist."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}

    def read(self, partition: TopicPartition, offset: int) -> None:
        """An event was read, and is to be done."""
        known = self._partitions.get(partition)
        if known is None:
            known = self._partitions[partition] = _Partition(offset)
        known.outstanding.append(offset)
        known.next = offset + 1

    def done(self, partition: TopicPartition, offset: int) -> None:
        """An event is done, or durably dead-lettered. Of a partition that is not ours any more: too late."""
        known = self._partitions.get(partition)
        if known is None or offset < known.place():
            return
        known.done.add(offset)
        known.reached = max(known.reached, offset)
        while known.outstanding and known.outstanding[0] in known.done:
            known.done.remove(known.outstanding.popleft())

    def to_commit(self) -> dict[TopicPartition, int]:
        """Of each partition the first offset that is not done, where that is further than what was committed."""
        return {
            partition: known.place()
            for partition, known in self._partitions.items()
            if known.place() != known.committed
        }

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
        while known.outstanding and known.outstanding[-1] > last:
            known.next = known.outstanding.pop()
        return last

    def left(self, partitions: Iterable[TopicPartition]) -> bool:
        """Is something of these partitions still to be done?"""
        return any(self._partitions[one].outstanding for one in partitions if one in self._partitions)

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """These are not ours any more."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def outstanding(self) -> int:
        """How many events were read and are not done."""
        return sum(len(known.outstanding) - len(known.done) for known in self._partitions.values())
