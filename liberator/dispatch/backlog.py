"""Events that wait to start a function, in lanes: what shares a lane is done one after the other, in its order.

Enters: events as they are read. Leaves: those that may be done now, as many as a batch takes. Called by the loop. A lane
whose events are with a function is held until they are done, retries included; its later events wait. No I/O, no clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Literal

from liberator.change import Event, TopicPartition

Order = Literal["key", "partition", "none"]

_EVENT_BYTES = 400
"""What an event costs besides its key and value."""


class _Lane:
    __slots__ = ("held", "name", "size", "waiting")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.waiting: deque[tuple[int, Event, float]] = deque()
        self.size = 0
        self.held = False


class Backlog:
    """What waits. order: which events share a lane: those of a key, of a partition, none. Events without a key share the
    lane of their partition: their order is all there is.

    Events are taken in the order in which they were read, as far as their lanes are free: so what is done of a partition
    has few gaps, and its offset can be committed far.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lanes: dict[Hashable, _Lane] = {}
        # Lanes that are free, by when their first event was read. An entry is stale when that is no longer its first.
        self._ready: list[tuple[int, _Lane]] = []
        self._read = 0
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
        self._read += 1
        if not lane.waiting and not lane.held:
            heapq.heappush(self._ready, (self._read, lane))
        lane.waiting.append((self._read, event, now))
        size = weight(event)
        lane.size += size
        self.size += size
        if not lane.held:
            self.ready += 1
            self.ready_size += size

    def oldest(self) -> float | None:
        """When the event was read that is first in turn; None: there is none."""
        first = self._first()
        return None if first is None else first.waiting[0][2]

    def take(self, count: int, size: int) -> list[Event]:
        """Events that may be done now: at most `count`, about `size` bytes, one at least. Their lanes are held until
        `release`."""
        taken: list[Event] = []
        lanes: dict[Hashable, _Lane] = {}
        left = size
        while len(taken) < count and (left > 0 or not taken):
            lane = self._first()
            if lane is None:
                break
            heapq.heappop(self._ready)
            _, event, _ = lane.waiting.popleft()
            taken.append(event)
            cost = weight(event)
            lane.size -= cost
            left -= cost
            self.size -= cost
            self.ready -= 1
            self.ready_size -= cost
            lanes[lane.name] = lane
            self._offer(lane)
        for lane in lanes.values():
            if lane.name is not None:
                lane.held = True
                self.ready -= len(lane.waiting)
                self.ready_size -= lane.size
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
                self._offer(lane)
                self.ready += len(lane.waiting)
                self.ready_size += lane.size
            else:
                del self._lanes[name]

    def drop(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Forget what waits of these partitions behind an offset of each."""
        for lane in list(self._lanes.values()):
            lost = [event for _, event, _ in lane.waiting if _is_behind(event, partitions)]
            if not lost:
                continue
            lane.waiting = deque(entry for entry in lane.waiting if not _is_behind(entry[1], partitions))
            size = sum(map(weight, lost))
            lane.size -= size
            self.size -= size
            if lane.held:
                continue
            self.ready -= len(lost)
            self.ready_size -= size
            if lane.waiting:
                self._offer(lane)
            else:
                del self._lanes[lane.name]

    def _offer(self, lane: _Lane) -> None:
        """Its first event may be taken when it is its turn."""
        if lane.waiting:
            heapq.heappush(self._ready, (lane.waiting[0][0], lane))

    def _first(self) -> _Lane | None:
        """The free lane whose first event was read first. What is stale goes."""
        while self._ready:
            read, lane = self._ready[0]
            if not lane.held and lane.waiting and lane.waiting[0][0] == read:
                return lane
            heapq.heappop(self._ready)
        return None


def _is_behind(event: Event, offsets: Mapping[TopicPartition, int]) -> bool:
    return event.offset > offsets.get(event.place, event.offset)


def weight(event: Event) -> int:
    """Bytes that an event takes, about."""
    return _EVENT_BYTES + len(event.raw_key or b"") + len(event.raw_value or b"")
