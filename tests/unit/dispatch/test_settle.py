"""What becomes of an invocation: the table of a function's failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from liberator.change import Event
from liberator.dispatch.settle import Attempt, Retry, Settlement, settle
from liberator.errors import FunctionError, PermanentError

PASSING = FunctionError("503", retryable=True)
RETRY = Retry(attempts=3, initial=1.0, longest=5.0, factor=2.0, jitter=False)


def events(count: int) -> list[Event]:
    return [Event("t", 0, number, 0, b"k", b"{}") for number in range(count)]


def settled(
    attempt: Attempt, failures: Mapping[int, FunctionError], *, bisect: bool = True, retry: Retry = RETRY
) -> Settlement:
    return settle(attempt, failures, retry, bisect=bisect, random=lambda: 0.0)


def offsets(them: Sequence[Event]) -> list[int]:
    return [event.offset for event in them]


def test_what_did_not_fail_is_done() -> None:
    it = settled(Attempt(events(3)), {})
    assert offsets(it.done) == [0, 1, 2]
    assert it.again is None


def test_what_may_pass_is_tried_again_later() -> None:
    it = settled(Attempt(events(3)), {1: PASSING})
    assert offsets(it.done) == [0, 2]
    assert it.again is not None
    assert (offsets(it.again.all_events()), it.again.number, it.delay) == ([1], 2, 1.0)


@pytest.mark.parametrize(("failed", "delay"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (9, 5.0)])
def test_delays_grow_up_to_the_longest(failed: int, delay: float) -> None:
    assert RETRY.delay(failed, lambda: 0.0) == delay


def test_an_attempt_may_be_one_of_very_many() -> None:
    assert Retry(longest=30.0, jitter=False).delay(100_000, lambda: 0.0) == 30.0


def test_jitter_takes_up_to_half_of_a_delay() -> None:
    retry = Retry(initial=1.0)
    assert retry.delay(1, lambda: 0.0) == 0.5
    assert retry.delay(1, lambda: 0.999) == pytest.approx(1.0, abs=0.01)


def test_a_function_can_say_when_to_come_back() -> None:
    it = settled(Attempt(events(1)), {0: FunctionError("429", retryable=True, retry_after=42.0)})
    assert it.delay == 42.0


def test_what_fails_for_good_is_given_up_at_once() -> None:
    wrong = PermanentError("no such customer")
    it = settled(Attempt(events(2)), {0: wrong})
    assert [(entry.event.offset, entry.error, entry.attempts) for entry in it.given_up] == [(0, wrong, 1)]
    assert offsets(it.done) == [1]


def test_a_batch_that_keeps_failing_is_halved_and_each_half_tried_once_more() -> None:
    it = settled(Attempt(events(5), 3), dict.fromkeys(range(5), PASSING))
    assert it.again is not None
    assert (offsets(it.again.events), it.again.number, it.delay) == ([0, 1], 3, 0.0)
    assert offsets([event for rest in it.again.rest for event in rest.events]) == [2, 3, 4]


def test_halving_finds_the_poison_event_and_keeps_the_order() -> None:
    poison = 6
    attempt: Attempt | None = Attempt(events(10), 3)
    done, given_up, calls = [], [], 0
    while attempt is not None:
        calls += 1
        bad = any(event.offset == poison for event in attempt.events)
        failures = dict.fromkeys(range(len(attempt.events)), PASSING) if bad else {}
        it = settled(attempt, failures)
        done += offsets(it.done)
        given_up += [entry.event.offset for entry in it.given_up]
        attempt = it.again
    assert given_up == [poison]
    assert done == [number for number in range(10) if number != poison]
    assert calls <= 9


def test_a_batch_that_fails_for_good_as_one_is_halved_at_once_so_that_its_neighbours_are_done() -> None:
    never = PermanentError("one of these has no customer")
    it = settled(Attempt(events(4)), dict.fromkeys(range(4), never))
    assert it.again is not None
    assert (it.given_up, it.delay, it.again.number, offsets(it.again.all_events())) == (
        [],
        0.0,
        1,
        [0, 1, 2, 3],
    )
    assert len(it.again.events) == 2
    unsplit = settled(Attempt(events(4)), dict.fromkeys(range(4), never), bisect=False)
    assert len(unsplit.given_up) == 4
    gone = FunctionError("410", code="function.gone")
    assert len(settled(Attempt(events(4)), dict.fromkeys(range(4), gone)).given_up) == 4


def test_without_bisect_all_of_a_failing_batch_is_given_up() -> None:
    it = settled(Attempt(events(3), 3), dict.fromkeys(range(3), PASSING), bisect=False)
    assert [entry.event.offset for entry in it.given_up] == [0, 1, 2]


def test_events_that_were_named_are_not_halved() -> None:
    failures = {number: FunctionError("503", retryable=True) for number in (0, 2)}
    it = settled(Attempt(events(3), 3), failures)
    assert [entry.event.offset for entry in it.given_up] == [0, 2]
    assert it.again is None


def test_what_comes_after_a_half_waits_for_it() -> None:
    first, second, third = events(3)
    it = settled(Attempt([first], 1, [Attempt([second], 3), Attempt([third], 3)]), {0: PASSING})
    assert it.again is not None
    assert offsets(it.again.all_events()) == [0, 1, 2]
    assert [len(rest.events) for rest in it.again.rest] == [1, 1]


def test_what_was_not_tried_comes_behind_what_was_and_that_is_no_attempt() -> None:
    untried = FunctionError("no time", code="function.untried", retryable=True, counts=False)
    it = settled(Attempt(events(4)), {0: PASSING, 2: untried, 3: untried})
    assert offsets(it.done) == [1]
    assert it.again is not None
    assert (offsets(it.again.events), it.again.number) == ([0], 2)
    assert [(offsets(one.events), one.number) for one in it.again.rest] == [([2, 3], 1)]
    last = settled(Attempt(events(4), 3), {0: PASSING, 2: untried, 3: untried})
    assert [entry.event.offset for entry in last.given_up] == [0]
    assert last.again is not None
    assert offsets(last.again.events) == [2, 3]
