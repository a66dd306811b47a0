"""Passwords and rights of consumers: refused at once, with a word on what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclOperation,
    ResourceType,
)

from liberator.consume.kafka import KafkaConsumer, kafka_consumer
from liberator.errors import ConsumeError
from liberator.kafka.options import Client
from liberator.testing.conformance.stream import Watcher
from tests.integration.publish import topics
from tests.integration.publish.secured import SecuredKafka

QUICKLY = 10.0
"""Seconds in which a permanent error must be reported."""

LOGIN = {
    "security.protocol": "sasl_plaintext",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "stranger",
    "sasl.password": "right",
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    kafka = SecuredKafka(tmp_path_factory.mktemp("secured")).start()
    yield kafka
    kafka.close()


@pytest.fixture(params=["confluent", "kafka-python"])
def client(request: pytest.FixtureRequest) -> Client:
    chosen: Client = request.param
    return chosen


def refusal(consumer: KafkaConsumer, topic: str) -> ConsumeError:
    """How polling fails, which must be quick."""
    consumer.subscribe([topic], Watcher())
    with pytest.raises(ConsumeError) as refused:
        consumer.poll(10, QUICKLY)
    consumer.close()
    assert not refused.value.retryable
    assert "kafka-acls" in str(refused.value.fix)
    return refused.value


def test_a_wrong_password_stops(secured: SecuredKafka, client: Client) -> None:
    with pytest.raises(ConsumeError) as refused:
        kafka_consumer(
            secured.sasl, "shipping", options={**LOGIN, "sasl.password": "guessed-secret"}, client=client
        )
    assert (refused.value.code, refused.value.retryable) == ("consume.login_failed", False)
    assert "stream.options" in str(refused.value.fix)
    assert "guessed-secret" not in refused.value.block()


def test_a_user_who_may_not_use_the_group_stops(secured: SecuredKafka, client: Client, unique: str) -> None:
    topics.create(secured.plain, unique)
    secured.allow("stranger", ResourceType.TOPIC, unique, AclOperation.READ)
    consumer = kafka_consumer(secured.sasl, unique, options=LOGIN, client=client)
    assert refusal(consumer, unique).code == "consume.group_denied"


def test_a_user_who_may_not_read_the_topic_stops(secured: SecuredKafka, client: Client, unique: str) -> None:
    topics.create(secured.plain, unique)
    secured.allow("stranger", ResourceType.GROUP, unique, AclOperation.READ)
    consumer = kafka_consumer(secured.sasl, unique, options=LOGIN, client=client)
    assert refusal(consumer, unique).code == "consume.topic_denied"


def test_the_usual_rights_of_a_consumer_are_enough(
    secured: SecuredKafka, client: Client, unique: str
) -> None:
    topics.create(secured.plain, unique)
    secured.allow("stranger", ResourceType.TOPIC, unique, AclOperation.READ)
    secured.allow("stranger", ResourceType.GROUP, unique, AclOperation.READ)
    consumer = kafka_consumer(secured.sasl, unique, options=LOGIN, client=client)
    consumer.subscribe([unique], Watcher())
    started = time.monotonic()
    while not consumer.assigned():
        assert time.monotonic() - started < 120
        consumer.poll(10, 0.5)
    assert set(consumer.lag().values()) == {0}
    consumer.close()
