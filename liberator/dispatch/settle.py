"""What becomes of the events of an invocation: done, tried again, or given up. Pure: chance is passed in.

Enters: an attempt, which of its events failed and how. Leaves: a `Settlement` that the loop carries out. This is the one
table of a function's failures; what a failure of the broker means is in `liberator.policy`.

    failed                      attempts left     what becomes of it
    not at all                                    done
    for good (not retryable)                      given up
    for good, all as one                          halved (`bisect`), unless the function wants no events at all
    too old (`max_age`)                           given up, untried
    not tried, as no time was left                tried behind the others, as the same attempt
    may pass, does not count                      tried again when the function says so, as the same attempt
    may pass                    yes               tried again after a growing delay, or when the function says so
    may pass, all as one        no                halved, each half tried once more (`bisect`); a single one is given up
    may pass, named             no                given up
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from liberator.change import Event
from liberator.errors import FunctionError

ENDING = frozenset(
    {
        "function.gone",
        "function.circuit_open",
        "function.python",
        "function.program",
        "function.unknown_call",
    }
)
"""The function wants no more events at all, fails always and is not waited for, or calls what is not there: none of them is
given up for that."""

UNREADY = "function.init"
"""The function, or one that it calls or is a step of it, could not be made ready to be called: nothing is settled, and the
next session tries it again."""

UNTRIED = "function.untried"
"""Those before it took all the time of their invocation: nothing is known of it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """attempts: in all. initial, longest: seconds between two. factor: by which the delay grows. jitter: at random between
    half of it and all."""

    attempts: int = 5
    initial: float = 0.2
    longest: float = 30.0
    factor: float = 2.0
    jitter: bool = True

    def delay(self, failed: int, random: Callable[[], float]) -> float:
        """Seconds after the `failed`-th failure."""
        try:
            delay = min(self.longest, self.initial * self.factor ** (failed - 1))
        except OverflowError:
            delay = self.longest
        return delay * (0.5 + random() / 2) if self.jitter else delay


@dataclass(slots=True)
class Attempt:
    """Events that go to a function together. number: which attempt it is. rest: what comes after them, because they were one
    batch: in the same lanes, so in order."""

    events: Sequence[Event]
    number: int = 1
    rest: list[Attempt] = field(default_factory=list)

    def all_events(self) -> list[Event]:
        """Its own and those of the rest."""
        return [*self.events, *(event for attempt in self.rest for event in attempt.all_events())]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An event that is not tried any more. attempts: how often it was."""

    event: Event
    error: FunctionError
    attempts: int


@dataclass(slots=True)
class Settlement:
    """done: nothing is left to do. again: what is tried next, after `delay` seconds."""

    done: Sequence[Event] = ()
    given_up: list[GivenUp] = field(default_factory=list)
    again: Attempt | None = None
    delay: float = 0.0


def settle(
    attempt: Attempt,
    failures: Mapping[int, FunctionError],
    retry: Retry,
    *,
    bisect: bool,
    random: Callable[[], float],
) -> Settlement:
    """What becomes of an attempt. failures: by index of the event; the very same error for all: nobody knows whose it is."""
    if not failures and not attempt.rest:  # the usual case: nothing per event
        return Settlement(attempt.events)
    settlement = Settlement()
    done: list[Event] = []
    may_pass: list[int] = []
    late: list[Event] = []
    halves = bisect and _nobody_knows_whose(attempt, failures)
    for index, event in enumerate(attempt.events):
        error = failures.get(index)
        if error is None:
            done.append(event)
        elif error.code == UNTRIED:
            late.append(event)
        elif error.retryable or halves:
            may_pass.append(index)
        else:
            settlement.given_up.append(GivenUp(event, error, attempt.number))
    settlement.done = done
    next_ones: list[Attempt] = []
    counts = all(failures[index].counts for index in may_pass)
    again = may_pass and failures[may_pass[0]].retryable
    if again and (attempt.number < retry.attempts or not counts):
        events = [attempt.events[index] for index in may_pass]
        next_ones.append(Attempt(events, attempt.number + counts))
        told = max(failures[index].retry_after for index in may_pass)
        settlement.delay = max(told, retry.delay(attempt.number, random))
    elif len(may_pass) > 1 and bisect and len({id(failures[index]) for index in may_pass}) == 1:
        events = [attempt.events[index] for index in may_pass]
        middle = len(events) // 2
        next_ones += [Attempt(events[:middle], attempt.number), Attempt(events[middle:], attempt.number)]
    else:
        settlement.given_up += [
            GivenUp(attempt.events[index], failures[index], attempt.number) for index in may_pass
        ]
    if late:
        next_ones.append(Attempt(late, attempt.number))
    next_ones += attempt.rest
    if next_ones:
        first, *others = next_ones
        settlement.again = Attempt(first.events, first.number, [*first.rest, *others])
    return settlement


def unready(failures: Mapping[int, FunctionError]) -> FunctionError | None:
    """The failure that is nobody's among the events, if it is one."""
    return next((error for error in failures.values() if error.code == UNREADY), None)


def _nobody_knows_whose(attempt: Attempt, failures: Mapping[int, FunctionError]) -> bool:
    """Is one error told for all events of several?"""
    errors = list(failures.values())
    one = len({id(error) for error in errors}) == 1 and len(errors) == len(attempt.events) > 1
    return one and errors[0].code not in ENDING
