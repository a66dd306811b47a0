"""When a function starts on what the stream holds: any of a sink's triggers is enough.

Enters: what waits, how far behind the group is, the time. Leaves: yes or no. Called by the loop, at every turn. No I/O:
clocks are passed in.

A trigger on lag or on a schedule opens a gate: from then on everything that the stream holds is done, until nothing has been
left for a moment; then it closes. Times that pass while a gate is open open nothing else, and times that passed while the
connector was not running are not made up for: what they would have done, the next one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from liberator.dispatch.backlog import Backlog

QUIET = 0.5
"""Seconds with nothing left after which a gate closes."""


class Condition(Protocol):
    """One reason to start."""

    def due(self, backlog: Backlog, now: float) -> bool:
        """Shall an invocation begin? now: monotonic seconds."""

    def lag(self, events: int) -> None:
        """So many events of the stream are not done."""


class Trigger:
    """count, size: events and bytes of an invocation, at most. conditions: each of them is enough to start one. spread:
    share what waits out among all who have nothing to do, since in an invocation its events follow each other."""

    def __init__(
        self, count: int, size: int, conditions: Sequence[Condition], *, spread: bool = False
    ) -> None:
        self.count, self.size = count, size
        self._conditions = conditions
        self._spread = spread

    def share(self, ready: int, free: int) -> int:
        """Events of the next invocation, at most. ready: that may be taken now. free: invocations that could begin."""
        return min(self.count, max(1, -(-ready // free))) if self._spread else self.count

    def due(self, backlog: Backlog, now: float) -> bool:
        """Shall an invocation begin? All are asked: each has to see the time pass."""
        reasons = [condition.due(backlog, now) for condition in self._conditions]
        return any(reasons)

    def lag(self, events: int) -> None:
        """So many events of the stream are not done."""
        for condition in self._conditions:
            condition.lag(events)


class OnStream:
    """So many events wait, so many bytes, or one that has waited for so long. window: seconds; 0: at once."""

    def __init__(self, count: int, window: float, size: int) -> None:
        self._count, self._window, self._size = count, window, size

    def due(self, backlog: Backlog, now: float) -> bool:
        """See `Condition.due`."""
        oldest = backlog.oldest()
        if oldest is None:
            return False
        enough = backlog.ready >= self._count or backlog.ready_size >= self._size
        return enough or now - oldest >= self._window

    def lag(self, events: int) -> None:
        """Makes no difference."""


class _Gate:
    """Open until nothing has been left for a moment."""

    def __init__(self) -> None:
        self._is_open = False
        self._empty_since: float | None = None

    def _pass(self, opens: bool, backlog: Backlog, now: float) -> bool:
        if opens:
            self._is_open, self._empty_since = True, None
        if not self._is_open or backlog.size:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since >= QUIET:
            self._is_open = False
        return self._is_open and backlog.ready > 0


class OnLag(_Gate):
    """The group is so many events behind, or an event has waited for so long. max_wait: seconds."""

    def __init__(self, threshold: int, max_wait: float) -> None:
        super().__init__()
        self._threshold, self._max_wait = threshold, max_wait
        self._behind = False

    def due(self, backlog: Backlog, now: float) -> bool:
        """See `Condition.due`."""
        oldest = backlog.oldest()
        waited = oldest is not None and now - oldest >= self._max_wait
        behind, self._behind = self._behind, False
        return self._pass(behind or waited, backlog, now)

    def lag(self, events: int) -> None:
        """See `Condition.lag`."""
        self._behind = events >= self._threshold


class OnSchedule(_Gate):
    """A time has come. following: the next time after one, both Unix seconds. clock: the time."""

    def __init__(self, following: Callable[[float], float], clock: Callable[[], float]) -> None:
        super().__init__()
        self._following, self._clock = following, clock
        self._next = following(clock())

    def due(self, backlog: Backlog, now: float) -> bool:
        """See `Condition.due`."""
        time = self._clock()
        come = time >= self._next
        if come:
            self._next = self._following(time)
        return self._pass(come, backlog, now)

    def lag(self, events: int) -> None:
        """Makes no difference."""
