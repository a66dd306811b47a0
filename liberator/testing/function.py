"""A function under test: what it was given, and when its invocations end, is the test's.

Enters: events. Leaves: what the test says. One thread; nothing happens by itself. Passes the suite of all invocations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from liberator.change import Event
from liberator.protocols import Outcome


class MemoryFunction:
    """Invocations that end when `end` is called, or at once with what `answer` gives. workers: how many run at a time."""

    def __init__(
        self, answer: Callable[[Sequence[Event], int], Outcome] | None = None, workers: int = 4
    ) -> None:
        self.calls: list[tuple[list[Event], int]] = []
        self.running: dict[int, list[Event]] = {}
        self.closed = False
        self._answer = answer
        self._workers = workers
        self._ended: list[tuple[int, Outcome]] = []

    def free(self) -> int:
        """How many invocations could begin now."""
        return self._workers - len(self.running)

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Remember it; end it at once if the test gave an answer."""
        assert self.free() > 0, "more invocations than workers"
        self.calls.append((list(events), attempt))
        self.running[number] = list(events)
        if self._answer is not None:
            self.end(number, self._answer(events, attempt))

    def end(self, number: int, outcome: Outcome | None = None) -> None:
        """Let an invocation end."""
        del self.running[number]
        self._ended.append((number, outcome or Outcome()))

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that were ended since the last call; does not wait."""
        ended, self._ended = self._ended, []
        return ended

    def close(self, timeout: float) -> None:
        """Remember it."""
        self.closed = True
