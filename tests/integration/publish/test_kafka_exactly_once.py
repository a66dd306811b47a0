"""Publishing to a real Kafka in transactions that hold events and positions, with each of the two clients."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from liberator.change import EncodedBatch, Record
from liberator.checkpoint.kafka import KafkaCheckpoint
from liberator.errors import CheckpointError, PublishError
from liberator.kafka import TopicSettings
from liberator.kafka.options import Client
from liberator.publish.kafka import Lessons, TransactionalPublisher, transactional_publisher
from liberator.testing.conformance.publisher import (
    PATIENCE,
    OwningConformance,
    OwningOutlet,
    StallingConformance,
    StallingOutlet,
    TimekeepingConformance,
    batch_of,
    numbers,
    publish_all,
    publish_and_flush,
)
from liberator.testing.publisher import Published
from liberator.testing.servers import KafkaServer
from tests.integration.publish import topics

MEMORY = 1 << 20


class ExactlyOnceOutlet(OwningOutlet, StallingOutlet):
    """A topic of a broker of our own. lessons: shared by all publishers, as those of one connector do it."""

    memory = MEMORY

    def __init__(self, broker: KafkaServer, client: Client, topic: str) -> None:
        self.broker = broker
        self.topic = topic
        self.lessons = Lessons()
        self._client = client
        self._open: list[TransactionalPublisher | KafkaCheckpoint] = []

    def open(self, *, take_over: bool = True) -> TransactionalPublisher:
        publisher = self._publisher()
        deadline = time.monotonic() + PATIENCE
        while take_over:
            try:
                publisher.take_over()
                break
            except (CheckpointError, PublishError) as error:  # a broker that was frozen needs a while
                if not error.retryable or time.monotonic() > deadline:
                    raise
                publisher = self._publisher()
        return publisher

    def _publisher(self) -> TransactionalPublisher:
        publisher = transactional_publisher(
            f"kafka://{self.broker.bootstrap}",
            options={},
            create_topics=TopicSettings(),
            memory=MEMORY,
            client=self._client,
            name="shop",
            dead_letter_topic=f"{self.topic}.dead-letters",
            positions=self.checkpoint(),
            lessons=self.lessons,
        )
        self._open.append(publisher)
        return publisher

    def published(self) -> list[Published]:
        return topics.read(self.broker.bootstrap, self.topic)

    def dead_letters(self) -> list[Published]:
        return topics.read(self.broker.bootstrap, f"{self.topic}.dead-letters")

    def saved(self) -> dict[str, bytes]:
        return dict(self.checkpoint().load())

    def checkpoint(self) -> KafkaCheckpoint:
        url = f"kafka://{self.broker.bootstrap}"
        checkpoint = KafkaCheckpoint(url, "shop", f"{self.topic}.positions", client=self._client)
        self._open.append(checkpoint)
        return checkpoint

    def stall(self) -> None:
        self.broker.pause()

    def go_on(self) -> None:
        self.broker.resume()

    def close(self) -> None:
        self.broker.resume()
        for part in self._open:
            part.close()


@pytest.fixture(params=["confluent", "kafka-python"])
def outlet(request: pytest.FixtureRequest, broker: KafkaServer, unique: str) -> Iterator[ExactlyOnceOutlet]:
    """A fresh topic, for each client in turn."""
    outlet = ExactlyOnceOutlet(broker, request.param, unique)
    yield outlet
    outlet.close()


class TestTransactionalPublisher(StallingConformance, OwningConformance, TimekeepingConformance):
    @pytest.fixture
    def outlet(self, outlet: ExactlyOnceOutlet) -> ExactlyOnceOutlet:
        return outlet


def test_what_a_killed_publisher_left_open_is_never_seen(outlet: ExactlyOnceOutlet) -> None:
    killed = outlet.open()
    publish_all(killed, batch_of(outlet.topic, range(3)), {"slot": b"1"})
    assert killed.flush(PATIENCE)
    killed._committed_at = float("inf")  # it would commit at once
    publish_all(killed, batch_of(outlet.topic, range(3, 9)), {"slot": b"2"})
    successor = outlet.open(take_over=False)
    assert successor.take_over() == {"slot": b"1"}
    publish_all(successor, batch_of(outlet.topic, range(3, 9)), {"slot": b"3"})
    assert successor.flush(PATIENCE)
    assert sorted(numbers(outlet.published())) == list(range(9))
    assert outlet.saved() == {"slot": b"3"}


def test_positions_that_a_killed_publisher_left_open_do_not_hold_up_its_successor(
    outlet: ExactlyOnceOutlet,
) -> None:
    killed = outlet.open()
    publish_all(killed, batch_of(outlet.topic, range(3)), {"slot": b"1"})
    assert killed.flush(PATIENCE)
    client, positions = killed._client, killed._positions
    assert client is not None
    client.begin()
    client.write(positions.topic, positions.records({"slot": b"2"}))
    client.serve(0.5)
    began = time.monotonic()
    assert outlet.checkpoint().glance() == {"slot": b"1"}
    assert outlet.open(take_over=False).take_over() == {"slot": b"1"}
    assert time.monotonic() - began < 45, "so long does a transaction stay open that nobody ends"


def test_who_has_positions_under_way_learns_all_the_same_whose_the_connector_is(
    outlet: ExactlyOnceOutlet,
) -> None:
    """Before brokers abort them, which they do after twenty seconds."""
    publisher = outlet.open()
    client, positions = publisher._client, publisher._positions
    assert client is not None
    client.begin()
    client.write(positions.topic, positions.records({"slot": b"2"}))
    client.serve(0.5)
    assert positions.is_ours(complete=False)
    assert client.commit(PATIENCE), "they were aborted"


def test_waiting_disturbs_nobody(outlet: ExactlyOnceOutlet) -> None:
    """A hot standby is ready, and fences nobody before its turn."""
    working = outlet.open()
    outlet.open(take_over=False)
    publish_all(working, batch_of(outlet.topic, range(3)), {"slot": b"1"})
    assert working.flush(PATIENCE)
    assert working.durable() == {"slot": b"1"}


def test_control_records_are_committed_with_their_events(outlet: ExactlyOnceOutlet) -> None:
    batch = batch_of(outlet.topic, range(2))
    batch.control.append(Record(outlet.topic, b'{"id":0}', b'{"n":2}', b"suite/2", (("kind", b"end"),)))
    publisher = outlet.open()
    publish_all(publisher, batch, {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    assert publisher.durable_events() == 2
    assert sorted(numbers(outlet.published())) == [0, 1, 2]


def test_what_is_too_large_becomes_a_dead_letter_and_the_rest_flows(outlet: ExactlyOnceOutlet) -> None:
    batch = batch_of(outlet.topic, range(3))
    batch.values[1] = b'{"n":1,"padding":"%b"}' % (b"x" * 2_000_000)
    publisher = outlet.open()
    publish_all(publisher, batch, {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    assert sorted(numbers(outlet.published())) == [0, 2]
    assert [event.id for event in outlet.dead_letters()] == [b"suite/1"]
    assert outlet.saved() == {"slot": b"1"}


def test_a_topic_with_a_smaller_limit_is_served_by_the_next_attempt(outlet: ExactlyOnceOutlet) -> None:
    topics.create(outlet.broker.bootstrap, outlet.topic, max_message_bytes="20000")
    publisher = outlet.open()
    with pytest.raises(PublishError) as refused:
        publish_all(publisher, batch_of(outlet.topic, range(200), padding=1_000), {"slot": b"1"})
    assert (refused.value.code, refused.value.retryable) == ("publish.smaller_requests", True)
    publisher.close()
    again = outlet.open()
    publish_all(again, batch_of(outlet.topic, range(200), padding=1_000), {"slot": b"1"})
    assert again.flush(PATIENCE)
    assert sorted(numbers(outlet.published())) == list(range(200))


def test_a_topic_that_was_deleted_is_made_again_by_the_next_attempt(outlet: ExactlyOnceOutlet) -> None:
    publisher = outlet.open()
    publish_all(publisher, batch_of(outlet.topic, range(3)), {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    topics.delete(outlet.broker.bootstrap, outlet.topic)
    with pytest.raises(PublishError) as refused:
        publish_and_flush(publisher, batch_of(outlet.topic, range(3, 6)), {"slot": b"2"})
    assert refused.value.retryable, refused.value
    publisher.close()
    again = outlet.open(take_over=False)
    assert again.take_over() == {"slot": b"1"}
    publish_all(again, batch_of(outlet.topic, range(3, 6)), {"slot": b"2"})
    assert again.flush(PATIENCE)
    assert sorted(numbers(outlet.published())) == [3, 4, 5]


def test_a_state_alone_is_a_transaction_too(outlet: ExactlyOnceOutlet) -> None:
    publisher = outlet.open()
    for number in range(3):
        publisher.publish(EncodedBatch(), {"slot": b"%d" % number})
        assert publisher.flush(PATIENCE)
        assert publisher.durable() == {"slot": b"%d" % number}
    assert outlet.saved() == {"slot": b"2"}
