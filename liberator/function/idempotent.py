"""An event that comes again does not start the function again: the ids of events that it has done are remembered.

Enters: events. Leaves: outcomes, as if the function had been called for all of them. Between the dispatch loop and whatever
runs the function. `begin` leaves out what is known; `remember` is called by the loop once events are done, and what the
function gave for them is durable by then. A crash in between means that the function is called again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from liberator.change import Event
from liberator.protocols import Invocations, Outcome


class DoneIds(Protocol):
    """Remembers ids. Raises `FunctionError` (function.idempotency), retryable."""

    def known(self, ids: Collection[str]) -> set[str]:
        """Those of them that were remembered, and not too long ago."""

    def remember(self, ids: Collection[str]) -> None:
        """Durable when it returns."""

    def close(self) -> None:
        """Give the connection back."""


class IdempotentInvocations:
    """See `liberator.protocols.Invocations`. again: what is known starts it, too, and is remembered anew."""

    def __init__(self, invocations: Invocations, ids: DoneIds, *, again: bool = False) -> None:
        self._invocations = invocations
        self._ids = ids
        self._again = again
        self._places: dict[int, list[list[int]]] = {}
        self._nothing_to_do: deque[int] = deque()

    def free(self) -> int:
        """How many invocations could begin now."""
        return self._invocations.free()

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Start an invocation with the events that are not known; of those with one id with the first."""
        known = set() if self._again else self._ids.known({event.id for event in events})
        places: dict[str, list[int]] = {}
        for index, event in enumerate(events):
            if event.id not in known:
                places.setdefault(event.id, []).append(index)
        if not places:
            self._nothing_to_do.append(number)
            return
        self._places[number] = list(places.values())
        self._invocations.begin(number, [events[indexes[0]] for indexes in places.values()], attempt)

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that have ended since the last call."""
        ended = [(number, Outcome()) for number in self._nothing_to_do]
        self._nothing_to_do.clear()
        for number, outcome in self._invocations.finished(0.0 if ended else timeout):
            ended.append((number, _of_all(outcome, self._places.pop(number))))
        return ended

    def remember(self, events: Sequence[Event]) -> None:
        """These are done."""
        self._ids.remember({event.id for event in events})

    def close(self, timeout: float) -> None:
        """Give the function's resources back."""
        self._invocations.close(timeout)
        self._ids.close()


def _of_all(outcome: Outcome, places: Sequence[Sequence[int]]) -> Outcome:
    """The outcome of all events, from that of those that the function was given."""
    failures = {index: error for given, error in outcome.failures.items() for index in places[given]}
    outputs = [
        output if output.event is None else replace(output, event=places[output.event][0])
        for output in outcome.outputs
    ]
    return Outcome(failures, outputs)
