"""When a function is left alone, and when it is tried again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.circuit import OPEN, Circuit, CircuitInvocations, CircuitReport, CircuitSettings
from liberator.function.context import UNTRIED
from liberator.protocols import Outcome
from liberator.testing.function import MemoryFunction

EVENTS = [Event("t", 0, number, 0, None, b"1") for number in range(20)]

AWAY = FunctionError("no answer", code="function.unreachable", retryable=True)
FAILS = FunctionError("the endpoint answers 500", code="function.http_500", retryable=True)
NEVER = FunctionError("the endpoint answers 404", code="function.http_404")


class Bench:
    """A function behind a circuit breaker. now: seconds."""

    def __init__(self, **settings: float) -> None:
        self.now = 100.0
        self.reports: list[CircuitReport] = []
        fields = {"failures": 3, "pause": 1.0, "longest": 8.0, "attempts": 10, **settings}
        self.circuit = Circuit(CircuitSettings(**fields), self.reports.append, lambda: self.now)  # type: ignore[arg-type]
        self.function = MemoryFunction()
        self.calls = CircuitInvocations(self.function, self.circuit)
        self._number = 0

    def begin(self, *events: int, attempt: int = 1) -> int:
        assert self.calls.free() > 0
        self._number += 1
        self.calls.begin(self._number, [EVENTS[number] for number in events], attempt)
        return self._number

    def end(self, number: int, error: FunctionError | None, only: Sequence[int] | None = None) -> Outcome:
        """only: indexes that fail; None: all."""
        given = range(len(self.function.running[number]))
        self.function.end(number, Outcome({} if error is None else dict.fromkeys(only or given, error)))
        [(ended, outcome)] = self.calls.finished(0.0)
        assert ended == number
        return outcome

    def call(self, *events: int, error: FunctionError | None, attempt: int = 1) -> Outcome:
        return self.end(self.begin(*events, attempt=attempt), error)

    @property
    def state(self) -> str:
        return self.reports[-1].state


def counts(outcome: Outcome) -> bool:
    return all(error.counts for error in outcome.failures.values())


def test_a_function_that_is_away_is_left_alone_and_the_last_failure_does_not_count() -> None:
    it = Bench()
    assert [counts(it.call(1, error=AWAY)) for _ in range(3)] == [True, True, False]
    assert it.state == "open"
    assert it.calls.free() == 0


def test_a_call_that_is_done_begins_the_count_anew() -> None:
    it = Bench()
    for error in (AWAY, AWAY, None, AWAY, AWAY):
        it.call(1, error=error)
    assert it.state == "closed"


def test_an_event_that_always_fails_does_not_open_it_with_its_retries_and_halves() -> None:
    it = Bench()
    for attempt in range(6):
        assert counts(it.call(0, 1, 2, 3, error=FAILS, attempt=attempt))
    it.call(0, 1, error=FAILS)
    it.call(1, error=FAILS)
    assert it.state == "closed"


def test_failures_of_several_calls_open_it() -> None:
    it = Bench()
    for event in (1, 1, 2):
        it.call(event, error=FAILS)
    assert it.state == "open"


def test_a_batch_whose_events_fail_each_by_itself_is_as_good_as_several_calls() -> None:
    it = Bench(failures=1)
    number = it.begin(1, 2)
    each = {index: FunctionError("500", code="function.http_500", retryable=True) for index in range(2)}
    it.function.end(number, Outcome(each))
    it.calls.finished(0.0)
    assert it.state == "open"


@pytest.mark.parametrize("only", [[0], None])
def test_a_function_that_does_a_part_or_refuses_is_there(only: list[int] | None) -> None:
    it = Bench(failures=1)
    error = AWAY if only else NEVER
    assert counts(it.end(it.begin(1, 2), error, only))
    assert it.state == "closed"


def test_a_batch_that_was_too_large_to_be_sent_says_nothing_of_the_function() -> None:
    it = Bench(failures=1)
    unsent = FunctionError("too large", code="function.too_large", retryable=True)
    for event in range(5):
        assert counts(it.call(event, event + 1, error=unsent)), "it is halved in the end"
    assert it.state == "closed"
    it.call(1, error=AWAY)
    it.now += 100.0
    assert counts(it.call(2, 3, error=unsent))
    assert it.state == "half_open"
    it.call(2, error=None)
    assert it.state == "closed"


def test_no_event_is_given_up_because_nobody_answers() -> None:
    it = Bench(failures=100, attempts=2)
    assert counts(it.call(1, error=AWAY, attempt=1))
    assert not counts(it.call(1, error=AWAY, attempt=2))
    assert it.state == "open"


def test_after_a_pause_one_call_finds_out() -> None:
    it = Bench(failures=1)
    it.call(1, error=AWAY)
    it.now += 0.9
    assert it.calls.free() == 0
    it.now += 0.2
    assert it.calls.free() == 1
    probe = it.begin(1)
    assert it.state == "half_open"
    assert it.calls.free() == 0, "one at a time"
    assert not it.end(probe, None).failures
    assert it.state == "closed"
    assert it.calls.free() == 4


def test_pauses_grow_to_the_longest_and_begin_anew() -> None:
    it = Bench(failures=1)
    it.call(1, error=AWAY)
    for _ in range(5):
        it.now += 100.0
        assert not counts(it.call(1, error=AWAY))
    it.now += 100.0
    it.call(1, error=None)
    it.call(1, error=AWAY)
    assert [report.pause for report in it.reports if report.state == "open"] == [1, 2, 4, 8, 8, 8, 1]


def test_a_function_that_says_when_is_left_alone_until_then() -> None:
    it = Bench(failures=1)
    it.call(1, error=FunctionError("busy", code="function.http_429", retryable=True, retry_after=30.0))
    assert it.reports[-1].pause == 30.0


def test_what_was_under_way_does_not_count_and_does_not_close_it() -> None:
    it = Bench(failures=1)
    first, second, third = it.begin(1), it.begin(2), it.begin(3)
    it.end(first, AWAY)
    assert not counts(it.end(second, FAILS))
    it.end(third, None)
    assert it.state == "open"


def test_other_events_come_before_those_that_failed() -> None:
    it = Bench(failures=1)
    outcome = it.call(1, error=AWAY)
    assert outcome.failures[0].retry_after > it.reports[-1].pause


def test_when_it_answers_again_what_it_answers_is_counted_anew() -> None:
    it = Bench(failures=2)
    it.call(1, error=AWAY)
    it.call(1, error=AWAY)
    it.now += 100.0
    assert counts(it.call(1, error=FAILS)), "this may be about the event"
    assert it.state == "closed"


def test_a_function_that_fails_on_everything_stays_alone() -> None:
    it = Bench(failures=2)
    it.call(1, error=FAILS)
    it.call(2, error=FAILS)
    it.now += 100.0
    assert not counts(it.call(1, error=FAILS))
    assert it.state == "open"


def test_who_is_not_to_wait_ends_and_gives_nothing_up() -> None:
    it = Bench(failures=1, ends=True)
    error = it.call(1, error=AWAY).failures[0]
    assert (error.code, error.retryable) == (OPEN, False)


def test_an_event_that_takes_all_the_time_of_others_does_not_open_it() -> None:
    it = Bench()
    late = FunctionError("no time", code=UNTRIED, retryable=True, counts=False)
    for attempt in (1, 2, 3, 4):
        number = it.begin(0, 1, 2, attempt=attempt)
        it.function.end(number, Outcome({0: FAILS, 1: late, 2: late}))
        it.calls.finished(0.0)
    assert it.state == "closed"
