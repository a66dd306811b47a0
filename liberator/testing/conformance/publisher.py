"""What makes a publisher: order, durability, back-pressure; and what makes one that owns the state.

Enters: an `Outlet`, from the fixture ``outlet`` that a subclass gives. Leaves: verdicts. Subclass
`PublisherConformance` for a destination that always takes what it is given, `StallingConformance` for one that may
stop answering for a while, and with either of them `OwningConformance` for exactly once and `TimekeepingConformance` for
a destination that keeps the times of events.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable
from typing import cast

import pytest

from liberator.change import EncodedBatch, State
from liberator.errors import PublishError
from liberator.protocols import OwningPublisher, Publisher
from liberator.testing.publisher import Published

PATIENCE = 120.0
"""Seconds for what must happen in the end."""


class Outlet(ABC):
    """A destination under test. topic: a name that nobody else uses."""

    topic: str

    @abstractmethod
    def open(self) -> Publisher:
        """A new publisher to this destination; only one at a time is open."""

    @abstractmethod
    def published(self) -> list[Published]:
        """Every event that is there, those of a partition in their order."""


class OwningOutlet(Outlet):
    """A destination that keeps the states of connector ``shop``. `open` gives a publisher that has taken over."""

    @abstractmethod
    def open(self) -> OwningPublisher:
        """A new publisher to this destination, which has taken over. Earlier ones may still be open."""

    @abstractmethod
    def saved(self) -> dict[str, bytes]:
        """The states that are there."""


class StallingOutlet(Outlet):
    """A destination that can be made to stop answering. memory: the publisher's limit, about a megabyte."""

    memory: int

    @abstractmethod
    def stall(self) -> None:
        """Stop answering, without closing any connection."""

    @abstractmethod
    def go_on(self) -> None:
        """Answer again. Does nothing unless stalled."""


def batch_of(topic: str, numbers: Iterable[int], *, keys: int = 7, padding: int = 100) -> EncodedBatch:
    """Events that carry their number; number n has key n modulo `keys`."""
    batch = EncodedBatch()
    for number in numbers:
        value = json.dumps({"n": number, "padding": "x" * padding}).encode()
        batch.add(topic, b'{"id":%d}' % (number % keys), value, b"suite/%d" % number)
    return batch


def numbers(events: Iterable[Published]) -> list[int]:
    """The numbers of `batch_of`, in the order of the events."""
    return [json.loads(event.value)["n"] for event in events if event.value is not None]


def publish_all(publisher: Publisher, batch: EncodedBatch, state: State | None) -> None:
    """Publish one batch as the capture loop does: when there is room."""
    assert publisher.ready(PATIENCE), "no room for a batch in time"
    publisher.publish(batch, state)


def publish_and_flush(publisher: Publisher, batch: EncodedBatch, state: State | None) -> None:
    """Publish one batch, and wait until it is durable."""
    publish_all(publisher, batch, state)
    assert publisher.flush(PATIENCE)


def assert_ordered_by_key(events: Iterable[Published], count: int) -> None:
    """All numbers below `count` are there, and those of a key begin to appear in ascending order.

    An event may come again after a failure: then everything after it of that key comes again too.
    """
    seen: dict[bytes | None, list[int]] = defaultdict(list)
    for event in events:
        (number,) = numbers([event])
        known = seen[event.key]
        if known and number <= known[-1]:
            assert number in known, f"{number} of key {event.key!r} came for the first time after {known[-1]}"
            del known[known.index(number) :]
        known.append(number)
    assert sorted(number for known in seen.values() for number in known) == list(range(count))
    for key, known in seen.items():
        assert known == sorted(known), f"key {key!r} is out of order"


class PublisherConformance:
    """Every publisher."""

    @pytest.fixture
    def outlet(self) -> Outlet:
        """The destination under test."""
        raise NotImplementedError("give the suite an `outlet` fixture")

    def test_keeps_the_order_of_every_key(self, outlet: Outlet) -> None:
        publisher = outlet.open()
        for start in range(0, 5_000, 250):
            publish_all(publisher, batch_of(outlet.topic, range(start, start + 250)), {"slot": b"%d" % start})
        assert publisher.flush(PATIENCE)
        publisher.close()
        assert_ordered_by_key(outlet.published(), 5_000)

    def test_a_flushed_state_is_durable_and_told_once(self, outlet: Outlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(10)), {"slot": b"1"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"1"}
        assert publisher.durable() is None
        publisher.close()

    def test_states_are_merged_in_order(self, outlet: Outlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(5)), {"slot": b"1", "table a": b"reading"})
        publish_all(publisher, batch_of(outlet.topic, range(5, 10)), {"table a": b"", "table b": b"x"})
        publish_all(publisher, batch_of(outlet.topic, range(10, 15)), {"slot": b"2"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"2", "table a": b"", "table b": b"x"}
        publisher.close()

    def test_a_batch_inside_a_transaction_brings_no_state(self, outlet: Outlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(5)), None)
        assert publisher.flush(PATIENCE)
        assert publisher.durable() is None
        publisher.close()
        assert_ordered_by_key(outlet.published(), 5)

    def test_a_state_without_events_becomes_durable_too(self, outlet: Outlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, EncodedBatch(), {"slot": b"idle"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"idle"}
        publisher.close()

    def test_keys_values_and_headers_arrive_as_they_were_sent(self, outlet: Outlet) -> None:
        batch = EncodedBatch()
        batch.add(outlet.topic, b'{"id":1}', b'{"text":"\xc3\xbcn\xc3\xaf \xe2\x98\x83"}', b"id/1")
        batch.add(outlet.topic, b'{"id":1}', None, b"id/1/t", (("kind", b"tombstone"), ("n", b"2")))
        batch.add(outlet.topic, None, b"[1,2]", b"id/3")
        batch.add(outlet.topic, None, None, b"id/4")
        publisher = outlet.open()
        publish_all(publisher, batch, {"slot": b"1"})
        assert publisher.flush(PATIENCE)
        publisher.close()
        arrived = {event.id: event for event in outlet.published()}
        assert len(arrived) == 4
        assert (arrived[b"id/1"].key, arrived[b"id/1"].value) == (batch.keys[0], batch.values[0])
        assert (arrived[b"id/1/t"].key, arrived[b"id/1/t"].value) == (b'{"id":1}', None)
        assert arrived[b"id/1/t"].headers == {"id": b"id/1/t", "kind": b"tombstone", "n": b"2"}
        assert (arrived[b"id/3"].key, arrived[b"id/3"].value) == (None, b"[1,2]")
        assert (arrived[b"id/4"].key, arrived[b"id/4"].value) == (None, None)

    def test_a_key_may_be_plain_text(self, outlet: Outlet) -> None:
        batch = EncodedBatch(string_keys=True)
        for number, text in enumerate(["order-7", 'quoted "text"', "ünï☃", ""]):
            batch.add(outlet.topic, text.encode(), b'{"n":1}', b"id/%d" % number)
        publisher = outlet.open()
        publish_all(publisher, batch, {"slot": b"1"})
        assert publisher.flush(PATIENCE)
        publisher.close()
        arrived = {event.id: event.key for event in outlet.published()}
        assert arrived == dict(zip(batch.ids, batch.keys, strict=True))

    def test_the_next_publisher_adds_to_what_is_there(self, outlet: Outlet) -> None:
        for start in (0, 20):
            publisher = outlet.open()
            publish_all(publisher, batch_of(outlet.topic, range(start, start + 20)), {"slot": b"%d" % start})
            assert publisher.flush(PATIENCE)
            publisher.close()
        assert_ordered_by_key(outlet.published(), 40)

    def test_closing_twice_is_closing_once(self, outlet: Outlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(3)), None)
        publisher.close()
        publisher.close()


class TimekeepingConformance(PublisherConformance):
    """A destination whose events have a time."""

    def test_events_keep_their_times_and_those_without_get_the_present(self, outlet: Outlet) -> None:
        began = (
            time.time_ns() // 1_000_000 - 1_000
        )  # a broker's clock and ours need not agree to the millisecond
        times = [began - 3_600_001, began - 3_600_000, None]
        batch = EncodedBatch()
        batch.add(outlet.topic, b'{"id":1}', b'{"n":0}', b"id/0", None, times[0])
        batch.add(outlet.topic, b'{"id":1}', b'{"n":1}', b"id/1", (("kind", b"late"),), times[1])
        batch.add(outlet.topic, b'{"id":1}', b'{"n":2}', b"id/2")
        publisher = outlet.open()
        publish_all(publisher, batch, {"slot": b"1"})
        publish_all(publisher, batch_of(outlet.topic, range(3, 4)), {"slot": b"2"})
        assert publisher.flush(PATIENCE)
        publisher.close()
        arrived = {event.id: event.timestamp for event in outlet.published()}
        assert [arrived[b"id/0"], arrived[b"id/1"]] == times[:2]
        assert arrived[b"id/2"] >= began
        assert arrived[b"suite/3"] >= began


class StallingConformance(PublisherConformance):
    """A publisher whose destination may stop answering."""

    @pytest.fixture
    def outlet(self) -> StallingOutlet:
        """The destination under test."""
        raise NotImplementedError("give the suite an `outlet` fixture")

    def test_no_state_is_durable_before_its_events(self, outlet: StallingOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(10)), {"slot": b"before"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"before"}
        outlet.stall()
        publish_all(publisher, batch_of(outlet.topic, range(10, 1_000), padding=1_000), {"slot": b"stalled"})
        publisher.ready(0.5)
        assert publisher.durable() is None
        outlet.go_on()
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"stalled"}
        publisher.close()
        assert_ordered_by_key(outlet.published(), 1_000)

    def test_a_state_without_events_waits_for_the_events_before_it(self, outlet: StallingOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(1)), {"slot": b"0"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"0"}
        outlet.stall()
        publish_all(publisher, batch_of(outlet.topic, range(1, 1_000), padding=1_000), None)
        publisher.publish(EncodedBatch(), {"slot": b"idle"})
        assert publisher.durable() is None
        outlet.go_on()
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"idle"}
        publisher.close()

    def test_pushes_back_when_its_memory_is_full(self, outlet: StallingOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(1)), {"slot": b"0"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"0"}
        outlet.stall()
        accepted, count = 0, 1
        while publisher.ready(0.2):
            batch = batch_of(outlet.topic, range(count, count + 100), padding=1_000)
            publisher.publish(batch, {"slot": b"%d" % count})
            accepted, count = accepted + batch.size(), count + 100
            assert accepted <= outlet.memory + batch.size(), "more is accepted than the memory allows"
        outlet.go_on()
        assert publisher.ready(PATIENCE)
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"%d" % (count - 100)}
        publisher.close()
        assert_ordered_by_key(outlet.published(), count)

    def test_flush_gives_up_in_time(self, outlet: StallingOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(1)), {"slot": b"0"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"0"}
        outlet.stall()
        publish_all(publisher, batch_of(outlet.topic, range(1, 1_000), padding=1_000), {"slot": b"1"})
        assert not publisher.flush(0.3)
        assert publisher.durable() is None
        outlet.go_on()
        assert publisher.flush(PATIENCE)
        publisher.close()

    def test_closes_at_once_while_nothing_answers(self, outlet: StallingOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(1)), {"slot": b"0"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"0"}
        outlet.stall()
        publish_all(publisher, batch_of(outlet.topic, range(1, 1_000), padding=1_000), {"slot": b"1"})
        publisher.close()
        outlet.go_on()


class OwningConformance(PublisherConformance):
    """A publisher that writes the states itself, in the transaction of their events (exactly once)."""

    @pytest.fixture
    def outlet(self) -> OwningOutlet:
        """The destination under test."""
        raise NotImplementedError("give the suite an `outlet` fixture")

    def test_a_batch_inside_a_transaction_brings_no_state(self, outlet: Outlet) -> None:
        """It waits for its state, and is not there before."""
        publisher = cast(OwningPublisher, outlet.open())
        publisher.publish(batch_of(outlet.topic, range(5)), None)
        publisher.publish(batch_of(outlet.topic, range(5, 10)), None)
        assert publisher.flush(PATIENCE)
        assert publisher.durable() is None
        assert outlet.published() == []
        publisher.publish(batch_of(outlet.topic, range(10, 12)), {"slot": b"1"})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"1"}
        assert publisher.durable_events() == 12
        assert_ordered_by_key(outlet.published(), 12)

    def test_states_are_there_with_their_events(self, outlet: OwningOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(3)), {"slot": b"1", "table a": b"reading"})
        publish_all(publisher, batch_of(outlet.topic, range(3, 6)), {"slot": b"2", "table a": b""})
        assert publisher.flush(PATIENCE)
        publisher.close()
        assert outlet.saved() == {"slot": b"2"}
        assert_ordered_by_key(outlet.published(), 6)

    def test_the_next_one_is_told_what_is_saved(self, outlet: OwningOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(3)), {"slot": b"1"})
        assert publisher.flush(PATIENCE)
        publisher.close()
        assert outlet.open().take_over() == {"slot": b"1"}

    def test_what_has_no_state_comes_again_from_the_next_one(self, outlet: OwningOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(3)), {"slot": b"1"})
        publisher.publish(batch_of(outlet.topic, range(3, 9)), None)
        assert publisher.flush(PATIENCE)
        publisher.close()
        again = outlet.open()
        publish_all(again, batch_of(outlet.topic, range(3, 9)), {"slot": b"2"})
        assert again.flush(PATIENCE)
        again.close()
        assert sorted(numbers(outlet.published())) == list(range(9))

    def test_the_way_out_cuts_a_transaction_where_that_can_be_done(self, outlet: OwningOutlet) -> None:
        publisher = outlet.open()
        publish_all(publisher, batch_of(outlet.topic, range(3)), {"slot": b"1"})
        publisher.publish(batch_of(outlet.topic, range(3, 9)), None, {"transaction": b"2/6"})
        assert publisher.flush(PATIENCE)
        publisher.close()
        assert outlet.saved() == {"slot": b"1", "transaction": b"2/6"}
        assert sorted(numbers(outlet.published())) == list(range(9))

    def test_events_that_may_come_again_need_no_state(self, outlet: OwningOutlet) -> None:
        publisher = outlet.open()
        publisher.publish(batch_of(outlet.topic, range(9)), None, {})
        assert publisher.flush(PATIENCE)
        publisher.close()
        assert outlet.saved() == {}
        assert sorted(numbers(outlet.published())) == list(range(9))

    def test_a_transaction_larger_than_the_memory_is_cut(self, outlet: OwningOutlet) -> None:
        """Invariant 7: it passes through, in pieces of which each has a place to go on from."""
        publisher = outlet.open()
        places = []
        for start in range(0, 4_000, 100):
            place = {"transaction": b"%d" % (start + 100)}
            assert publisher.ready(PATIENCE), "no room for a batch in time"
            publisher.publish(batch_of(outlet.topic, range(start, start + 100), padding=1_000), None, place)
            places.append((publisher.durable() or {}).get("transaction"))
        assert len(set(places)) > 2, "nothing was cut"
        publish_all(publisher, EncodedBatch(), {"slot": b"1", "transaction": b""})
        assert publisher.flush(PATIENCE)
        publisher.close()
        assert outlet.saved() == {"slot": b"1"}
        assert sorted(numbers(outlet.published())) == list(range(4_000))

    def test_whoever_takes_over_fences_the_others(self, outlet: OwningOutlet) -> None:
        zombie = outlet.open()
        publish_all(zombie, batch_of(outlet.topic, range(3)), {"slot": b"1"})
        assert zombie.flush(PATIENCE)
        successor = outlet.open()
        with pytest.raises(PublishError) as refused:
            publish_and_flush(zombie, batch_of(outlet.topic, range(100, 103)), {"slot": b"zombie"})
        assert (refused.value.code, refused.value.retryable) == ("publish.fenced", False)
        with pytest.raises(PublishError):
            zombie.publish(batch_of(outlet.topic, range(100, 103)), {"slot": b"zombie"})
        zombie.close()
        publish_all(successor, batch_of(outlet.topic, range(3, 6)), {"slot": b"2"})
        assert successor.flush(PATIENCE)
        successor.close()
        assert outlet.saved() == {"slot": b"2"}
        assert_ordered_by_key(outlet.published(), 6)
