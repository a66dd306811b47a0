"""A circuit breaker: a function that fails every time is left alone for a while, and no event is given up for it.

Theory of operation. Closed: every call goes through. Calls in a row that fail, and may pass later, open it:

    what failed                                          opens it after
    nobody answers, or says that it is overloaded        `failures` calls, or one for which there is no other attempt
    anything else, of events of more than one call       `failures` calls
    anything else, of events of one call only            never: it may be an event that always fails

Open: no call is begun, and failures of those that were under way do not count as attempts. After a pause it is half open:
one call goes through. When that fails it is open again, for twice as long; when it is done, or the function at least
answers, it is closed.

Enters: outcomes. Leaves: how many calls may begin, and outcomes whose failures do not count. Between the dispatch loop and
whatever calls the function.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.context import UNTRIED
from liberator.protocols import Invocations, Outcome

log = logging.getLogger(__name__)

CircuitState = Literal["closed", "open", "half_open"]

_AWAY = frozenset({"function.unreachable", "function.http_429", "function.http_503", "function.aws"})
"""Codes that are about the function, whatever the event."""

_NEVER_SENT = "function.too_large"
"""Code of what was not called at all, so that nothing is known of the function. Halves of it may be."""

_BEHIND_OTHERS = 1.5
"""Pauses after which an event is tried again that failed: others, that did not yet, come first."""

OPEN = "function.circuit_open"
"""Code of the error that ends a connector which is not to wait."""


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """failures: calls in a row that open it. pause, longest: seconds that it stays open, the first time and at most.
    attempts: how often an event is tried. ends: opening it ends the connector. name: of the function, for the log."""

    failures: int = 5
    pause: float = 1.0
    longest: float = 60.0
    attempts: int = 5
    ends: bool = False
    name: str = "the function"


@dataclass(frozen=True, slots=True)
class CircuitReport:
    """error: what opened it; None: it is closed. pause: seconds until the next call."""

    state: CircuitState
    error: FunctionError | None = None
    pause: float = 0.0


class Circuit:
    """The state of one function, for as long as the connector runs. changed: called when it changes. tick: monotonic
    seconds."""

    def __init__(
        self,
        settings: CircuitSettings,
        changed: Callable[[CircuitReport], None] = lambda report: None,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._changed = changed
        self._tick = tick
        self._state: CircuitState = "closed"
        self._pause = settings.pause
        self._until = self._since = 0.0
        self._error: FunctionError | None = None
        self._away = False
        self._failed = 0
        self._suspects: set[tuple[str, int, int]] = set()
        self._others = False
        changed(CircuitReport("closed"))

    def is_open(self) -> bool:
        """Is the function left alone, or tried with a single call?"""
        return self._state != "closed"

    def allows(self, running: int, free: int) -> int:
        """How many calls may begin, of `free` that could. running: calls under way that were begun half open."""
        if self._state == "closed":
            return free
        return 0 if running or self._tick() < self._until else min(1, free)

    def begins(self) -> bool:
        """A call begins; True: it is the one that finds out."""
        if self._state == "closed":
            return False
        if self._state != "half_open":
            self._state = "half_open"
            self._changed(CircuitReport("half_open", self._error))
        return True

    def judge(self, events: Sequence[Event], outcome: Outcome, attempt: int, *, probe: bool) -> bool:
        """A call has ended. Returns False when its failures do not count as an attempt."""
        late = {index for index, error in outcome.failures.items() if error.code == UNTRIED}
        errors = [error for error in outcome.failures.values() if error.code != UNTRIED]
        events = [event for index, event in enumerate(events) if index not in late]
        if any(error.code == _NEVER_SENT for error in errors):
            return True
        if not errors or len(errors) < len(events) or not all(error.retryable for error in errors):
            if probe or self._state == "closed":
                self._close()
            return True
        error = max(errors, key=lambda one: (one.code in _AWAY, one.retry_after))
        away = error.code in _AWAY
        if probe and self._away and not away:
            self._close()  # it answers: whether it can do nothing at all is counted anew
        if self._state == "closed":
            self._count(events, errors)
            enough = self._failed >= self._settings.failures and (away or self._others)
            if not enough and not (away and attempt >= self._settings.attempts):
                return True
            self._since, self._pause = self._tick(), self._settings.pause
            self._open(error, away)
        elif probe:
            self._pause = min(self._settings.longest, self._pause * 2)
            self._open(error, away)
        return False

    def held(self, error: FunctionError | None = None) -> FunctionError:
        """A failure as one that does not count; or, for who is not to wait, as the end. error: default: what opened it."""
        error = error or self._error
        assert error is not None, "it is open, or was"
        if self._settings.ends:
            what = f"it failed every time: {error}"
            fix = "when it works again, start again: nothing was given up"
            return FunctionError(what, code=OPEN, where=error.where, fix=error.fix or fix)
        again = max(0.0, self._until - self._tick()) * _BEHIND_OTHERS
        return FunctionError(
            error.what,
            code=error.code,
            where=error.where,
            fix=error.fix,
            retryable=True,
            retry_after=max(error.retry_after, again),
            counts=False,
        )

    def _count(self, events: Sequence[Event], errors: Sequence[FunctionError]) -> None:
        """One more failure in a row. Retries and halves of one call are about the same events."""
        places = {(event.topic, event.partition, event.offset) for event in events}
        if not self._failed:
            self._suspects = places
        self._others |= not places <= self._suspects or len({id(error) for error in errors}) > 1
        self._failed += 1

    def _open(self, error: FunctionError, away: bool) -> None:
        pause = max(self._pause, error.retry_after)
        self._state, self._error, self._away, self._until = "open", error, away, self._tick() + pause
        self._changed(CircuitReport("open", error, pause))
        log.warning(
            "%s is left alone, after %d calls that failed: %s; next try in %.1f s",
            self._settings.name,
            self._failed,
            error,
            pause,
        )

    def _close(self) -> None:
        if self._state != "closed":
            log.info("%s answers again, after %.1f s", self._settings.name, self._tick() - self._since)
            self._state = "closed"
            self._changed(CircuitReport("closed"))
        self._failed, self._suspects, self._others = 0, set(), False


class CircuitInvocations:
    """See `liberator.protocols.Invocations`."""

    def __init__(self, invocations: Invocations, circuit: Circuit) -> None:
        self._invocations = invocations
        self._circuit = circuit
        self._calls: dict[int, tuple[Sequence[Event], int, bool]] = {}
        self._probes = 0

    def free(self) -> int:
        """How many invocations could begin now."""
        return self._circuit.allows(self._probes, self._invocations.free())

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Start an invocation."""
        probe = self._circuit.begins()
        self._probes += probe
        self._calls[number] = events, attempt, probe
        self._invocations.begin(number, events, attempt)

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that have ended since the last call."""
        return [
            (number, self._judged(number, outcome)) for number, outcome in self._invocations.finished(timeout)
        ]

    def close(self, timeout: float) -> None:
        """Give the function's resources back."""
        self._invocations.close(timeout)

    def _judged(self, number: int, outcome: Outcome) -> Outcome:
        events, attempt, probe = self._calls.pop(number)
        self._probes -= probe
        if self._circuit.judge(events, outcome, attempt, probe=probe):
            return outcome
        words = {id(error): self._circuit.held(error) for error in outcome.failures.values()}
        return Outcome(
            {index: words[id(error)] for index, error in outcome.failures.items()}, outcome.outputs
        )
