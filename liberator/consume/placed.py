"""Partitions that begin where somebody else says: who keeps the offsets himself, with what came of the events.

Enters: partitions that were just assigned, who knows their places. Leaves: a consumer that stands there. Called by
the dispatch loop before the first event of these partitions is read. The group's own offsets follow, so that lag and
status tell the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Protocol, runtime_checkable

from liberator.change import TopicPartition
from liberator.errors import ConsumeError
from liberator.protocols import Consumer, Start


@runtime_checkable
class Places(Protocol):
    """Who keeps offsets."""

    def places(
        self, committed: Mapping[TopicPartition, int], partitions: Mapping[str, int]
    ) -> Mapping[TopicPartition, int | None]:
        """Where to begin in these partitions; None: nothing is known of it. committed: what the group has done.
        partitions: how many each topic has."""


def placing(
    consumer: Consumer, keeper: Places, start: Start, where: str
) -> Callable[[Collection[TopicPartition]], None]:
    """What puts a consumer where `keeper` says. start: where a partition begins that nothing is known of: at the
    earliest, whatever the group says, else where the group does. Raises `ConsumeError`, and what `keeper` raises."""

    def place(assigned: Collection[TopicPartition]) -> None:
        ends, lag = consumer.ends(), consumer.lag()
        committed = {one: ends.get(one, 0) - lag.get(one, 0) for one in assigned}
        moved = {}
        for one, offset in keeper.places(committed, Counter(each.topic for each in ends)).items():
            if offset is None:
                if start == "earliest" and committed[one]:
                    consumer.seek(one, "earliest")
                    moved[one] = 0
                continue
            if offset > ends.get(one, offset):
                raise _beyond(one, offset, ends[one], where)
            if offset != committed[one]:
                consumer.seek(one, offset)
                moved[one] = offset
        if moved:
            consumer.commit(moved)

    return place


def _beyond(partition: TopicPartition, offset: int, end: int, where: str) -> ConsumeError:
    return ConsumeError(
        f"partition {partition.partition} of {partition.topic} ends at {end}, and {offset} is said to be done:"
        " it is another topic by now, or has lost events",
        code="consume.beyond",
        where=where,
        fix=f"see what became of the topic; to begin it anew, delete its offsets: DELETE FROM {where}",
    )
