"""Invocations whose state and offsets change in one transaction.

Enters: events, outcomes with what the function changed. Leaves: outcomes; in the store the changes, once what the
function gave is durable. Between the dispatch loop and whatever runs the function. One invocation at a time: the next one
sees what this one has changed. An invocation that fails, as a whole or for some of its events, changes nothing: nobody
knows which change is whose.
"""

from __future__ import annotations

from collections.abc import Sequence

from liberator.change import Event, TopicPartition
from liberator.errors import FunctionError
from liberator.function.state_store import StateStore
from liberator.protocols import Invocations, Outcome, StateChanges

_NOTHING = StateChanges({}, {})


class StatefulInvocations:
    """See `liberator.protocols.Invocations`, and `liberator.consume.placed.Places`."""

    def __init__(self, invocations: Invocations, store: StateStore) -> None:
        self._invocations = invocations
        self._store = store
        self._sizes: dict[int, int] = {}
        self._changes = _NOTHING
        self.places = store.places

    def free(self) -> int:
        """One at a time."""
        return 0 if self._sizes else min(1, self._invocations.free())

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Start an invocation."""
        self._sizes[number] = len(events)
        self._changes = _NOTHING
        self._invocations.begin(number, events, attempt)

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that have ended since the last call. Raises what is the store's fault, and no event's."""
        return [
            (number, self._whole(outcome, self._sizes.pop(number)))
            for number, outcome in self._invocations.finished(timeout)
        ]

    def save(self, events: Sequence[Event]) -> None:
        """What the function has changed for these, with their offsets. Raises `LiberatorError`."""
        done: dict[TopicPartition, tuple[int, int]] = {}
        for event in events:
            first, _ = done.get(event.place, (event.offset, event.offset))
            done[event.place] = first, event.offset
        changes, self._changes = self._changes, _NOTHING
        self._store.save(changes, done)

    def forget(self) -> None:
        """Begin with nothing: neither state nor offsets. For rehearsals."""
        self._store.clear()

    def close(self, timeout: float) -> None:
        """Give the function's resources and the store back."""
        self._invocations.close(timeout)
        self._store.close()

    def _whole(self, outcome: Outcome, size: int) -> Outcome:
        for error in outcome.failures.values():
            if error.code in ("function.state_unreachable", "function.state_refused"):
                raise error
        if not outcome.failures:
            self._changes = outcome.state or _NOTHING
            return outcome
        if len(outcome.failures) == size:
            return Outcome(outcome.failures)
        return Outcome(dict.fromkeys(range(size), _as_one()))


def _as_one() -> FunctionError:
    return FunctionError(
        "some events of a batch failed, and nobody knows which change of the state is whose",
        code="function.partial",
        retryable=True,
    )
