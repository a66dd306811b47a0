"""Events that wait to start a function, in lanes: what shares a lane is done one after the other, in its order.

Enters: events as they are read. Leaves: those that may be done now, as many as a batch takes. Called by the loop. A lane
whose events are with a function is held until they are done, retries included; its later events wait. No I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable
from typing import Literal

from liberator.change import Event, TopicPartition

Order = Literal["key", "partition", "none"]

_EVENT_BYTES = 400
"""What an event costs besides its key and value."""


class _Lane:
    __slots__ = ("held", "name", "size", "waiting")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.waiting: deque[tuple[Event, float]] = deque()
        self.size = 0
        self.held = False


class Backlog:
    """What waits. order: which events share a lane: those of a key, of a partition, none. Events without a key share the
    lane of their partition: their order is all there is."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lanes: dict[Hashable, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self.size = 0
        """Bytes of all that waits, about."""
        self.ready = 0
        """Events that could be taken now."""
        self.ready_size = 0
        """Their bytes."""

    def lane_of(self, event: Event) -> Hashable:
        """The name of an event's lane; None: it has none of its own, and waits for nobody."""
        if self._order == "none":
            return None
        if self._order == "partition" or event.raw_key is None:
            return (event.topic, event.partition)
        return (event.topic, event.raw_key)

    def add(self, event: Event, now: float) -> None:
        """An event was read at `now`."""
        name = self.lane_of(event)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(name)
        if not lane.waiting and not lane.held:
            self._ready.append(lane)
        lane.waiting.append((event, now))
        size = weight(event)
        lane.size += size
        self.size += size
        if not lane.held:
            self.ready += 1
            self.ready_size += size

    def oldest(self) -> float | None:
        """When the event was read that is first in turn; None: there is none."""
        return self._ready[0].waiting[0][1] if self._ready else None

    def take(self, count: int, size: int) -> list[Event]:
        """Events that may be done now: at most `count`, about `size` bytes, one at least. Their lanes are held until
        `release`."""
        taken: list[Event] = []
        taken_size = 0
        while self._ready and len(taken) < count and (taken_size < size or not taken):
            lane = self._ready.popleft()
            while lane.waiting and len(taken) < count and (taken_size < size or not taken):
                event, _ = lane.waiting.popleft()
                taken.append(event)
                lane.size -= weight(event)
                taken_size += weight(event)
                self.ready -= 1
            if lane.name is None:
                if lane.waiting:
                    self._ready.appendleft(lane)
                continue
            lane.held = True
            self.ready -= len(lane.waiting)
            self.ready_size -= lane.size
        self.ready_size -= taken_size
        self.size -= taken_size
        return taken

    def release(self, events: Iterable[Event], still: Collection[Event] = ()) -> None:
        """These are done with: what waits behind them may come. still: events that still hold their lanes."""
        kept = {self.lane_of(event) for event in still}
        for name in {self.lane_of(event) for event in events} - kept - {None}:
            lane = self._lanes.get(name)
            if lane is None or not lane.held:
                continue
            lane.held = False
            if lane.waiting:
                self._ready.append(lane)
                self.ready += len(lane.waiting)
                self.ready_size += lane.size
            else:
                del self._lanes[name]

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what waits of these partitions; they are not ours any more."""
        gone = set(partitions)
        for lane in list(self._lanes.values()):
            kept = deque(
                (event, at) for event, at in lane.waiting if (event.topic, event.partition) not in gone
            )
            lost = [event for event, _ in lane.waiting if (event.topic, event.partition) in gone]
            if not lost:
                continue
            lane.waiting = kept
            size = sum(map(weight, lost))
            lane.size -= size
            self.size -= size
            if lane.held:
                continue
            self.ready -= len(lost)
            self.ready_size -= size
            if not kept:
                self._ready.remove(lane)
                del self._lanes[lane.name]


def weight(event: Event) -> int:
    """Bytes that an event takes, about."""
    return _EVENT_BYTES + len(event.raw_key or b"") + len(event.raw_value or b"")
