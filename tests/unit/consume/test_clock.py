"""Times as a stream: which of them start a call."""

from __future__ import annotations

from liberator.change import TopicPartition, events_of
from liberator.consume.clock import ClockConsumer

PLACE = TopicPartition("", 0)


class Clock:
    """A time that passes when somebody waits."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def every_minute(after: float) -> float:
    return (after // 60 + 1) * 60


def made(clock: Clock, *, once: bool = False) -> ClockConsumer:
    return ClockConsumer("nightly", every_minute, once=once, clock=clock, wait=clock.wait)


def test_a_time_that_comes_is_an_event_without_key_and_value() -> None:
    clock = Clock(50.0)
    consumer = made(clock)
    assert not len(consumer.poll(10, 5.0))
    assert clock.now == 55.0, "it waits no longer than it may"
    assert not len(consumer.poll(10, 20.0))
    assert clock.now == 60.0, "nor beyond the time"
    [event] = events_of(consumer.poll(10, 5.0))
    assert (event.topic, event.raw_key, event.raw_value, event.timestamp) == ("", None, None, 60_000)
    assert event.id == "nightly/schedule/1970-01-01T00:01:00.000+00:00"


def test_a_time_that_comes_while_a_call_is_under_way_starts_nothing() -> None:
    clock = Clock(60.0)
    consumer = made(clock)
    clock.now = 121.0
    assert len(consumer.poll(10, 0.0)) == 1
    clock.now = 200.0
    assert not len(consumer.poll(10, 0.0))
    consumer.commit({PLACE: 1})
    assert not len(consumer.poll(10, 0.0)), "it is not made up for"
    clock.now = 241.0
    [event] = events_of(consumer.poll(10, 0.0))
    assert (event.offset, event.timestamp) == (1, 240_000)


def test_times_that_passed_while_nobody_asked_are_one() -> None:
    clock = Clock(0.0)
    consumer = made(clock)
    clock.now = 10_000.0
    assert len(consumer.poll(10, 0.0)) == 1
    consumer.commit({PLACE: 1})
    assert not len(consumer.poll(10, 0.0))


def test_whoever_wants_one_call_gets_it_at_once_and_no_other() -> None:
    clock = Clock(50.0)
    consumer = made(clock, once=True)
    assert consumer.ends() == consumer.lag() == {PLACE: 1}
    assert len(consumer.poll(10, 0.0)) == 1
    consumer.commit({PLACE: 1})
    clock.now = 1_000.0
    assert not len(consumer.poll(10, 5.0))
    assert consumer.lag() == {PLACE: 0}


def test_nothing_comes_while_it_is_paused() -> None:
    clock = Clock(60.0)
    consumer = made(clock)
    clock.now = 121.0
    consumer.pause({PLACE})
    assert not len(consumer.poll(10, 0.0))
    consumer.resume({PLACE})
    assert len(consumer.poll(10, 0.0)) == 1
