"""A Python function in worker processes, for whoever waits for one call at a time: steps, and functions that are called by
others. A call that takes too long is killed.

Enters: events, from several threads. Leaves: an `Outcome`. Each call has one worker; the one that worked last works next.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.context import Context
from liberator.function.process import ProcessInvocations, WorkerSettings
from liberator.protocols import Outcome

_TICK = 1.0
"""Seconds between two looks at a call that has no end."""


class AsideFunction:
    """See `liberator.function.threads.Callee`. settings.most: workers, and so calls at a time."""

    def __init__(self, target: str, folder: Path, settings: WorkerSettings) -> None:
        self.name = target
        self._folder = folder
        self._settings = settings
        self._closed = False
        self._free: queue.LifoQueue[ProcessInvocations | None] = queue.LifoQueue()
        for _ in range(settings.most):
            self._free.put(None)

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Call it in a worker that is free. Raises what one says that can't start: `ConfigError`, `FunctionError`."""
        try:
            worker = self._free.get(timeout=context.remaining)
        except queue.Empty:
            return self._too_late(events)
        kept: ProcessInvocations | None = None
        try:
            worker = worker or self._made()
            worker.begin(1, events, context.attempt)
            outcome = _waited_for(worker, context)
            if outcome is not None and not self._closed:
                kept = worker
        finally:
            if worker is not None and kept is None:
                worker.close(0.0)
            self._free.put(kept)
        return self._too_late(events) if outcome is None else outcome

    def close(self) -> None:
        """End all workers; one that is at work ends with its call."""
        self._closed = True
        for _ in range(self._settings.most):
            try:
                worker = self._free.get_nowait()
            except queue.Empty:
                return
            if worker is not None:
                worker.close(0.0)

    def _made(self) -> ProcessInvocations:
        return ProcessInvocations(self.name, self._folder, replace(self._settings, least=0, most=1))

    def _too_late(self, events: Sequence[Event]) -> Outcome:
        what = "the function did not end in time"
        error = FunctionError(what, code="function.timeout", where=self.name, retryable=True)
        return Outcome(dict.fromkeys(range(len(events)), error))


def _waited_for(worker: ProcessInvocations, context: Context) -> Outcome | None:
    """What became of the invocation; None: no time is left."""
    while True:
        left = context.remaining
        ended = worker.finished(_TICK if left is None else left)
        if ended:
            return ended[0][1]
        if left is not None and left <= 0:
            return None
