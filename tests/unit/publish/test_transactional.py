"""When the publisher that owns the state commits, and what it holds until then: with a client in memory and its clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from liberator.change import EncodedBatch, State
from liberator.errors import PublishError
from liberator.kafka.client import Tally
from liberator.kafka.errors import KafkaFailure
from liberator.publish.kafka.transactional import TransactionalPublisher

TOPIC = "shop.orders"
MEMORY = 4 << 20
AT_ONCE = 1_000
"""Events of a batch at full speed, of about a kilobyte each with all that belongs to them."""

Records = Mapping[bytes, bytes | None]


class Client:
    """As `liberator.kafka.client.Transactions`. arrives: do events get to their partitions? log: what was done."""

    failure: KafkaFailure | None = None

    def __init__(self) -> None:
        self.arrives = True
        self.log: list[str] = []
        self._under_way = 0

    def begin(self) -> None:
        self.log.append("begin")

    def write(self, topic: str, records: Records) -> None:
        self.log.append(f"{topic} {b' '.join(records).decode()}")

    def send(self, batch: EncodedBatch, start: int, tally: Tally) -> int:
        self.log.append(f"send {len(batch)}")
        self._under_way += len(batch)
        return len(batch)

    def serve(self, timeout: float, hurry: bool = False) -> None:
        if self.arrives:
            self._under_way = 0

    def pending(self) -> int:
        return self._under_way

    def commit(self, timeout: float) -> bool:
        self.log.append("commit")
        return True

    def abort(self, timeout: float) -> None:
        self.log.append("abort")

    def abandon(self) -> None:
        pass


class Positions:
    """As `liberator.publish.kafka.transactional.Positions`."""

    topic = "positions"
    transactional_id = "liberator.checkpoint.shop"

    def __init__(self) -> None:
        self.ours = True
        self.asked: list[bool] = []
        """Whether each question whose the connector is was to wait for what is under way."""

    def make_topic(self) -> None:
        pass

    def begin(self) -> tuple[State, Records]:
        return {}, {b"epoch": b"1"}

    def records(self, delta: State) -> Records:
        return {partition.encode(): value for partition, value in delta.items()}

    def is_ours(self, *, complete: bool) -> bool:
        self.asked.append(complete)
        return self.ours


class Around:
    """The driver, the cluster and the topics, which always say yes."""

    batch_bytes = 1_000_000
    partitions = int

    def __init__(self, client: Client) -> None:
        self._client = client

    def transactions(self, *_: object) -> Client:
        return self._client

    def prepare(self, batch: EncodedBatch) -> EncodedBatch:
        return batch

    def refused(self, failure: KafkaFailure) -> PublishError:
        return failure.publish_error()

    def check(self, timeout: float) -> None:
        pass

    def gone(self, names: object) -> None:
        pass

    def close(self) -> None:
        pass


class Stage:
    """A publisher that has taken over and committed nothing yet, with its clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.client = Client()
        around = cast(Any, Around(self.client))
        self.positions = Positions()
        self.publisher = TransactionalPublisher(
            around, around, around, cast(Any, self.positions), MEMORY, tick=lambda: self.now
        )
        self.publisher.take_over()
        self.client.log.clear()
        self._number = 0

    def publish(self, events: int = 1, inside: State | None = None) -> None:
        """A batch; its state's number is that of the call. inside: it has only this one."""
        self._number += 1
        batch = EncodedBatch()
        for number in range(events):
            batch.add(TOPIC, b"%d" % number, b"v" * 300, b"id/%d" % number)
        self.publisher.publish(batch, None if inside else {"slot": b"%d" % self._number}, inside)

    def settled(self) -> State:
        """What was committed, when the thread that waits for commits has nothing to do any more."""
        deadline = time.monotonic() + 30
        while self.publisher._committing is not None:
            assert time.monotonic() < deadline, "no commit within half a minute"
            if state := self.publisher.durable():
                return state
            time.sleep(0.001)
        return self.publisher.durable() or {}

    def commits(self) -> int:
        return self.client.log.count("commit")


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.publisher.close()


def test_a_lone_change_is_committed_at_once(stage: Stage) -> None:
    stage.publish()
    assert stage.settled() == {"slot": b"1"}
    assert stage.client.log == ["begin", "send 1", "positions slot", "commit"]


def test_changes_that_come_while_one_is_committed_are_the_next_transaction_a_moment_later(
    stage: Stage,
) -> None:
    stage.publish()
    assert stage.settled() == {"slot": b"1"}
    stage.publish()
    assert stage.commits() == 1
    assert 0 < stage.publisher.soon(0.2) <= 0.01, "the loop is to come back when it is time"
    stage.now += 0.01
    stage.publisher.durable()
    assert stage.settled() == {"slot": b"2"}


def test_at_full_speed_half_a_second_lies_between_two_commits(stage: Stage) -> None:
    stage.publish()
    stage.settled()
    before = stage.commits()
    for _ in range(200):
        stage.now += 0.005
        stage.publish(AT_ONCE)
        stage.settled()
    assert stage.commits() - before == 2


def test_a_position_without_events_is_in_no_hurry(stage: Stage) -> None:
    stage.publish()
    stage.settled()
    stage.now += 0.4
    stage.publish(0)
    assert stage.commits() == 1
    stage.now += 0.1
    stage.publisher.durable()
    assert stage.settled() == {"slot": b"2"}


def test_what_has_arrived_makes_room_before_it_is_committed(stage: Stage) -> None:
    stage.publish()
    stage.settled()
    stage.client.arrives = False
    while stage.publisher.ready(0):
        stage.publish(AT_ONCE, {"transaction": b"1/1"})
        assert len(stage.client.log) < 100, "memory has no end"
    commits = stage.commits()
    stage.client.arrives = True
    assert stage.publisher.ready(0)
    assert stage.commits() == commits, "it was the commit that made room"


def test_a_sealed_transaction_waits_for_its_events_and_takes_no_more(stage: Stage) -> None:
    """The thread that commits is not to hear of thousands of events, and what is behind the position is the next one's."""
    stage.client.arrives = False
    stage.publish(AT_ONCE)
    stage.publish(AT_ONCE)
    assert stage.client.log == ["begin", f"send {AT_ONCE}", "positions slot"]
    assert stage.publisher.soon(0.2) < 0.01
    stage.client.arrives = True
    stage.publisher.durable()
    assert stage.settled() == {"slot": b"1"}
    stage.now += 1
    stage.publisher.durable()
    assert stage.settled() == {"slot": b"2"}
    assert stage.client.log[2:6] == ["positions slot", "commit", "begin", f"send {AT_ONCE}"]


def test_whose_the_connector_is_is_asked_without_waiting_for_the_transaction_that_waits(stage: Stage) -> None:
    """It is in the positions' topic, too, and would be waited for until brokers abort it."""
    stage.client.arrives = False
    stage.publish(AT_ONCE)
    stage.now += 10
    stage.publisher.durable()
    assert stage.positions.asked == [False]
    stage.client.arrives = True
    stage.publisher.durable()
    assert stage.settled() == {"slot": b"1"}


@pytest.mark.parametrize(("ours", "code"), [(True, "publish.sequence"), (False, "publish.fenced")])
def test_a_producer_that_brokers_forgot_asks_whether_somebody_took_over(
    stage: Stage, ours: bool, code: str
) -> None:
    """To begin again would fence whoever has the connector now."""
    stage.positions.ours = ours
    stage.client.failure = KafkaFailure("sequence")
    with pytest.raises(PublishError) as stopped:
        stage.publish()
    assert (stopped.value.code, stopped.value.retryable) == (code, ours)
    assert stage.positions.asked == [False]
    stage.client.failure = None


def test_whoever_leaves_aborts_a_sealed_transaction(stage: Stage) -> None:
    stage.client.arrives = False
    stage.publish(AT_ONCE)
    stage.publisher.close()
    assert stage.client.log[-2:] == ["positions slot", "abort"]


def test_a_transaction_of_the_source_is_cut_when_it_is_twice_the_memory(stage: Stage) -> None:
    events = 0
    while not stage.commits():
        stage.publish(AT_ONCE, {"transaction": b"1/%d" % events})
        events += AT_ONCE
        stage.settled()
        assert events < 100_000, "it was not cut"
    assert 2 * MEMORY / 1_200 < events < 2 * MEMORY / 800


def test_nothing_waits_so_the_loop_may(stage: Stage) -> None:
    assert stage.publisher.soon(0.2) == 0.2
    stage.publish()
    stage.settled()
    assert stage.publisher.soon(0.2) == 0.2
