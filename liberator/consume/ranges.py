"""A part of a stream: from an offset to another in each partition, and a consumer that sees no more than that.

Enters: where a group stands, what somebody wants to see again. Leaves: ranges; a consumer that has nothing left when they
are done. Called by what replays a stream. `ranges` is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.group import Bounds
from liberator.errors import PreconditionError
from liberator.protocols import Consumer, Rebalance, Start


class Range(NamedTuple):
    """start: the first offset. end: the one behind the last. gone: how many of those that were asked for exist no more."""

    start: int
    end: int
    gone: int = 0


Offsets = Mapping[TopicPartition, int]


def ranges(
    bounds: Mapping[TopicPartition, Bounds], begin: Offsets, end: Offsets, stands: Offsets | None
) -> dict[TopicPartition, Range]:
    """What is to be done again of each partition; those of which nothing is are left out.

    begin: the partitions that are meant, and where. end: up to where; where nothing is said, up to where the group stands,
    or of a new group to the end there is. stands: what the group has committed; None: it is new. Raises `PreconditionError`
    (precondition.replay_gap) where the group would leave events out that it has not done.
    """
    found = {}
    for at, offset in sorted(begin.items()):
        first, last = bounds[at]
        stop = min(last, end.get(at, last if stands is None else stands.get(at, first)))
        start = max(first, offset)
        if start >= stop:
            continue
        if stands is not None and start > stands.get(at, first):
            raise _gap(at, stands.get(at, first), start)
        found[at] = Range(start, stop, max(0, first - offset))
    return found


def _gap(at: TopicPartition, stands: int, start: int) -> PreconditionError:
    return PreconditionError(
        f"the group stands at offset {stands} of {at.topic}/{at.partition}: beginning at {start}, it would never do what is "
        "in between",
        code="precondition.replay_gap",
        where=f"{at.topic}/{at.partition}",
        fix="begin where the group stands or before, or replay into a group of its own: --new-group NAME",
    )


class RangeConsumer:
    """See `liberator.protocols.Consumer`: one that ends where the ranges do. The group stands at their beginnings."""

    def __init__(self, consumer: Consumer, wanted: Mapping[TopicPartition, Range]) -> None:
        self._consumer = consumer
        self._wanted = wanted
        self._given: dict[TopicPartition, int] = {at: range.start for at, range in wanted.items()}
        self._passed: set[TopicPartition] = set()
        self._to_pause: set[TopicPartition] = set()

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """See `Consumer.subscribe`."""
        self._consumer.subscribe(topics, rebalance)

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """What comes next within the ranges. A partition that is behind its own is read no further."""
        if self._to_pause:
            self._consumer.pause(self._to_pause & self._consumer.assigned())
            self._to_pause.clear()
        batch = self._consumer.poll(limit, timeout)
        batch.headers, batch.unread = batch.read_headers(), []
        kept, behind = ConsumedBatch(), set()
        for index, place in enumerate(map(TopicPartition, batch.topics, batch.partitions)):
            wanted = self._wanted.get(place)
            if wanted is None or batch.offsets[index] >= wanted.end:
                behind.add(place)
                continue
            self._given[place] = batch.offsets[index] + 1
            _copy(batch, index, kept)
        if not behind:
            return batch
        self._passed |= behind
        self._to_pause |= behind  # by the next call: if that fails, what was read here is not lost
        return kept

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See `Consumer.commit`."""
        self._consumer.commit(offsets)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        self._consumer.pause(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.resume`. What is behind its range stays paused."""
        self._consumer.resume(set(partitions) - self._passed)

    def assigned(self) -> frozenset[TopicPartition]:
        """See `Consumer.assigned`."""
        return self._consumer.assigned()

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """See `Consumer.seek`."""
        self._consumer.seek(partition, to)

    def lag(self) -> Mapping[TopicPartition, int]:
        """What of the ranges is not done, whoever does it."""
        ends, lag = self._consumer.ends(), self._consumer.lag()
        return {
            at: self._left(at, ends.get(at, wanted.end) - lag.get(at, 0))
            for at, wanted in self._wanted.items()
        }

    def _left(self, at: TopicPartition, committed: int) -> int:
        """Offsets that carry no event (the ends of transactions, what was compacted) are never committed by themselves."""
        if at in self._passed and committed >= self._given[at]:
            return 0
        return max(0, self._wanted[at].end - committed)

    def ends(self) -> Mapping[TopicPartition, int]:
        """Where the ranges end."""
        return {at: range.end for at, range in self._wanted.items()}

    def close(self) -> None:
        """See `Consumer.close`."""
        self._consumer.close()


def _copy(batch: ConsumedBatch, index: int, into: ConsumedBatch) -> None:
    into.topics.append(batch.topics[index])
    into.partitions.append(batch.partitions[index])
    into.offsets.append(batch.offsets[index])
    into.timestamps.append(batch.timestamps[index])
    into.keys.append(batch.keys[index])
    into.values.append(batch.values[index])
    into.headers.append(batch.headers[index])
