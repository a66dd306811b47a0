"""When a function starts."""

from __future__ import annotations

from liberator.change import Event
from liberator.dispatch.backlog import Backlog
from liberator.dispatch.trigger import QUIET, OnLag, OnSchedule, OnStream, Trigger


def waiting(count: int, since: float = 0.0) -> Backlog:
    backlog = Backlog("key")
    for number in range(count):
        backlog.add([Event("t", 0, number, 0, b"%d" % number, b"x")], since)
    return backlog


EMPTY = Backlog("key")


def test_the_stream_starts_it_with_enough_events_or_bytes_or_time() -> None:
    it = OnStream(5, 1.0, 10_000)
    assert not it.due(EMPTY, 0.0)
    assert not it.due(waiting(4), 0.5)
    assert it.due(waiting(5), 0.5)
    assert it.due(waiting(1), 1.0)
    assert OnStream(1_000, 60.0, 1_000).due(waiting(4), 0.0)


def test_lag_starts_it_until_nothing_is_left() -> None:
    it = OnLag(10, 60.0)
    it.lag(9)
    assert not it.due(waiting(9), 0.0)
    it.lag(10)
    assert it.due(waiting(9), 0.0)
    assert it.due(waiting(1), 1.0), "all of it, not only what was there first"
    assert not it.due(EMPTY, 2.0)
    assert it.due(waiting(1), 2.0 + QUIET / 2), "what comes meanwhile too"
    assert not it.due(EMPTY, 3.0)
    assert not it.due(EMPTY, 3.0 + QUIET)
    assert not it.due(waiting(1, 4.0), 4.0)


def test_an_event_waits_for_lag_no_longer_than_it_may() -> None:
    it = OnLag(10, 60.0)
    assert not it.due(waiting(1), 59.0)
    assert it.due(waiting(1), 60.0)


def test_a_schedule_starts_it_at_its_times_and_makes_up_for_none() -> None:
    clock = [100.0]
    it = OnSchedule(lambda after: (after // 60 + 1) * 60, lambda: clock[0])
    assert not it.due(waiting(3), 0.0)
    clock[0] = 120.0
    assert it.due(waiting(3), 20.0)
    assert not it.due(EMPTY, 21.0)
    assert not it.due(EMPTY, 21.0 + QUIET)
    assert not it.due(waiting(3), 22.0)
    clock[0] = 600.0  # eight times have passed
    assert it.due(waiting(3), 500.0)
    assert not it.due(EMPTY, 501.0)
    assert not it.due(EMPTY, 501.0 + QUIET)
    assert not it.due(waiting(3), 502.0), "once for all of them"


def test_any_of_several_is_enough() -> None:
    clock = [0.0]
    lag, daily = OnLag(10, 60.0), OnSchedule(lambda after: after + 86_400, lambda: clock[0])
    it = Trigger(7, 1 << 20, [lag, daily])
    assert not it.due(waiting(3), 0.0)
    it.lag(10)
    assert it.due(waiting(3), 0.0)


def test_what_is_called_one_by_one_is_shared_out_among_all_who_are_free() -> None:
    together = Trigger(100, 1 << 20, [])
    assert together.share(ready=30, free=8) == 100
    spread = Trigger(100, 1 << 20, [], spread=True)
    assert [spread.share(ready, free) for ready, free in [(30, 8), (8, 8), (3, 8), (1_000, 8)]] == [
        4,
        1,
        1,
        100,
    ]
