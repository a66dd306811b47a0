"""The numbers of a sink."""

from __future__ import annotations

from liberator.change import ConsumedBatch
from liberator.errors import FunctionError
from liberator.observe.metrics import Exposition
from liberator.observe.sink_telemetry import SinkTelemetry


class Clock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


def telemetry(clock: Clock | None = None) -> SinkTelemetry:
    clock = clock or Clock()
    return SinkTelemetry("notify", batch_size=10, patience=30.0, now=clock, tick=clock)


def batch(count: int) -> ConsumedBatch:
    it = ConsumedBatch()
    for number in range(count):
        for column, value in zip(
            (it.topics, it.partitions, it.offsets, it.timestamps, it.keys, it.values, it.headers),
            ("orders", 0, number, 0, None, b"1", ()),
            strict=True,
        ):
            column.append(value)  # type: ignore[attr-defined]  # each column its own type
    return it


def test_tells_invocations_with_percentiles_and_how_full_they_were() -> None:
    it = telemetry()
    for number in range(100):
        it.begun(5, 1 if number else 2)
        it.ended(0.01 * (number + 1), {0: FunctionError("no")} if number == 7 else {})
    calls = it.snapshot()["invocations"]
    assert (calls["total"], calls["failed"], calls["retries"], calls["events"]) == (100, 1, 1, 500)
    assert (calls["seconds"]["p50"], calls["seconds"]["p95"], calls["seconds"]["p99"]) == (0.51, 0.96, 1.0)
    assert calls["batch_fill_ratio"] == 0.5
    assert sum(calls["buckets"]) == 100


def test_events_are_in_flight_until_they_are_done() -> None:
    it = telemetry()
    it.received(batch(3))
    it.done(2)
    events = it.snapshot()["events"]
    assert (events["total"], events["durable"], events["in_flight"]) == (3, 2, 1)
    assert events["topics"] == {"orders": 3}


def test_it_is_not_ready_when_nothing_is_done_for_longer_than_a_call_may_take() -> None:
    clock = Clock()
    it = telemetry(clock)
    it.state("streaming")
    it.received(batch(3))
    clock.time += 80.0
    it.beat()
    assert it.health().ready
    clock.time += 20.0
    it.beat()
    assert it.health().reasons == ("nothing was done for 100 s; 3 events wait",)


def test_events_of_partitions_that_went_to_others_are_not_waited_for() -> None:
    clock = Clock()
    it = telemetry(clock)
    it.state("streaming")
    it.received(batch(3))
    it.done(1)
    it.forgotten(2)
    clock.time += 100.0
    it.beat()
    assert it.health().ready
    assert it.snapshot()["events"]["in_flight"] == 0


def test_what_is_not_known_is_no_metric() -> None:
    it = telemetry()
    assert b"liberator_lag_events" not in Exposition(it).render("")[0]
    it.lag(7, 7)
    it.begun(5, 1)
    it.ended(0.2, {})
    text = Exposition(it).render("")[0].decode()
    assert "liberator_lag_events 7.0" in text
    assert 'liberator_invocation_seconds_bucket{le="0.25"} 1.0' in text
    assert 'liberator_invocation_seconds_bucket{le="0.1"} 0.0' in text
