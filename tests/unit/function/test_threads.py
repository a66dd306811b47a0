"""Functions in threads: several at a time, and the loop hears of every end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.context import Context
from liberator.function.threads import ThreadInvocations
from liberator.protocols import Outcome

EVENTS = [Event("t", 0, 0, 0, b"k", b"{}")]


class Waiting:
    """Waits until the test lets it go on."""

    name = "waiting"

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.deadlines: list[float | None] = []
        self.closed = False

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        self.deadlines.append(context.remaining)
        assert self.go_on.wait(120)
        if context.attempt > 1:
            raise RuntimeError("a defect")
        return Outcome()

    def close(self) -> None:
        self.closed = True


def test_calls_run_side_by_side_and_end_when_they_end() -> None:
    callee = Waiting()
    it = ThreadInvocations(callee, most=2, timeout=600)
    it.begin(1, EVENTS, 1)
    it.begin(2, EVENTS, 1)
    assert it.free() == 0
    assert list(it.finished(0.05)) == []
    callee.go_on.set()
    found: list[int] = []
    end = time.monotonic() + 120
    while len(found) < 2 and time.monotonic() < end:
        found += [number for number, _ in it.finished(0.2)]
    assert sorted(found) == [1, 2]
    assert it.free() == 2
    assert all(left is not None and 300 < left <= 600 for left in callee.deadlines)
    it.close(1)
    assert callee.closed


def test_a_defect_fails_the_events_instead_of_hanging_the_loop() -> None:
    callee = Waiting()
    callee.go_on.set()
    it = ThreadInvocations(callee)
    it.begin(1, EVENTS, 2)
    [(_, outcome)] = it.finished(120)
    assert outcome.failures[0].retryable
    it.close(1)


class Lost:
    """Fails in a way that is not about its events."""

    name = "lost"

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        raise FunctionError("the database is away", code="function.table_unreachable", retryable=True)

    def close(self) -> None:
        """Nothing."""


def test_what_is_not_about_the_events_ends_the_session() -> None:
    it = ThreadInvocations(Lost())
    it.begin(1, EVENTS, 1)
    with pytest.raises(FunctionError) as caught:
        it.finished(120)
    assert caught.value.code == "function.table_unreachable"
    it.close(1)


@pytest.mark.parametrize("end", [SystemExit(3), asyncio.CancelledError(), KeyboardInterrupt()], ids=repr)
def test_what_would_end_a_thread_fails_the_events(end: BaseException) -> None:
    class Ending(Waiting):
        def call(self, events: Sequence[Event], context: Context) -> Outcome:
            raise end

    it = ThreadInvocations(Ending())
    it.begin(1, EVENTS, 1)
    [(number, outcome)] = it.finished(120)
    assert number == 1
    assert repr(end) in str(outcome.failures[0])
    it.close(1)
