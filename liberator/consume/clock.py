"""Times as a stream of their own, for a function that no stream starts: one event for each time, without key and value.

Enters: what the next time is. Leaves: events whose topic has no name; whoever calls a function tells it of none. Read by
the dispatch loop, so that a call which fails is tried again as one that a stream started. Nothing is kept: times that passed
while nobody asked are not made up for, nor those that come while the function is still at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone

from liberator.change import ConsumedBatch, TopicPartition
from liberator.protocols import Rebalance, Start

_PLACE = TopicPartition("", 0)


class ClockConsumer:
    """See `liberator.protocols.Consumer`. name: of the connector. following: the next time after one, both Unix seconds.
    once: one event, at once."""

    def __init__(
        self,
        name: str,
        following: Callable[[float], float],
        *,
        once: bool = False,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._name = name
        self._following = following
        self._once = once
        self._clock, self._wait = clock, wait
        self._next = clock() if once else following(clock())
        self._made = self._committed = 0
        self._paused = False
        self._rebalance: Rebalance | None = None

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """See `Consumer.subscribe`. There is only one thing to read."""
        self._rebalance = rebalance

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """The event of a time that has come, or nothing."""
        if self._rebalance is not None:
            self._rebalance.assigned({_PLACE})
            self._rebalance = None
        batch, now = ConsumedBatch(), self._clock()
        left = self._next - now
        if self._paused or left > 0:
            self._wait(timeout if self._paused else min(left, timeout))
            return batch
        if self._made == self._committed:
            self._add(batch, self._next)
        self._next = float("inf") if self._once else self._following(now)
        return batch

    def _add(self, batch: ConsumedBatch, when: float) -> None:
        moment = datetime.fromtimestamp(when, timezone.utc).isoformat(timespec="milliseconds")
        id = f"{self._name}/schedule/{moment}"
        batch.topics.append(_PLACE.topic)
        batch.partitions.append(_PLACE.partition)
        batch.offsets.append(self._made)
        batch.timestamps.append(int(when * 1000))
        batch.keys.append(None)
        batch.values.append(None)
        batch.headers.append((("id", id.encode()), ("type", f"{self._name}.schedule".encode())))
        self._made += 1

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Their calls are done."""
        self._committed = offsets[_PLACE]

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.pause`."""
        self._paused = True

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See `Consumer.resume`."""
        self._paused = False

    def assigned(self) -> frozenset[TopicPartition]:
        """See `Consumer.assigned`."""
        return frozenset({_PLACE})

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """There is nothing to go back to."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Calls that are not done."""
        return {_PLACE: self._end - self._committed}

    def ends(self) -> Mapping[TopicPartition, int]:
        """See `Consumer.ends`."""
        return {_PLACE: self._end}

    @property
    def _end(self) -> int:
        return max(self._made, int(self._once))

    def close(self) -> None:
        """Nothing is held."""
