"""The in-memory twin passes the suite that the real consumers pass."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from liberator.change import TopicPartition
from liberator.protocols import Consumer, Start
from liberator.testing.conformance.consumer import ConsumerConformance
from liberator.testing.conformance.stream import Event, Stream
from liberator.testing.consumer import MemoryStream


class InMemory(Stream):
    topic = "shop.public.orders"
    shortest = (0.3, 0.3)

    def __init__(self) -> None:
        self.stream = MemoryStream(self.poll_interval)

    def hasten(self) -> None:
        super().hasten()
        self.stream.poll_interval = self.poll_interval

    def create(self, topic: str, partitions: int = 1) -> None:
        self.stream.create(topic, partitions)

    def append(self, topic: str, partition: int, events: Sequence[Event], *, commit: bool = True) -> None:
        for event in events if commit else ():
            self.stream.append(topic, event.key, event.value, event.headers, partition=partition)

    def open(self, group: str, start: Start = "earliest") -> Consumer:
        return self.stream.consumer(group, start)


class TestMemoryConsumer(ConsumerConformance):
    @pytest.fixture
    def stream(self) -> InMemory:
        return InMemory()


def test_makes_a_topic_with_its_first_event() -> None:
    stream = MemoryStream()
    stream.append("orders", b"1", b"{}")
    assert stream.consumer("shipping").lag() == {}
    assert stream.events.keys() == {TopicPartition("orders", 0)}


def test_shows_what_a_group_has_committed() -> None:
    stream = InMemory()
    assert stream.stream.committed("nobody") == {}
