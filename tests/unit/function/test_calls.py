"""Functions that call others by name: what these are given, what comes back, and where it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from liberator.change import Event
from liberator.errors import FunctionError, PermanentError
from liberator.function.calls import DEEPEST, DEPTH
from liberator.function.circuit import Circuit, CircuitSettings
from liberator.function.context import Context
from liberator.function.guarded import GuardedFunction
from liberator.function.named import NamedFunctions
from liberator.function.python import PythonFunction
from liberator.function.steps import Calling
from liberator.protocols import Outcome, Output
from liberator.testing.functions.stubs import Stub
from tests.unit.function.headed import headed

ONE = Event("orders", 2, 7, 0, b'"k"', b'{"id": 7}', (("id", b"e7"), ("correlation", b"c1")))
TWO = Event("orders", 2, 8, 0, b'"k"', b'{"id": 8}', (("id", b"e8"),))


class Stock:
    """Keeps what it is given."""

    name = "stock"

    def __init__(self, *answers: Outcome) -> None:
        self.given: list[Event] = []
        self.contexts: list[Context] = []
        self._answers = list(answers)

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        self.given += events
        self.contexts.append(context)
        return self._answers.pop(0) if self._answers else gives(b'{"left":3}')

    def close(self) -> None:
        pass


def gives(*values: bytes) -> Outcome:
    return Outcome(outputs=[Output(None, None, value) for value in values])


def context(stock: Stock, *events: Event, left: float | None = None, **more: Any) -> Context:
    it = Context("notify", 1, None if left is None else time.monotonic() + left)
    it.given(events)
    it.connect(NamedFunctions({"stock": Calling("stock", stock, kind="function", key="functions", **more)}))
    return it


def test_gives_the_value_that_the_other_function_gave() -> None:
    stock = Stock(
        gives(b'{"left":12345678901234567890}'), gives(b"1", b"2"), Outcome(), gives(b"\xffno text")
    )
    it = context(stock, ONE)
    assert it.call("stock", {"order": 7}) == {"left": 12345678901234567890}
    assert it.call("stock", {"order": 7}) == [1, 2]
    assert it.call("stock", {"order": 7}) is None
    assert it.call("stock", {"order": 7}) == b"\xffno text"


def test_a_value_becomes_an_event_that_tells_what_it_came_of() -> None:
    stock = Stock()
    it = context(stock, ONE)
    it.call("stock", {"order": 7}, key="k", headers={"tenant": "t"})
    it.call("stock", None)
    first, second = stock.given
    assert (first.topic, first.key, first.value) == ("stock", "k", {"order": 7})
    assert (first.id, second.id) == ("e7/call/stock/0", "e7/call/stock/1")
    assert {name: first.headers[name] for name in ("tenant", "correlation", "causation", DEPTH)} == {
        "tenant": "t",
        "correlation": "c1",
        "causation": "e7",
        DEPTH: "1",
    }
    assert second.raw_value is None


def test_an_event_with_the_head_of_a_registry_is_called_with_as_what_it_says() -> None:
    class Same(Stock):
        def call(self, events: Sequence[Event], context: Context) -> Outcome:
            super().call(events, context)
            return Outcome(outputs=[Output(None, None, events[0].raw_value)])

    stock = Same()
    [given] = headed([Event("orders", 2, 7, 0, b'{"id":7}', b'{"id": 7}')])
    assert context(stock, given).call("stock", given) == {"id": 7}
    assert (stock.given[0].key, stock.given[0].value) == ({"id": 7}, {"id": 7})


def test_ids_are_the_same_when_the_invocation_comes_again() -> None:
    stock = Stock()
    for _ in range(2):
        context(stock, ONE, TWO).call("stock", 1)
    first, second = stock.given
    assert first.id == second.id


def test_of_several_events_the_cause_can_be_told() -> None:
    stock = Stock(Outcome(outputs=[Output("audit", None, b"1"), Output(None, None, b"2")]))
    it = context(stock, ONE, TWO)
    assert it.call("stock", 1, cause=TWO) == 2
    assert (stock.given[0].id, stock.given[0].headers["causation"]) == ("e8/call/stock/0", "e8")
    assert [(one.topic, one.event) for one in it.outputs] == [("audit", 1)]
    with pytest.raises(ValueError, match="no event that the function was given"):
        it.call("stock", 1, cause="e9")


def test_without_a_cause_it_came_of_all_of_them() -> None:
    stock = Stock()
    context(stock, ONE, TWO).call("stock", 1)
    [given] = stock.given
    assert [value for name, value in given.raw_headers if name == "causation"] == [b"e7", b"e8"]


def test_an_event_goes_on_as_it_is_but_for_its_depth() -> None:
    stock = Stock()
    context(stock, ONE).call("stock", ONE)
    [given] = stock.given
    assert (given.id, given.place, given.offset, given.raw_value) == ("e7", ONE.place, 7, ONE.raw_value)
    assert given.raw_headers == (*ONE.raw_headers, (DEPTH, b"1"))


def test_a_call_of_a_schedule_has_no_cause() -> None:
    stock = Stock()
    context(stock, Event("", 0, 0, 0, None, None)).call("stock", 1)
    assert stock.given[0].headers.keys() == {"id", DEPTH}


@pytest.mark.parametrize("name", [DEPTH, f"ce-{DEPTH}", f"ce_{DEPTH}"])
def test_what_goes_round_over_a_network_ends(name: str) -> None:
    stock = Stock()
    deep = Event("hooks", 0, 0, 0, None, b"1", ((name, b"%d" % (DEEPEST - 1)),))
    context(stock, deep).call("stock", 1)
    assert stock.given[0].headers[DEPTH] == str(DEEPEST)
    deepest = Event("hooks", 0, 0, 0, None, b"1", ((name, b"%d" % DEEPEST),))
    with pytest.raises(FunctionError) as caught:
        context(stock, deepest).call("stock", 1)
    assert (caught.value.code, caught.value.retryable) == ("function.call_depth", False)
    assert len(stock.given) == 1


def test_attempts_and_time_are_those_of_the_other_function() -> None:
    away = FunctionError("away", code="function.http_503", retryable=True, retry_after=2)
    pauses: list[float] = []
    stock = Stock(Outcome({0: away}), Outcome({0: away}))
    it = context(stock, ONE, left=60, timeout=5, attempts=3, sleep=pauses.append)
    assert it.call("stock", 1) == {"left": 3}
    assert pauses == [2, 2]
    assert all(one.remaining is not None and 4 < one.remaining <= 5 for one in stock.contexts)


@pytest.mark.parametrize(("left", "timeout"), [(3.0, 30.0), (30.0, 3.0), (None, 3.0)])
def test_a_call_has_no_more_time_than_is_left(left: float | None, timeout: float) -> None:
    stock = Stock()
    context(stock, ONE, left=left).call("stock", 1, timeout=timeout)
    assert stock.contexts[0].remaining == pytest.approx(3, abs=0.5)


def test_what_the_other_function_says_about_its_failure_is_raised() -> None:
    refused = FunctionError("no such order", code="function.http_404")
    with pytest.raises(FunctionError, match="function stock: no such order") as caught:
        context(Stock(Outcome({0: refused})), ONE).call("stock", 1)
    assert (caught.value.code, caught.value.where) == ("function.http_404", "functions, function stock")


def calling(name: str = "stock") -> Callable[[Sequence[Event], Context], Any]:
    def notify(events: Sequence[Event], context: Context) -> Any:
        return [context.call(name, event) for event in events]

    return notify


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failure_that_is_not_caught_is_that_of_the_caller(retryable: bool, tmp_path: Any) -> None:
    def bad(event: Event) -> Any:
        if retryable:
            raise OSError("not now")
        raise PermanentError("never")

    it = PythonFunction(calling(), tmp_path, NamedFunctions({"stock": Stub("stock", bad)}))
    outcome = it.call([ONE], Context("notify", 1))
    assert outcome.failures[0].retryable is retryable


def test_who_may_call_none_is_told_how_to(tmp_path: Any) -> None:
    outcome = PythonFunction(calling(), tmp_path).call([ONE], Context("notify", 1))
    error = outcome.failures[0]
    assert (error.code, error.retryable) == ("function.unknown_call", False)
    assert error.fix is not None
    assert "functions: [{name: stock, ...}]" in error.fix


def test_only_what_is_named_can_be_called() -> None:
    functions = NamedFunctions({"a": Stub("a", 1), "b": Stub("b", 2)})
    assert functions.only(["a"]).call("a", ONE, None).value == b"1"
    with pytest.raises(FunctionError) as caught:
        functions.only(["a"]).call("b", ONE, None)
    assert caught.value.code == "function.unknown_call"


AWAY = FunctionError("nobody answers", code="function.unreachable", retryable=True)


def guarded(stock: Stock, now: list[float], *, ends: bool = False) -> GuardedFunction:
    settings = CircuitSettings(failures=2, pause=10, attempts=1_000, ends=ends)
    return GuardedFunction(stock, Circuit(settings, tick=lambda: now[0]))


def called(it: GuardedFunction, offset: int = 0) -> Outcome:
    return it.call([Event("t", 0, offset, 0, None, b"1")], Context("stock", 1))


def test_one_that_is_away_is_left_alone_and_no_attempt_counts() -> None:
    now = [0.0]
    stock = Stock(Outcome({0: AWAY}), Outcome({0: AWAY}))
    it = guarded(stock, now)
    assert called(it).failures[0].counts
    assert not called(it).failures[0].counts
    left_alone = called(it).failures[0]
    assert (left_alone.counts, left_alone.retryable, left_alone.retry_after) == (False, True, 15.0)
    assert len(stock.given) == 2
    now[0] = 10.0
    assert called(it) == gives(b'{"left":3}')
    assert called(it) == gives(b'{"left":3}')


def test_who_is_not_to_wait_ends_in_front_of_the_event() -> None:
    it = guarded(Stock(Outcome({0: AWAY}), Outcome({0: AWAY})), [0.0], ends=True)
    called(it)
    error = called(it).failures[0]
    assert (error.code, error.retryable) == ("function.circuit_open", False)
