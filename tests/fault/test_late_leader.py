"""A broker that refuses the first events for a partition, because it is not quite its leader, and takes the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liberator.change import PlacedRecord
from liberator.checkpoint.kafka import KafkaCheckpoint
from liberator.kafka import driver
from liberator.kafka.client import TransactionTimeouts
from liberator.kafka.options import Client
from liberator.publish.kafka import Lessons, kafka_publisher, transactional_publisher
from liberator.testing.conformance.publisher import PATIENCE, batch_of, numbers, publish_all
from tests.fault.brokers import FarBroker
from tests.fault.late_leader import LateLeader
from tests.integration.publish import topics

EVENTS = 20
ONE_BY_ONE = {"batch.size": "200"}
"""So that many requests are under way at the same time."""


@pytest.fixture(scope="module")
def late() -> Iterator[LateLeader]:
    late = LateLeader()
    yield late
    late.close()


@pytest.fixture(scope="module")
def far(late: LateLeader) -> Iterator[FarBroker]:
    with FarBroker(late.before) as far:
        yield far


@pytest.fixture(params=["confluent", "kafka-python"])
def client(request: pytest.FixtureRequest) -> Client:
    client: Client = request.param
    return client


@pytest.fixture
def topic(far: FarBroker, late: LateLeader, unique: str) -> str:
    topics.create(far.server.bootstrap, unique)
    late.refuse_first(unique)
    return unique


def test_at_least_once_loses_nothing(far: FarBroker, late: LateLeader, client: Client, topic: str) -> None:
    publisher = kafka_publisher(
        f"kafka://{far.far}",
        options=ONE_BY_ONE,
        create_topics=None,
        memory=1 << 20,
        client=client,
        name="shop",
        dead_letter_topic=None,
    )
    for number in range(EVENTS):
        publish_all(publisher, batch_of(topic, [number]), {"slot": b"%d" % number})
    assert publisher.flush(PATIENCE)
    publisher.close()
    assert late.refused == 1
    assert numbers(topics.read(far.server.bootstrap, topic)) == list(range(EVENTS))


def test_exactly_once_loses_nothing(far: FarBroker, late: LateLeader, client: Client, topic: str) -> None:
    url = f"kafka://{far.far}"
    positions = KafkaCheckpoint(url, client, client=client)
    publisher = transactional_publisher(
        url,
        options=ONE_BY_ONE,
        create_topics=None,
        memory=1 << 20,
        client=client,
        name=client,
        dead_letter_topic=None,
        positions=positions,
        lessons=Lessons(),
    )
    publisher.take_over()
    publish_all(publisher, batch_of(topic, range(EVENTS)), {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    publisher.close()
    positions.close()
    assert late.refused == 1
    assert numbers(topics.read(far.server.bootstrap, topic)) == list(range(EVENTS))


def test_records_for_given_partitions_lose_nothing(
    far: FarBroker, late: LateLeader, client: Client, topic: str
) -> None:
    """As a redrive of dead letters places them, and a checkpoint its positions."""
    library = driver(f"kafka://{far.far}", {}, client=client, client_id="suite")
    producer = library.transactions(f"suite.{client}", 300, lambda name: 1, TransactionTimeouts())
    producer.begin()
    producer.place([PlacedRecord(topic, 0, b"%d" % number, b"x" * 200, ()) for number in range(EVENTS)])
    while not producer.commit(PATIENCE):
        pass
    producer.abandon()
    assert late.refused == 1
    keys = [event.key for event in topics.read(far.server.bootstrap, topic)]
    assert keys == [b"%d" % number for number in range(EVENTS)]
