"""Consuming from the local log: the suite that Kafka passes too, and kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from liberator.change import TopicPartition
from liberator.consume.local import LocalConsumer
from liberator.consume.local_group import LocalGroup
from liberator.errors import PreconditionError
from liberator.locallog import LocalLog
from liberator.locallog.record import pack
from liberator.protocols import Start
from liberator.testing.conformance.consumer import DurableConformance
from liberator.testing.conformance.stream import DurableStream, Event, Watcher, turns


class Aborted(Exception):
    pass


class LocalStream(DurableStream):
    topic = "shop.public.orders"
    shortest = (1.0, 1.0)

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


NEVER = 3600.0
"""A session time-out that no test waits for."""

MEMBER = """
import sys, time
from liberator.consume.local import LocalConsumer
from liberator.testing.conformance.stream import Watcher
consumer = LocalConsumer(sys.argv[1], "shipping", session_timeout=float(sys.argv[2]))
consumer.subscribe(["orders"], Watcher())
while not consumer.assigned():
    consumer.poll(1, 0.1)
print("joined", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a local log with a topic."""
    with closing(LocalLog(tmp_path / "log")) as log:
        log.create_topic("orders", 2)
    return tmp_path / "log"


@pytest.fixture
def other(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is a member and has everything."""
    command = [sys.executable, "-c", MEMBER, str(folder), str(NEVER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "joined\n"
        yield process
        process.kill()


def member(folder: Path) -> LocalConsumer:
    consumer = LocalConsumer(folder, "shipping", session_timeout=NEVER)
    consumer.subscribe(["orders"], Watcher())
    return consumer


def test_who_comes_after_a_kill_waits_for_no_time_out(folder: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    with closing(member(folder)) as consumer:
        consumer.poll(1, 0.0)
        assert len(consumer.assigned()) == 2
    assert not list(folder.glob("member-*"))


def test_who_is_there_when_another_is_killed_waits_for_no_time_out(
    folder: Path, other: subprocess.Popen[str]
) -> None:
    with closing(member(folder)) as consumer:
        consumer.poll(1, 0.0)
        assert not consumer.assigned()
        other.kill()
        other.wait()
        turns([consumer], lambda: len(consumer.assigned()) == 2)


def test_who_is_suspended_is_not_taken_for_dead_before_the_time_out(
    folder: Path, other: subprocess.Popen[str]
) -> None:
    os.kill(other.pid, signal.SIGSTOP)
    with closing(member(folder)) as consumer:
        until = time.monotonic() + 2.5  # by then it has looked twice
        turns([consumer], lambda: time.monotonic() > until)
        assert not consumer.assigned()


def test_a_group_whose_last_member_was_killed_can_be_moved_at_once(
    folder: Path, other: subprocess.Popen[str]
) -> None:
    with closing(LocalGroup(folder, "shipping")) as group:
        with pytest.raises(PreconditionError, match="shipping"):
            group.move({TopicPartition("orders", 0): 0})
        other.kill()
        other.wait()
        group.move({TopicPartition("orders", 0): 0})


class TestLocalConsumer(DurableConformance):
    @pytest.fixture
    def stream(self, tmp_path: Path) -> Iterator[LocalStream]:
        stream = LocalStream(tmp_path / "log")
        yield stream
        for consumer in stream.opened:
            consumer.close()
        stream.log.close()
