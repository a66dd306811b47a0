"""Outputs that can't be published are failures of their invocation."""

from __future__ import annotations

import pytest

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.checked import CheckedInvocations
from liberator.protocols import Outcome, Output
from liberator.testing.function import MemoryFunction

EVENTS = [Event("t", 0, number, 0, None, b"%d" % number) for number in range(3)]
BAD = FunctionError("bad", code="function.output_invalid")


def check(output: Output) -> Output | FunctionError | None:
    if output.value == b"bad":
        return BAD
    return None if output.value == b"nobody" else output


def outcome_of(*outputs: Output, failures: dict[int, FunctionError] | None = None) -> Outcome:
    function = MemoryFunction(lambda events, attempt: Outcome(failures or {}, outputs))
    checked = CheckedInvocations(function, check)
    checked.begin(1, EVENTS, 1)
    ((number, outcome),) = checked.finished(0.0)
    assert number == 1
    return outcome


def test_good_outputs_pass_and_what_nobody_wants_is_left_out() -> None:
    good = Output(None, None, b"1")
    assert outcome_of(good, Output(None, None, b"nobody")) == Outcome({}, (good,))


def test_of_a_bad_output_its_event_has_failed_and_the_others_count() -> None:
    good = Output(None, None, b"1", event=0)
    also = Output(None, None, b"2", event=1)
    outcome = outcome_of(good, also, Output(None, None, b"bad", event=1))
    assert outcome == Outcome({1: BAD}, (good,))


def test_when_nobody_says_of_which_event_it_came_all_have_failed() -> None:
    outcome = outcome_of(Output(None, None, b"1"), Output(None, None, b"bad"))
    assert outcome == Outcome({0: BAD, 1: BAD, 2: BAD}, ())


def test_failures_of_the_function_stay() -> None:
    failed = FunctionError("no")
    assert outcome_of(Output(None, None, b"1"), failures={2: failed}).failures == {2: failed}


def test_an_error_that_ends_the_connector_comes_through() -> None:
    def refuse(output: Output) -> Output:
        raise FunctionError("the function would feed itself", code="function.cycle")

    function = MemoryFunction(lambda events, attempt: Outcome(outputs=[Output(None, None, b"1")]))
    checked = CheckedInvocations(function, refuse)
    checked.begin(1, EVENTS, 1)
    with pytest.raises(FunctionError, match="feed itself"):
        checked.finished(0.0)
