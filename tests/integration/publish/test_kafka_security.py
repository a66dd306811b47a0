"""Passwords, rights and certificates: refused at once, with a word on what to do (D62, D70)."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclOperation,
    ResourceType,
)

from liberator.change import EncodedBatch
from liberator.checkpoint.kafka import KafkaCheckpoint
from liberator.errors import CheckpointError, PublishError
from liberator.kafka import TopicSettings
from liberator.kafka.options import Client
from liberator.publish.kafka import KafkaPublisher, kafka_publisher
from liberator.testing.conformance.publisher import PATIENCE, assert_ordered_by_key, batch_of, publish_all
from tests.integration.publish import topics
from tests.integration.publish.secured import SecuredKafka

QUICKLY = 60.0
"""Seconds in which a permanent error must be reported."""

LOGIN = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"}
WRITER = {**LOGIN, "sasl.username": "writer", "sasl.password": "right"}
STRANGER = {**LOGIN, "sasl.username": "stranger", "sasl.password": "right"}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    kafka = SecuredKafka(tmp_path_factory.mktemp("secured")).start()
    yield kafka
    kafka.close()


@pytest.fixture(params=["confluent", "kafka-python"])
def client(request: pytest.FixtureRequest) -> Client:
    chosen: Client = request.param
    return chosen


@pytest.fixture(autouse=True)
def forgotten_sockets() -> Iterator[None]:
    """kafka-python leaves the socket of a refused TLS handshake to the garbage collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def connect(url: str, options: dict[str, str], client: Client, **settings: str) -> KafkaPublisher:
    return kafka_publisher(
        url,
        options=options,
        create_topics=TopicSettings(partitions=1),
        memory=1 << 20,
        client=client,
        name="shop",
        dead_letter_topic=settings.get("dead_letter_topic"),
    )


def refusal(url: str, options: dict[str, str], client: Client) -> PublishError:
    """How connecting fails, which must be quick."""
    started = time.monotonic()
    with pytest.raises(PublishError) as refused:
        connect(url, options, client)
    assert time.monotonic() - started < QUICKLY
    assert not refused.value.retryable
    assert refused.value.fix
    return refused.value


def test_a_wrong_password_stops(secured: SecuredKafka, client: Client) -> None:
    error = refusal(secured.sasl, {**WRITER, "sasl.password": "guessed-secret"}, client)
    assert error.code == "publish.login_failed"
    assert "guessed-secret" not in error.block()


def test_a_mechanism_that_is_not_offered_stops(secured: SecuredKafka, client: Client) -> None:
    error = refusal(secured.sasl, {**WRITER, "sasl.mechanism": "SCRAM-SHA-512"}, client)
    assert error.code in ("publish.login_failed", "publish.sasl_mechanism")


def test_an_unknown_authority_stops(secured: SecuredKafka, client: Client) -> None:
    assert refusal(secured.tls, {"security.protocol": "ssl"}, client).code == "publish.tls_failed"


def test_a_certificate_for_another_name_stops(secured: SecuredKafka, client: Client) -> None:
    options = {"security.protocol": "ssl", "ssl.ca.location": str(secured.certificate)}
    error = refusal(secured.tls.replace("127.0.0.1", "localhost"), options, client)
    assert error.code == "publish.tls_failed"


def test_a_trusted_certificate_is_taken(secured: SecuredKafka, client: Client, unique: str) -> None:
    secured.allow("ANONYMOUS", ResourceType.TOPIC, unique, AclOperation.ALL)
    options = {"security.protocol": "ssl", "ssl.ca.location": str(secured.certificate)}
    publisher = connect(secured.tls, options, client)
    publish_all(publisher, batch_of(unique, range(10)), {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    publisher.close()


def test_plain_text_to_a_tls_listener_is_not_taken_for_a_broker(
    secured: SecuredKafka, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liberator.publish.kafka.CONNECT_WITHIN", 2.0)
    with pytest.raises(PublishError) as refused:
        connect(secured.tls, {}, client)
    assert refused.value.code == "publish.unreachable", refused.value.block()


def test_a_user_without_rights_stops(secured: SecuredKafka, client: Client, unique: str) -> None:
    publisher = connect(secured.sasl, STRANGER, client)
    started = time.monotonic()
    with pytest.raises(PublishError) as refused:
        publisher.publish(batch_of(unique, range(1)), {"slot": b"1"})
    assert time.monotonic() - started < QUICKLY
    assert refused.value.code in ("publish.topic_denied", "publish.cluster_denied")
    assert "kafka-acls" in str(refused.value.fix)
    publisher.close()


def test_a_user_who_may_look_but_not_write_stops(secured: SecuredKafka, client: Client, unique: str) -> None:
    topics.create(secured.plain, unique)
    secured.allow("stranger", ResourceType.TOPIC, unique, AclOperation.DESCRIBE)
    secured.allow("stranger", ResourceType.TOPIC, f"other.{unique}", AclOperation.WRITE)
    publisher = connect(secured.sasl, STRANGER, client)
    started = time.monotonic()
    publisher.publish(batch_of(unique, range(1)), {"slot": b"1"})
    with pytest.raises(PublishError) as refused:
        publisher.flush(PATIENCE)
    assert time.monotonic() - started < QUICKLY
    assert refused.value.code == "publish.topic_denied"
    assert refused.value.where == f"topic {unique}"
    assert publisher.durable() is None
    publisher.close()


def test_a_user_who_may_write_nowhere_stops(secured: SecuredKafka, client: Client, unique: str) -> None:
    """A broker gives a producer id only to who may write some topic."""
    topics.create(secured.plain, unique)
    secured.allow("nobody", ResourceType.TOPIC, unique, AclOperation.DESCRIBE)
    publisher = connect(secured.sasl, {**STRANGER, "sasl.username": "nobody"}, client)
    started = time.monotonic()
    publisher.publish(batch_of(unique, range(1)), {"slot": b"1"})
    with pytest.raises(PublishError) as refused:
        publisher.flush(PATIENCE)
    assert time.monotonic() - started < QUICKLY
    assert refused.value.code == "publish.cluster_denied", refused.value.block()
    assert "IdempotentWrite" in str(refused.value.fix)
    publisher.close()


@pytest.fixture
def writable(secured: SecuredKafka, unique: str) -> str:
    """A prefix under which `writer` may make and write topics, but not read their settings."""
    secured.allow(
        "writer", ResourceType.TOPIC, unique, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE
    )
    return unique


def test_the_usual_rights_of_a_producer_are_enough(
    secured: SecuredKafka, client: Client, writable: str
) -> None:
    publisher = connect(secured.sasl, WRITER, client)
    for start in range(0, 500, 100):
        publish_all(publisher, batch_of(writable, range(start, start + 100)), {"slot": b"%d" % start})
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"400"}
    publisher.close()
    assert_ordered_by_key(topics.read(secured.plain, writable), 500)


def test_limits_that_may_not_be_read_are_learnt_from_refusals(
    secured: SecuredKafka, client: Client, writable: str
) -> None:
    topics.create(secured.plain, writable, max_message_bytes="20000")
    dead = f"{writable}.dead-letters"
    batch = batch_of(writable, range(300))
    for position, size in ((3, 50_000), (150, 30_000), (290, 25_000)):
        batch.topics.insert(position, writable)
        batch.keys.insert(position, b'{"id":0}')
        batch.values.insert(position, b'{"large":"%b"}' % (b"x" * size))
        batch.ids.insert(position, b"large/%d" % position)
        batch.headers.insert(position, None)
    publisher = connect(secured.sasl, WRITER, client, dead_letter_topic=dead)
    publish_all(publisher, batch, {"slot": b"1"})
    publish_all(publisher, batch_of(writable, range(300, 400)), {"slot": b"2"})
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"2"}
    publisher.close()
    assert_ordered_by_key(topics.read(secured.plain, writable), 400)
    assert {event.id for event in topics.read(secured.plain, dead)} == {
        b"large/3",
        b"large/150",
        b"large/290",
    }


def test_a_large_event_is_tried_where_its_limit_may_not_be_read(
    secured: SecuredKafka, client: Client, writable: str
) -> None:
    topics.create(secured.plain, writable, max_message_bytes="5000000")
    batch = EncodedBatch()
    batch.add(writable, b"1", b"x" * 4_000_000, b"large")
    publisher = connect(secured.sasl, WRITER, client)
    publish_all(publisher, batch, {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    publisher.close()
    assert [event.id for event in topics.read(secured.plain, writable)] == [b"large"]


def test_a_checkpoint_that_may_not_make_its_topic_stops(
    secured: SecuredKafka, client: Client, unique: str
) -> None:
    checkpoint = KafkaCheckpoint(secured.sasl, unique, unique, STRANGER, client)
    with pytest.raises(CheckpointError) as refused:
        checkpoint.acquire()
    assert refused.value.code in ("checkpoint.topic_denied", "checkpoint.cluster_denied")
    assert not refused.value.retryable
    checkpoint.close()


def test_a_checkpoint_needs_its_transactional_id(
    secured: SecuredKafka, client: Client, writable: str
) -> None:
    secured.allow("writer", ResourceType.TOPIC, writable, AclOperation.READ)
    checkpoint = KafkaCheckpoint(secured.sasl, writable, writable, WRITER, client)
    started = time.monotonic()
    with pytest.raises(CheckpointError) as refused:
        checkpoint.acquire()
    assert time.monotonic() - started < QUICKLY
    assert (refused.value.code, refused.value.retryable) == ("checkpoint.transaction_denied", False)
    secured.allow(
        "writer",
        ResourceType.TRANSACTIONAL_ID,
        f"liberator.checkpoint.{writable}",
        AclOperation.WRITE,
        AclOperation.DESCRIBE,
    )
    checkpoint.save({"slot": b"1"}, checkpoint.acquire())
    assert checkpoint.load() == {"slot": b"1"}
    checkpoint.close()
