"""Steps: what each is given, what comes of failures, and which step it was."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.expression import condition
from liberator.function.context import Context
from liberator.function.steps import (
    VARIABLES,
    Calling,
    Catching,
    Choosing,
    OneByOne,
    SideBySide,
    Step,
    StepsFunction,
)
from liberator.protocols import Outcome, Output
from tests.unit.function.headed import headed

PASSING = FunctionError("away", code="function.http_503", retryable=True)
REFUSED = FunctionError("no such order", code="function.http_404")


class Function:
    """Gives what `act` makes of the value: None for nothing, an error to fail."""

    name = "it"

    def __init__(self, act: Callable[[Any], Any]) -> None:
        self._act = act
        self.values: list[Any] = []
        self.contexts: list[Context] = []
        self.closed = False

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        [event] = events
        self.values.append(event.value)
        self.contexts.append(context)
        given = self._act(event.value)
        if isinstance(given, FunctionError):
            return Outcome({0: given})
        if isinstance(given, Outcome):
            return given
        return Outcome(outputs=() if given is None else [Output(None, None, json.dumps(given).encode())])

    def close(self) -> None:
        self.closed = True


def event(value: Any, key: str = "k", offset: int = 0) -> Event:
    headers = (("id", b"e%d" % offset), ("content-type", b"application/cloudevents+json"))
    return Event("orders", 0, offset, 0, key.encode(), json.dumps(value).encode(), headers)


def plus(n: int, name: str = "plus", **more: Any) -> Calling:
    return Calling(name, Function(lambda value: value + n), **more)


def failing(error: FunctionError, name: str = "bad", **more: Any) -> Calling:
    return Calling(name, Function(lambda value: error), **more)


def done(step: Step, *events: Event, left: float | None = None) -> Outcome:
    deadline = None if left is None else time.monotonic() + left
    return StepsFunction(step).call(events, Context("steps", 1, deadline))


def result(step: Step, value: Any) -> Any:
    outcome = done(step, event(value))
    assert not outcome.failures
    [output] = outcome.outputs
    assert (output.topic, output.key, output.event) == (None, b"k", 0)
    return json.loads(output.value or b"")


@pytest.mark.parametrize(
    "step",
    [
        SideBySide(
            [("a", Calling("a", Function(len))), ("b", Calling("quiet", Function(lambda value: None)))]
        ),
        Catching(failing(REFUSED), Calling("told", Function(lambda told: told["value"]))),
        Choosing(
            "which", [(condition("value == [1, 2]", VARIABLES), Calling("it", Function(lambda value: value)))]
        ),
    ],
    ids=["parallel", "catch", "choice"],
)
def test_the_head_of_a_registry_goes_no_further(step: Step) -> None:
    given = Event("orders", 0, 0, 0, b'{"id":1}', b"[1,2]")
    [plain], [registered] = done(step, given).outputs, done(step, *headed([given])).outputs
    assert registered == plain
    assert registered.key == b'{"id":1}'


def test_a_step_is_given_what_the_one_before_it_gave() -> None:
    assert result(OneByOne([plus(1), plus(10), plus(100)]), 0) == 111


def test_an_event_goes_on_as_it_is_where_a_step_gives_nothing() -> None:
    assert result(OneByOne([Calling("quiet", Function(lambda value: None)), plus(1)]), 1) == 2
    assert done(Calling("quiet", Function(lambda value: None)), event(1)).outputs == ()


def test_several_outputs_of_a_step_are_a_list() -> None:
    two = Function(lambda value: Outcome(outputs=[Output(None, None, b"1"), Output(None, None, b"text")]))
    assert result(Calling("two", two), 0) == [1, "text"]


def test_what_a_step_publishes_to_a_topic_of_its_own_is_published() -> None:
    aside = Function(lambda value: Outcome(outputs=[Output("audit", b"a", b"1", (("h", b"v"),))]))
    outcome = done(OneByOne([Calling("aside", aside), plus(1)]), event(5))
    assert [(one.topic, one.value, one.headers, one.event) for one in outcome.outputs] == [
        ("audit", b"1", (("h", b"v"),), 0),
        (None, b"6", (), 0),
    ]


def test_the_result_has_the_id_of_the_event_and_not_the_form_of_its_value() -> None:
    seen: list[Event] = []

    class Looking(Function):
        def call(self, events: Sequence[Event], context: Context) -> Outcome:
            seen.extend(events)
            return Outcome()

    done(OneByOne([plus(1), Calling("look", Looking(lambda value: None))]), event(1, offset=7))
    assert (seen[0].id, seen[0].key, seen[0].offset) == ("e7", "k", 7)
    assert "content-type" not in seen[0].headers


def test_steps_side_by_side_are_given_the_same_and_really_run_at_once() -> None:
    both = threading.Barrier(2, timeout=120)

    def meet(value: int) -> int:
        both.wait()
        return value * 2

    step = SideBySide([("a", Calling("a", Function(meet))), ("b", Calling("b", Function(meet)))])
    assert result(step, 3) == {"a": 6, "b": 6}


def test_where_one_of_several_fails_the_others_have_ended() -> None:
    slow = Function(lambda value: time.sleep(0.05))
    step = SideBySide([("bad", failing(REFUSED)), ("slow", Calling("slow", slow))])
    assert str(done(step, event(1)).failures[0]) == "step bad: no such order"
    assert slow.values == [1]


@pytest.mark.parametrize(("value", "found"), [(1, "small"), (50, "large"), (500, "huge")])
def test_the_first_branch_that_holds_is_chosen(value: int, found: str) -> None:
    def say(word: str) -> Step:
        return Calling(word, Function(lambda value: word))

    step = Choosing(
        "size",
        [
            (condition("value < 10", VARIABLES), say("small")),
            (condition("value < 100", VARIABLES), say("large")),
            (None, say("huge")),
        ],
    )
    assert result(step, value) == found


def test_an_event_goes_on_as_it_is_where_no_branch_holds() -> None:
    step = Choosing("never", [(condition("topic == 'other'", VARIABLES), failing(REFUSED))])
    assert result(OneByOne([step, plus(1)]), 1) == 2


def test_a_condition_that_fails_is_a_failure_for_good() -> None:
    step = Choosing("size", [(condition("value.total > 1", VARIABLES), plus(1))])
    error = done(step, event({})).failures[0]
    assert (error.code, error.retryable) == ("function.choice", False)
    assert error.where == "function.steps, step size"


def test_a_failure_says_which_step_it_was_and_nothing_follows_it() -> None:
    last = Function(lambda value: value)
    error = done(OneByOne([plus(1), failing(PASSING, "stock"), Calling("last", last)]), event(1)).failures[0]
    assert (str(error), error.code, error.retryable) == ("step stock: away", "function.http_503", True)
    assert last.values == []


def test_a_failure_is_caught_with_what_the_step_was_given() -> None:
    seen = Function(lambda value: value)
    step = Catching(OneByOne([plus(1), failing(REFUSED, "stock")]), Calling("sorry", seen))
    told = {"error": {"code": "function.http_404", "message": "step stock: no such order"}, "value": 1}
    assert result(step, 1) == told


def test_a_failure_of_what_catches_is_a_failure() -> None:
    step = Catching(failing(REFUSED), failing(PASSING, "sorry"))
    assert str(done(step, event(1)).failures[0]) == "step sorry: away"


def test_a_step_is_tried_again_by_itself_with_growing_pauses() -> None:
    pauses: list[float] = []
    answers = iter([PASSING, FunctionError("busy", retryable=True, retry_after=5.0), 7])
    first = Function(lambda value: None)
    flaky = Calling(
        "flaky",
        Function(lambda value: next(answers)),
        attempts=3,
        initial=0.1,
        factor=2.0,
        sleep=pauses.append,
    )
    assert result(OneByOne([Calling("first", first), flaky]), 1) == 7
    assert pauses == [0.1, 5.0]
    assert first.values == [1], "the steps before it are not"


def test_what_fails_for_good_is_not_tried_again() -> None:
    step = failing(REFUSED, attempts=5, sleep=lambda seconds: pytest.fail("waits"))
    assert list(done(step, event(1)).failures) == [0]


def test_no_attempt_is_waited_for_beyond_the_time_of_the_invocation() -> None:
    step = failing(PASSING, attempts=5, initial=60.0, sleep=lambda seconds: pytest.fail("waits"))
    assert done(step, event(1), left=10.0).failures[0].retryable


def test_a_step_is_told_how_long_it_has() -> None:
    function = Function(lambda value: value)
    done(Calling("short", function, timeout=200.0), event(1), left=1000.0)
    done(Calling("long", function, timeout=6000.0), event(1), left=1000.0)
    short, long = (context.remaining for context in function.contexts)
    assert short is not None
    assert long is not None
    assert 100 < short <= 200 < 900 < long <= 1000


def test_where_no_time_is_left_a_step_is_not_begun() -> None:
    function = Function(lambda value: value)
    error = done(Calling("late", function), event(1), left=-1.0).failures[0]
    assert (error.code, error.retryable, function.values) == ("function.timeout", True, [])


def test_events_behind_one_that_takes_all_the_time_were_not_tried() -> None:
    function = Function(lambda value: value)
    outcome = done(Calling("late", function), event(1, "a"), event(2, "b"), left=-1.0)
    told = [(error.code, error.counts) for error in outcome.failures.values()]
    assert told == [("function.timeout", True), ("function.untried", False)]


def test_what_follows_a_failed_event_of_its_key_waits_with_it() -> None:
    function = Function(lambda value: PASSING if value == 1 else value)
    events = [event(1, "a"), event(2, "b"), event(3, "a")]
    outcome = done(Calling("it", function), *events)
    assert list(outcome.failures) == [0, 2]
    assert function.values == [1, 2]


def test_all_functions_are_closed() -> None:
    functions = [Function(lambda value: value) for _ in range(4)]
    a, b, c, d = (Calling("it", function) for function in functions)
    StepsFunction(OneByOne([a, SideBySide([("b", b)]), Catching(Choosing("c", [(None, c)]), d)])).close()
    assert all(function.closed for function in functions)
