"""The writer: one flush for many, each told what became of it, nothing twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liberator.change import EncodedBatch, State
from liberator.errors import PublishError
from liberator.policy import Backoff
from liberator.sidecar.post import Post
from liberator.sidecar.window import Window
from liberator.sidecar.writer import Writer, WriterSettings
from liberator.testing.publisher import MemoryPublisher
from liberator.testing.watch import MemoryWatch

PATIENCE = 120.0


class Broker(MemoryPublisher):
    """What several sessions publish to. batches: how many events came together. larger: refuses events of more bytes. away:
    is not there when the first of these ids comes."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.larger = 1 << 20
        self.away: set[bytes] = set()

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        if any(len(value or b"") > self.larger for value in batch.values):
            raise PublishError("too large", code="publish.too_large")
        if self.away & set(batch.ids):
            self.away.clear()
            raise PublishError("away", code="publish.full", retryable=True)
        super().publish(batch, state)
        self.batches.append(len(batch))

    def flush(self, timeout: float) -> bool:
        if not super().flush(timeout):
            time.sleep(0.01)
        return super().flush(timeout)

    def ids(self) -> list[bytes]:
        return [event.id for event in self.events]


class Running:
    """A writer in a thread of its own."""

    def __init__(self, broker: Broker, file: Path) -> None:
        self.broker, self.watch = broker, MemoryWatch()
        self.failure: BaseException | None = None
        self.unreachable = False
        self.writer = Writer(
            self._publisher,
            lambda: Window(file, 60.0),
            self.watch,
            WriterSettings(patience=0.2, memory=10_000, drain=0.5),
            backoff=lambda: Backoff(initial=0.01, random=random.random, tick=time.monotonic),
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _publisher(self) -> Broker:
        if self.unreachable:
            raise PublishError("no broker", code="publish.unreachable", retryable=True)
        return self.broker

    def _run(self) -> None:
        try:
            self.writer.run()
        except BaseException as error:
            self.failure = error

    def send(self, *posts: Post) -> None:
        for post in posts:
            until(lambda post=post: self.writer.submit(post))  # type: ignore[misc]  # mypy: lambda with a default

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.writer.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def post(id: bytes, value: bytes = b"{}", topic: str = "orders") -> Post:
    event = EncodedBatch(string_keys=True)
    event.add(topic, b"7", value, id, (("type", b"Placed"),))
    return Post(event, value)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def running(broker: Broker, tmp_path: Path) -> Iterator[Running]:
    running = Running(broker, tmp_path / "ids.db")
    running.start()
    yield running
    broker.go_on()
    running.stop()


def test_an_event_is_accepted_when_it_is_durable(running: Running, broker: Broker) -> None:
    broker.stall()
    first = post(b"1")
    running.send(first)
    assert first.wait(0.05) is None
    broker.go_on()
    assert first.wait(PATIENCE) == "accepted"
    assert broker.ids() == [b"1"]


def test_what_comes_meanwhile_is_the_next_group(running: Running, broker: Broker) -> None:
    broker.stall()
    running.send(post(b"0"))
    until(lambda: broker.batches == [1])
    others = [post(b"%d" % number) for number in range(1, 40)]
    running.send(*others)
    broker.go_on()
    assert [each.wait(PATIENCE) for each in others] == ["accepted"] * 39
    assert broker.batches == [1, 39]


def test_the_same_event_again_is_not_published_again(running: Running, broker: Broker) -> None:
    first, again, other = post(b"1"), post(b"1"), post(b"1", b"[]")
    for each in (first, again, other):
        running.send(each)
        each.wait(PATIENCE)
    assert (first.verdict, again.verdict, other.verdict) == ("accepted", "repeated", "conflict")
    assert broker.ids() == [b"1"]


def test_the_same_event_twice_in_a_group_is_published_once(running: Running, broker: Broker) -> None:
    broker.stall()
    running.send(post(b"0"))
    until(lambda: broker.batches == [1])
    first, again, other = post(b"1"), post(b"1"), post(b"1", b"[]")
    running.send(first, again, other)
    broker.go_on()
    assert [each.wait(PATIENCE) for each in (first, again, other)] == ["accepted", "repeated", "conflict"]
    assert broker.ids() == [b"0", b"1"]


def test_nothing_is_taken_while_the_broker_does_not_confirm(running: Running, broker: Broker) -> None:
    broker.stall()
    stuck = post(b"1")
    running.send(stuck)
    until(lambda: not running.writer.submit(post(b"x", topic="never")))
    until(lambda: "reconnecting" in running.watch.states)
    broker.go_on()
    assert stuck.wait(PATIENCE) == "accepted"
    running.send(later := post(b"2"))
    assert later.wait(PATIENCE) == "accepted"


def test_no_more_is_taken_than_the_memory_holds(running: Running, broker: Broker) -> None:
    broker.stall()
    running.send(post(b"0"))
    until(lambda: broker.batches == [1])
    assert running.writer.submit(post(b"1", b"x" * 6_000))
    assert not running.writer.submit(post(b"2", b"x" * 6_000))


def test_what_nobody_waits_for_any_more_is_not_published(running: Running, broker: Broker) -> None:
    broker.stall()
    running.send(post(b"0"))
    until(lambda: broker.batches == [1])
    given_up, patient = post(b"1"), post(b"2")
    running.send(given_up, patient)
    running.writer.withdraw(given_up)
    broker.go_on()
    assert patient.wait(PATIENCE) == "accepted"
    assert broker.ids() == [b"0", b"2"]


def test_an_event_that_is_refused_does_not_take_its_neighbours_with_it(
    running: Running, broker: Broker
) -> None:
    broker.larger = 10
    broker.stall()
    running.send(post(b"0"))
    until(lambda: broker.batches == [1])
    posts = [post(b"1"), post(b"2", b"x" * 11), post(b"3")]
    running.send(*posts)
    broker.go_on()
    assert [each.wait(PATIENCE) for each in posts] == ["accepted", "refused", "accepted"]
    assert posts[1].error is not None
    assert posts[1].error.code == "publish.too_large"
    assert broker.ids() == [b"0", b"1", b"3"]


def test_events_keep_their_order_while_each_is_tried_alone(running: Running, broker: Broker) -> None:
    broker.larger = 10
    broker.stall()
    running.send(post(b"0"))
    until(lambda: broker.batches == [1])
    posts = [post(b"1", b"x" * 11), post(b"2"), post(b"3")]
    broker.away = {b"2"}
    running.send(*posts)
    broker.go_on()
    assert [each.wait(PATIENCE) for each in posts] == ["refused", "accepted", "accepted"]
    assert broker.ids() == [b"0", b"2", b"3"]


def test_a_broker_that_passes_away_and_comes_back_gets_the_event(running: Running, broker: Broker) -> None:
    broker.fail(PublishError("full", code="publish.full", retryable=True))
    first = post(b"1")
    running.send(first)
    assert first.wait(PATIENCE) == "accepted"
    assert broker.ids() == [b"1"]
    assert running.watch.errors == ["publish.full"]


def test_an_error_that_somebody_must_act_on_ends_it(broker: Broker, tmp_path: Path) -> None:
    running = Running(broker, tmp_path / "ids.db")
    running.start()
    broker.fail(PublishError("the user may not", code="publish.login_failed"))
    first = post(b"1")
    running.send(first)
    running.thread.join(PATIENCE)
    assert isinstance(running.failure, PublishError)
    assert first.wait(PATIENCE) is None
    assert not running.writer.submit(post(b"2"))


def test_what_was_taken_is_published_before_it_ends(broker: Broker, tmp_path: Path) -> None:
    running = Running(broker, tmp_path / "ids.db")
    running.start()
    broker.stall()
    first, second = post(b"1"), post(b"2")
    running.send(first, second)
    running.writer.stop()
    assert not running.writer.submit(post(b"3"))
    broker.go_on()
    running.stop()
    assert running.failure is None
    assert (first.verdict, second.verdict) == ("accepted", "accepted")


def test_it_does_not_wait_for_a_dead_broker_at_its_end(broker: Broker, tmp_path: Path) -> None:
    running = Running(broker, tmp_path / "ids.db")
    running.start()
    broker.stall()
    first = post(b"1")
    running.send(first)
    running.stop()
    assert isinstance(running.failure, PublishError)
    assert running.failure.code == "publish.drain"
    assert first.verdict is None


def test_without_a_broker_nothing_is_taken_and_it_ends_well(broker: Broker, tmp_path: Path) -> None:
    running = Running(broker, tmp_path / "ids.db")
    running.unreachable = True
    running.start()
    until(lambda: "publish.unreachable" in running.watch.errors)
    assert not running.writer.submit(post(b"1"))
    running.stop()
    assert running.failure is None
