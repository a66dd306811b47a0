"""Consuming from the local log: the suite that Kafka passes too, and kill -9."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from liberator.consume.local import LocalConsumer
from liberator.locallog import LocalLog
from liberator.locallog.record import pack
from liberator.protocols import Start
from liberator.testing.conformance.consumer import DurableConformance
from liberator.testing.conformance.stream import DurableStream, Event


class Aborted(Exception):
    pass


class LocalStream(DurableStream):
    topic = "shop.public.orders"
    session_timeout = 1.0
    poll_interval = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = LocalLog(folder)
        self.opened: list[LocalConsumer] = []

    def create(self, topic: str, partitions: int = 1) -> None:
        self.log.create_topic(topic, partitions)

    def append(self, topic: str, partition: int, events: Sequence[Event], *, commit: bool = True) -> None:
        count = len(events)
        try:
            with self.log.transaction() as transaction:
                transaction.append(
                    [topic] * count,
                    [partition] * count,
                    [event.key for event in events],
                    [event.value for event in events],
                    [pack(event.headers) for event in events],
                )
                if not commit:
                    raise Aborted
        except Aborted:
            assert not commit

    def open(self, group: str, start: Start = "earliest") -> LocalConsumer:
        consumer = LocalConsumer(
            self.folder,
            group,
            start=start,
            session_timeout=self.session_timeout,
            poll_interval=self.poll_interval,
        )
        self.opened.append(consumer)
        return consumer

    def program(self, group: str) -> str:
        return (
            "from liberator.consume.local import LocalConsumer\n"
            f"consumer = LocalConsumer({str(self.folder)!r}, {group!r}, session_timeout={self.session_timeout})"
        )


class TestLocalConsumer(DurableConformance):
    @pytest.fixture
    def stream(self, tmp_path: Path) -> Iterator[LocalStream]:
        stream = LocalStream(tmp_path / "log")
        yield stream
        for consumer in stream.opened:
            consumer.close()
        stream.log.close()
