"""Invocations in threads, for functions that wait for others and keep their time-out themselves: remote calls, or trusted
Python in the connector's own process.

Enters: events. Leaves: outcomes. Called by the dispatch loop.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from liberator.change import Event
from liberator.errors import FunctionError, LiberatorError
from liberator.function.context import Context
from liberator.function.state import Reader, State
from liberator.protocols import Outcome


class Callee(Protocol):
    """What is called in a thread; several calls at a time unless there is one worker."""

    name: str

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Do it. A `LiberatorError` that it raises is not about its events: it ends the session."""

    def close(self) -> None:
        """Give resources back."""


class ThreadInvocations:
    """See `liberator.protocols.Invocations`. timeout: seconds that a call is told it has. reader: of the
    store of `context.state`; None: there is none.

    The threads are daemons: a call that never ends does not keep the process from ending.
    """

    def __init__(
        self,
        function: Callee,
        *,
        most: int = 8,
        timeout: float | None = None,
        reader: Reader | None = None,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._function = function
        self._most = most
        self._timeout = timeout
        self._reader = reader
        self._tick = tick
        self._running = 0
        self._threads: list[threading.Thread] = []
        self._calls: queue.SimpleQueue[tuple[int, Sequence[Event], int] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[tuple[int, Outcome | LiberatorError]] = queue.SimpleQueue()

    def free(self) -> int:
        """How many invocations could begin now."""
        return self._most - self._running

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Call the function in a thread."""
        self._running += 1
        if self._running > len(self._threads):
            thread = threading.Thread(target=self._work, name=f"function-{self._running}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._calls.put((number, events, attempt))

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that have ended since the last call."""
        found = []
        try:
            found.append(self._ended.get(timeout > 0, timeout or None))
            while True:
                found.append(self._ended.get(False))
        except queue.Empty:
            pass
        self._running -= len(found)
        ended = []
        for number, outcome in found:
            if isinstance(outcome, LiberatorError):
                raise outcome
            ended.append((number, outcome))
        return ended

    def close(self, timeout: float) -> None:
        """Give the function's resources back; calls that still run are left to their time-out."""
        for _ in self._threads:
            self._calls.put(None)
        if self._running == 0:
            for thread in self._threads:
                thread.join()
        self._function.close()
        if self._reader is not None:
            self._reader.close()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            self._call(*call)

    def _call(self, number: int, events: Sequence[Event], attempt: int) -> None:
        deadline = None if self._timeout is None else self._tick() + self._timeout
        outcome: Outcome | LiberatorError
        try:
            state = None if self._reader is None else State(self._reader)
            outcome = self._function.call(events, Context(self._function.name, attempt, deadline, state))
        except LiberatorError as error:
            outcome = error
        except BaseException as error:
            # sys.exit, a cancelled task, a defect: the loop must hear of it, not wait for ever.
            failure = FunctionError(f"calling failed: {error!r}", code="function.failed", retryable=True)
            outcome = Outcome(dict.fromkeys(range(len(events)), failure))
        self._ended.put((number, outcome))
