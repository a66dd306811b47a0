"""Several consumers read as one."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.clock import ClockConsumer
from liberator.consume.several import SeveralConsumers
from liberator.errors import ConsumeError
from liberator.testing.consumer import MemoryStream

CLOCK, ORDERS = TopicPartition("", 0), TopicPartition("orders", 0)


class Given:
    """What was assigned."""

    def __init__(self) -> None:
        self.places: set[TopicPartition] = set()

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.places |= set(partitions)

    def revoked(self, partitions: Collection[TopicPartition]) -> None: ...

    lost = revoked


@pytest.fixture
def stream() -> MemoryStream:
    it = MemoryStream()
    it.create("orders")
    it.append("orders", None, b"1")
    it.append("orders", None, b"2")
    return it


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def several(stream: MemoryStream, given: Given) -> SeveralConsumers:
    """A stream with two events, and a clock that strikes at once."""
    it = SeveralConsumers([stream.consumer("group"), ClockConsumer("in", lambda after: after, once=True)])
    it.subscribe(["orders"], given)
    return it


def read(several: SeveralConsumers) -> ConsumedBatch:
    batch = ConsumedBatch()
    while len(batch) < 3:
        batch.extend(several.poll(10, 0.01))
    return batch


def test_all_of_them_are_read_and_assigned(several: SeveralConsumers, given: Given) -> None:
    assert sorted(read(several).topics) == ["", "orders", "orders"]
    assert given.places == several.assigned() == {CLOCK, ORDERS}


def test_each_gets_the_commits_that_are_its_own(several: SeveralConsumers, stream: MemoryStream) -> None:
    read(several)
    assert several.ends() == {CLOCK: 1, ORDERS: 2}
    assert several.lag() == {CLOCK: 1, ORDERS: 2}
    several.commit({CLOCK: 1, ORDERS: 2})
    assert several.lag() == {CLOCK: 0, ORDERS: 0}
    assert stream.committed("group") == {ORDERS: 2}


def test_one_of_them_may_be_paused(several: SeveralConsumers, stream: MemoryStream) -> None:
    several.poll(10, 0.0)
    several.pause([ORDERS])
    stream.append("orders", None, b"3")
    assert "orders" not in several.poll(10, 0.0).topics
    several.resume([ORDERS])
    assert "orders" in several.poll(10, 0.0).topics


def test_going_back_concerns_one_of_them(several: SeveralConsumers) -> None:
    read(several)
    several.seek(ORDERS, 1)
    assert several.poll(10, 0.0).values == [b"2"]


def test_one_that_fails_takes_nothing_from_the_others(stream: MemoryStream, given: Given) -> None:
    """What the others gave comes first, and then the failure; nobody is left out for it."""

    class Away(ClockConsumer):
        def poll(self, limit: int, timeout: float) -> ConsumedBatch:
            raise ConsumeError("away", code="consume.unreachable", retryable=True)

    away = Away("in", lambda after: after, once=True)
    several = SeveralConsumers([away, stream.consumer("group")])
    several.subscribe(["orders"], given)
    assert several.poll(10, 0.0).values == [b"1", b"2"]
    for _ in range(2):
        with pytest.raises(ConsumeError, match="away"):
            several.poll(10, 0.0)
