"""Events that wait to start a function, in lanes: what shares a lane is done one after the other, in its order.

Enters: events as they are read. Leaves: those that may be done now, as many as a batch takes. Called by the loop. A lane
whose events are with a function is held until they are done, retries included; its later events wait. No I/O, no clock.

Theory of operation: events wait in one line, in pieces as they were read. While at most one batch is out nobody asks for
lanes, and batches are cut off the line whole. Who asks for more while one is out has every event looked at: which lane is it
in, and is that one held? What is met of a held lane steps aside; when the lane is free again it comes before the line, as it
was read before all that is still in it. When all is back, and little waits, lanes are forgotten.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby

from liberator.change import Event, TopicPartition
from liberator.lanes import Order, lane_of

_EVENT_BYTES = 400
"""What an event costs besides its key and value."""

_LITTLE = 1_000
"""So many events are put into lanes anew without anybody noticing."""

_Waiting = tuple[int, Event, float]
"""An event that stepped aside: which one it is of all that were read, and when it was."""


class _Piece:
    """Events that were read together. first: index of the first that is left. number: which one of all the first was."""

    __slots__ = ("_sums", "events", "first", "now", "number")

    def __init__(self, events: Sequence[Event], now: float, number: int) -> None:
        self.events = events
        self.now = now
        self.number = number
        self.first = 0
        self._sums = [0, *accumulate(map(weight, events))]

    def size(self) -> int:
        """Bytes that are left."""
        return self._sums[-1] - self._sums[self.first]

    def left(self) -> int:
        """Events that are left."""
        return len(self.events) - self.first

    def cut(self, count: int, size: int) -> Sequence[Event]:
        """The next events: at most `count`, and no more once their bytes are `size`."""
        enough = bisect_left(self._sums, self._sums[self.first] + size, self.first + 1)
        end = min(len(self.events), self.first + count, enough)
        cut = self.events[self.first : end]
        self.first = end
        return cut


class _Lane:
    """waiting, size: events of it, wherever they wait. aside: those that were met while it was held."""

    __slots__ = ("aside", "held", "size", "waiting")

    def __init__(self) -> None:
        self.aside: list[_Waiting] = []
        self.held = False
        self.size = self.waiting = 0


class Backlog:
    """What waits. order: which events share a lane: those of a key, of a partition, none.

    Events are taken in the order in which they were read, as far as their lanes are free: so what is done of a partition
    has few gaps, and its offset can be committed far.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._line: deque[_Piece] = deque()
        self._returned: list[_Waiting] = []
        self._lanes: dict[Hashable, _Lane] | None = None
        self._held = 0
        self._out: Sequence[Event] = ()
        self._read = 0
        self._ready = self._ready_size = 0
        self.count = 0
        """Events that wait."""
        self.size = 0
        """Their bytes, about."""

    @property
    def ready(self) -> int:
        """Events that could be taken now."""
        self._look_at_lanes()
        return self._ready

    @property
    def ready_size(self) -> int:
        """Their bytes."""
        self._look_at_lanes()
        return self._ready_size

    def lane_of(self, event: Event) -> Hashable:
        """See `liberator.lanes.lane_of`."""
        return lane_of(event, self._order)

    def add(self, events: Sequence[Event], now: float) -> None:
        """Events were read at `now`."""
        if not events:
            return
        piece = _Piece(events, now, self._read)
        self._read += len(events)
        self._line.append(piece)
        self.count += len(events)
        self.size += piece.size()
        self._ready += len(events)
        self._ready_size += piece.size()
        if self._lanes is not None:
            self._enter_lanes(self._lanes, events)

    def oldest(self) -> float | None:
        """When the event was read that is first in turn; None: there is none."""
        self._look_at_lanes()
        for _, _, now in self._free():
            return now
        return None

    def take(self, count: int, size: int) -> list[Event]:
        """Events that may be done now: at most `count`, about `size` bytes, one at least. Their lanes are held until
        `release`."""
        self._look_at_lanes()
        taken: list[Event] = []
        if self._lanes is None:
            while self._line and len(taken) < count and (size > 0 or not taken):
                piece = self._line[0]
                before = piece.size()
                taken += piece.cut(count - len(taken), size)
                size -= before - piece.size()
                self._went(before - piece.size())
                if not piece.left():
                    self._line.popleft()
            self._ready -= len(taken)
            self.count -= len(taken)
            if self._order != "none":
                self._out = taken
            return taken
        return self._take_by_lanes(self._lanes, count, size)

    def release(self, events: Sequence[Event], still: Collection[Event] = ()) -> None:
        """These are done with: what waits behind them may come. still: events that still hold their lanes."""
        if self._lanes is None and not still and len(events) >= len(self._out):
            self._out = ()
            return
        self._look_at_lanes()
        lanes = self._lanes
        if lanes is None:
            return
        kept = {self.lane_of(event) for event in still}
        for name in {self.lane_of(event) for event in events} - kept:
            lane = lanes.get(name)
            if lane is not None and lane.held:
                self._free_lane(lanes, name, lane)
        if not self._held and self.count <= _LITTLE:
            self._forget_lanes()

    def drop(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Forget what waits of these partitions behind an offset of each."""
        entries = sorted(self._everything(), key=_number)
        kept = [entry for entry in entries if not _is_behind(entry[1], partitions)]
        if len(kept) == len(entries):
            return
        held = None if self._lanes is None else [name for name, lane in self._lanes.items() if lane.held]
        self._lanes = None
        self._line.clear()
        self._returned.clear()
        self.count = self.size = self._ready = self._ready_size = self._read = 0
        for now, together in groupby(kept, lambda entry: entry[2]):
            self.add([event for _, event, _ in together], now)
        if held is not None:
            self._make_lanes(held)

    # Lanes

    def _look_at_lanes(self) -> None:
        """Somebody wants to know more while a batch is out."""
        if self._lanes is None and self._out:
            self._make_lanes({self.lane_of(event) for event in self._out})
            self._out = ()

    def _make_lanes(self, held: Collection[Hashable]) -> None:
        self._lanes = lanes = {name: _Lane() for name in held}
        self._held = len(lanes)
        for lane in lanes.values():
            lane.held = True
        for piece in self._line:
            self._enter_lanes(lanes, piece.events[piece.first :])

    def _enter_lanes(self, lanes: dict[Hashable, _Lane], events: Iterable[Event]) -> None:
        for event in events:
            name = self.lane_of(event)
            lane = lanes.get(name)
            if lane is None:
                lane = lanes[name] = _Lane()
            size = weight(event)
            lane.waiting += 1
            lane.size += size
            if lane.held:
                self._ready -= 1
                self._ready_size -= size

    def _forget_lanes(self) -> None:
        self._lanes = None
        for number, event, now in sorted(self._returned, key=_number, reverse=True):
            self._line.appendleft(_Piece([event], now, number))
        self._returned.clear()

    def _free_lane(self, lanes: dict[Hashable, _Lane], name: Hashable, lane: _Lane) -> None:
        self._held -= 1
        if not lane.waiting:
            del lanes[name]
            return
        lane.held = False
        self._ready += lane.waiting
        self._ready_size += lane.size
        for entry in lane.aside:
            heapq.heappush(self._returned, entry)
        lane.aside.clear()

    def _take_by_lanes(self, lanes: dict[Hashable, _Lane], count: int, size: int) -> list[Event]:
        taken: list[Event] = []
        touched: set[Hashable] = set()
        for _, event, _ in self._free():
            self._pop()
            taken.append(event)
            name, cost = self.lane_of(event), weight(event)
            lane = lanes[name]
            lane.waiting -= 1
            lane.size -= cost
            self.count -= 1
            self._ready -= 1
            self._went(cost)
            size -= cost
            touched.add(name)
            if len(taken) >= count or size <= 0:
                break
        for name in touched:
            lane = lanes[name]
            lane.held = True
            self._held += 1
            self._ready -= lane.waiting
            self._ready_size -= lane.size
        return taken

    # The line

    def _free(self) -> Iterator[_Waiting]:
        """The first event in turn whose lane is free, as long as it is popped; what is met of held ones steps aside."""
        while (entry := self._first()) is not None:
            lane = None if self._lanes is None else self._lanes[self.lane_of(entry[1])]
            if lane is None or not lane.held:
                yield entry
            else:
                self._pop()
                lane.aside.append(entry)

    def _first(self) -> _Waiting | None:
        """What stepped aside was read before all that is in the line."""
        if self._returned:
            return self._returned[0]
        if not self._line:
            return None
        piece = self._line[0]
        return piece.number + piece.first, piece.events[piece.first], piece.now

    def _pop(self) -> None:
        if self._returned:
            heapq.heappop(self._returned)
            return
        piece = self._line[0]
        piece.first += 1
        if not piece.left():
            self._line.popleft()

    def _went(self, size: int) -> None:
        self.size -= size
        self._ready_size -= size

    def _in_line(self) -> Iterator[_Waiting]:
        for piece in self._line:
            for index in range(piece.first, len(piece.events)):
                yield piece.number + index, piece.events[index], piece.now

    def _everything(self) -> Iterator[_Waiting]:
        yield from self._returned
        yield from self._in_line()
        for lane in (self._lanes or {}).values():
            yield from lane.aside


def _number(entry: _Waiting) -> int:
    return entry[0]


def _is_behind(event: Event, offsets: Mapping[TopicPartition, int]) -> bool:
    return event.offset > offsets.get(event.place, event.offset)


def weight(event: Event) -> int:
    """Bytes that an event takes, about."""
    return _EVENT_BYTES + len(event.raw_key or b"") + len(event.raw_value or b"")
