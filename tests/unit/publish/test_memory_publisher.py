"""The in-memory twin passes the suite that the real publishers pass."""

from __future__ import annotations

import pytest

from liberator.change import EncodedBatch, Record
from liberator.errors import PublishError
from liberator.testing.conformance.publisher import (
    StallingConformance,
    StallingOutlet,
    TimekeepingConformance,
    batch_of,
)
from liberator.testing.publisher import MemoryPublisher, Published


class MemoryOutlet(StallingOutlet):
    topic = "shop.public.orders"
    memory = 1 << 20

    def __init__(self) -> None:
        self.publishers: list[MemoryPublisher] = []

    def open(self) -> MemoryPublisher:
        self.publishers.append(MemoryPublisher(self.memory))
        return self.publishers[-1]

    def published(self) -> list[Published]:
        return [event for publisher in self.publishers for event in publisher.events]

    def stall(self) -> None:
        self.publishers[-1].stall()

    def go_on(self) -> None:
        self.publishers[-1].go_on()


class TestMemoryPublisher(StallingConformance, TimekeepingConformance):
    @pytest.fixture
    def outlet(self) -> MemoryOutlet:
        return MemoryOutlet()


def test_keeps_control_records_apart() -> None:
    publisher = MemoryPublisher()
    batch = EncodedBatch(control=[Record("heartbeat", b"{}", b"{}", b"hb/1")])
    publisher.publish(batch, None)
    assert publisher.events == []
    assert [record.topic for record in publisher.control] == ["heartbeat"]


def test_a_retryable_failure_strikes_once() -> None:
    publisher = MemoryPublisher()
    publisher.fail(PublishError("away", retryable=True))
    with pytest.raises(PublishError, match="away"):
        publisher.publish(batch_of("t", range(1)), None)
    publisher.publish(batch_of("t", range(1)), None)
    assert len(publisher.events) == 1


def test_a_final_failure_stays() -> None:
    publisher = MemoryPublisher()
    publisher.fail(PublishError("denied"))
    for _ in range(2):
        with pytest.raises(PublishError, match="denied"):
            publisher.publish(batch_of("t", range(1)), None)
