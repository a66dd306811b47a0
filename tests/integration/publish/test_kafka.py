"""Publishing to a real Kafka, with each of the two clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from liberator.change import EncodedBatch, Record
from liberator.errors import PublishError
from liberator.kafka import TopicSettings
from liberator.kafka import topics as known_topics
from liberator.kafka.options import Client
from liberator.kafka.partition import partition_of
from liberator.kafka.size import record_batch_bytes
from liberator.publish import kafka as publish_kafka
from liberator.publish.kafka import KafkaPublisher, kafka_publisher
from liberator.testing.conformance.publisher import (
    PATIENCE,
    StallingConformance,
    StallingOutlet,
    TimekeepingConformance,
    assert_ordered_by_key,
    batch_of,
    numbers,
    publish_all,
)
from liberator.testing.publisher import Published
from liberator.testing.servers import KafkaServer
from tests.integration.publish import topics
from tests.unit.kafka.test_kafka_rules import VECTORS

MEMORY = 1 << 20


class KafkaOutlet(StallingOutlet):
    """A topic of a broker of our own."""

    memory = MEMORY

    def __init__(self, broker: KafkaServer, client: Client, topic: str) -> None:
        self.broker = broker
        self.topic = topic
        self._client = client
        self._open: list[KafkaPublisher] = []

    def open(
        self,
        create_topics: TopicSettings | None = TopicSettings(),  # noqa: B008  # frozen
        options: dict[str, str] | None = None,
        memory: int = MEMORY,
        dead_letters: bool = True,
    ) -> KafkaPublisher:
        publisher = kafka_publisher(
            f"kafka://{self.broker.bootstrap}",
            options=options or {},
            create_topics=create_topics,
            memory=memory,
            client=self._client,
            name="shop",
            dead_letter_topic=self.dead_letter_topic if dead_letters else None,
        )
        self._open.append(publisher)
        return publisher

    @property
    def dead_letter_topic(self) -> str:
        return f"{self.topic}.dead-letters"

    def published(self) -> list[Published]:
        return topics.read(self.broker.bootstrap, self.topic)

    def dead_letters(self) -> list[Published]:
        return topics.read(self.broker.bootstrap, self.dead_letter_topic)

    def stall(self) -> None:
        self.broker.pause()

    def go_on(self) -> None:
        self.broker.resume()

    def close(self) -> None:
        self.broker.resume()
        for publisher in self._open:
            publisher.close()


@pytest.fixture(params=["confluent", "kafka-python"])
def outlet(request: pytest.FixtureRequest, broker: KafkaServer, unique: str) -> Iterator[KafkaOutlet]:
    """A fresh topic, for each client in turn."""
    outlet = KafkaOutlet(broker, request.param, unique)
    yield outlet
    outlet.close()


class TestKafkaPublisher(StallingConformance, TimekeepingConformance):
    @pytest.fixture
    def outlet(self, outlet: KafkaOutlet) -> KafkaOutlet:
        return outlet


# Partitions (D71)


def test_chooses_the_partitions_that_java_would_choose(outlet: KafkaOutlet) -> None:
    batch = EncodedBatch(string_keys=True)
    for number, (key, _, _, _) in enumerate(VECTORS):
        batch.add(outlet.topic, key, b"{}", b"id/%d" % number)
    publisher = outlet.open(TopicSettings(partitions=12))
    publish_all(publisher, batch, None)
    assert publisher.flush(PATIENCE)
    arrived = {event.key: event.partition for event in outlet.published()}
    assert arrived == {key: of_12 for key, _, _, of_12 in VECTORS}


def test_an_empty_key_follows_a_topic_that_grows(
    outlet: KafkaOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_topics, "_FRESH", 0.0)
    topics.create(outlet.broker.bootstrap, outlet.topic, 5)
    batch = EncodedBatch(string_keys=True)
    batch.add(outlet.topic, b"", b"{}", b"id/1")
    publisher = outlet.open()
    publish_all(publisher, batch, None)
    assert publisher.flush(PATIENCE)
    assert [event.partition for event in outlet.published()] == [partition_of(b"", 5)]


# Topics


def test_a_missing_topic_is_made_as_configured(outlet: KafkaOutlet) -> None:
    publisher = outlet.open(TopicSettings(3, -1, {"cleanup.policy": "compact", "retention.ms": "12345678"}))
    publish_all(publisher, batch_of(outlet.topic, range(10)), {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    assert topics.partitions_of(outlet.broker.bootstrap, outlet.topic) == 3
    settings = topics.settings_of(outlet.broker.bootstrap, outlet.topic)
    assert (settings["cleanup.policy"], settings["retention.ms"]) == ("compact", "12345678")


def test_a_topic_that_exists_is_left_as_it_is(outlet: KafkaOutlet) -> None:
    topics.create(outlet.broker.bootstrap, outlet.topic, 2, retention_ms="999")
    publisher = outlet.open(TopicSettings(5))
    publish_all(publisher, batch_of(outlet.topic, range(10)), None)
    assert publisher.flush(PATIENCE)
    assert topics.partitions_of(outlet.broker.bootstrap, outlet.topic) == 2


def test_two_creators_of_one_topic_do_not_disturb_each_other(outlet: KafkaOutlet) -> None:
    publishers = [outlet.open() for _ in range(3)]
    start = threading.Barrier(3)
    failures: list[BaseException] = []

    def publish(publisher: KafkaPublisher, first: int) -> None:
        try:
            start.wait()
            publish_all(publisher, batch_of(outlet.topic, range(first, first + 5)), None)
            assert publisher.flush(PATIENCE)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=publish, args=(publisher, 5 * at)) for at, publisher in enumerate(publishers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(numbers(outlet.published())) == list(range(15))


def test_a_missing_topic_is_refused_where_none_may_be_made(outlet: KafkaOutlet) -> None:
    """D70: an unknown topic stops the connector, and nothing creates it by accident."""
    publisher = outlet.open(create_topics=None)
    with pytest.raises(PublishError) as refused:
        publisher.publish(batch_of(outlet.topic, range(1)), {"slot": b"1"})
    assert (refused.value.code, refused.value.retryable) == ("publish.unknown_topic", False)
    assert refused.value.where == f"topic {outlet.topic}"
    assert publisher.durable() is None
    with pytest.raises(PublishError, match="does not exist"):
        publisher.publish(EncodedBatch(), None)
    assert topics.partitions_of(outlet.broker.bootstrap, outlet.topic) == 0


def test_a_setting_that_the_broker_refuses_stops(outlet: KafkaOutlet) -> None:
    publisher = outlet.open(TopicSettings(1, -1, {"retention.ms": "soon"}))
    with pytest.raises(PublishError) as refused:
        publisher.publish(batch_of(outlet.topic, range(1)), None)
    assert refused.value.code == "publish.topic_settings"


@pytest.mark.parametrize("name", ["a/b", "ü", "", "x" * 250, ".."])
def test_an_impossible_topic_name_stops(outlet: KafkaOutlet, name: str) -> None:
    with pytest.raises(PublishError) as refused:
        outlet.open().publish(batch_of(name, range(1)), None)
    assert refused.value.code == "publish.topic_name"


def test_a_topic_that_is_deleted_under_us_is_made_again(outlet: KafkaOutlet) -> None:
    publisher = outlet.open()
    publish_all(publisher, batch_of(outlet.topic, range(10)), {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    topics.delete(outlet.broker.bootstrap, outlet.topic)
    publish_all(publisher, batch_of(outlet.topic, range(10, 30)), {"slot": b"2"})
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"2"}
    assert set(range(10, 30)) <= set(numbers(outlet.published()))


def test_an_empty_key_survives_a_topic_that_is_made_anew_with_fewer_partitions(outlet: KafkaOutlet) -> None:
    topics.create(outlet.broker.bootstrap, outlet.topic, 11)
    batch = EncodedBatch(string_keys=True)
    batch.add(outlet.topic, b"", b"{}", b"id/1")
    publisher = outlet.open()
    publish_all(publisher, batch, None)
    assert publisher.flush(PATIENCE)
    topics.delete(outlet.broker.bootstrap, outlet.topic)
    topics.create(outlet.broker.bootstrap, outlet.topic, 2)
    publish_all(publisher, batch, {"slot": b"2"})
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"2"}
    assert outlet.published()[-1].partition == partition_of(b"", 2)


def test_control_records_follow_the_events_of_their_batch(outlet: KafkaOutlet) -> None:
    batch = batch_of(outlet.topic, range(3), keys=1)
    batch.control.append(Record(outlet.topic, b'{"id":0}', b'{"n":3}', b"control/1", (("kind", b"end"),)))
    batch.control.append(Record(f"{outlet.topic}.heartbeat", None, b"{}", b"control/2"))
    publisher = outlet.open()
    publish_all(publisher, batch, {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"1"}
    events = outlet.published()
    assert numbers(events) == [0, 1, 2, 3]
    assert events[-1].headers == {"id": b"control/1", "kind": b"end"}
    (heartbeat,) = topics.read(outlet.broker.bootstrap, f"{outlet.topic}.heartbeat")
    assert heartbeat.id == b"control/2"


# Events that are too large (D39, D41)


def value_for(size: int, key: bytes, id: bytes) -> bytes:
    """A value that makes the whole record batch exactly `size` bytes."""
    value = b"x" * (size - record_batch_bytes(key, b"", id, None))
    while record_batch_bytes(key, value, id, None) > size:
        value = value[:-1]
    assert record_batch_bytes(key, value, id, None) == size
    return value


@pytest.mark.parametrize("limit", [1_048_588, 40_000])
def test_the_border_of_size_is_exact_and_neighbours_flow(outlet: KafkaOutlet, limit: int) -> None:
    topics.create(outlet.broker.bootstrap, outlet.topic, 1, max_message_bytes=str(limit))
    batch = EncodedBatch()
    for number, size in enumerate([200, limit - 1, limit, limit + 1, 200, limit + 100_000, limit, 200]):
        id = b"id/%d" % number
        batch.add(outlet.topic, b"1", value_for(size, b"1", id), id)
    publisher = outlet.open()
    publish_all(publisher, batch, {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"1"}
    assert [event.id for event in outlet.published()] == [b"id/%d" % n for n in (0, 1, 2, 4, 6, 7)]
    dead = outlet.dead_letters()
    assert sorted(event.id for event in dead) == [b"id/3", b"id/5"]
    assert {event.key for event in dead} == {b"1"}
    assert all(event.headers["__connect.errors.topic"] == outlet.topic.encode() for event in dead)


def test_small_events_of_a_topic_with_a_small_limit_need_no_dead_letters(outlet: KafkaOutlet) -> None:
    topics.create(outlet.broker.bootstrap, outlet.topic, 1, max_message_bytes="2000")
    publisher = outlet.open(dead_letters=False)
    for start in range(0, 1_000, 100):
        publish_all(publisher, batch_of(outlet.topic, range(start, start + 100)), {"slot": b"%d" % start})
    assert publisher.flush(PATIENCE)
    assert_ordered_by_key(outlet.published(), 1_000)


def test_a_limit_that_is_lowered_while_running_loses_nothing(outlet: KafkaOutlet) -> None:
    topics.create(outlet.broker.bootstrap, outlet.topic, 1)
    publisher = outlet.open()
    publish_all(publisher, batch_of(outlet.topic, range(100)), {"slot": b"1"})
    assert publisher.flush(PATIENCE)
    topics.alter(outlet.broker.bootstrap, outlet.topic, "max.message.bytes", "10000")
    batch = batch_of(outlet.topic, range(100, 200))
    batch.add(outlet.topic, b'{"id":0}', b"x" * 50_000, b"large")
    publish_all(publisher, batch, {"slot": b"2"})
    publish_all(publisher, batch_of(outlet.topic, range(200, 300)), {"slot": b"3"})
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"3"}
    assert_ordered_by_key(outlet.published(), 300)
    assert {event.id for event in outlet.dead_letters()} == {b"large"}


def test_a_limit_that_is_raised_while_running_is_used(
    outlet: KafkaOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_topics, "_FRESH", 0.0)
    topics.create(outlet.broker.bootstrap, outlet.topic, 1, max_message_bytes="10000")
    publisher = outlet.open()
    publish_all(publisher, batch_of(outlet.topic, range(10)), None)
    assert publisher.flush(PATIENCE)
    topics.alter(outlet.broker.bootstrap, outlet.topic, "max.message.bytes", "100000")
    batch = EncodedBatch()
    batch.add(outlet.topic, b'{"id":0}', b"x" * 50_000, b"large")
    publish_all(publisher, batch, None)
    assert publisher.flush(PATIENCE)
    assert outlet.published()[-1].id == b"large"


def test_without_a_dead_letter_topic_a_too_large_event_stops(outlet: KafkaOutlet) -> None:
    batch = batch_of(outlet.topic, range(3))
    batch.add(outlet.topic, b"{}", b"x" * 2_000_000, b"large")
    publisher = outlet.open(dead_letters=False)
    with pytest.raises(PublishError) as refused:
        publisher.publish(batch, {"slot": b"1"})
    assert (refused.value.code, refused.value.retryable) == ("publish.too_large", False)
    assert publisher.durable() is None


def test_the_dead_letter_topic_is_never_compacted(outlet: KafkaOutlet) -> None:
    batch = EncodedBatch()
    batch.add(outlet.topic, None, b"x" * 2_000_000, b"large")
    topics.create(outlet.broker.bootstrap, outlet.topic, 1)
    publisher = outlet.open(TopicSettings(1, -1, {"cleanup.policy": "compact"}))
    publish_all(publisher, batch, None)
    assert publisher.flush(PATIENCE)
    assert topics.settings_of(outlet.broker.bootstrap, outlet.dead_letter_topic)["cleanup.policy"] == "delete"
    (dead,) = outlet.dead_letters()
    assert (dead.key, dead.value, dead.headers["__liberator.value.bytes"]) == (None, None, b"2000000")


def test_a_record_that_the_broker_refuses_stops_with_a_hint(outlet: KafkaOutlet) -> None:
    """A compacted topic takes no event without a key."""
    topics.create(outlet.broker.bootstrap, outlet.topic, 1, cleanup_policy="compact")
    batch = EncodedBatch()
    batch.add(outlet.topic, None, b"{}", b"id/1")
    publisher = outlet.open()
    publisher.publish(batch, {"slot": b"1"})
    with pytest.raises(PublishError) as refused:
        publisher.flush(PATIENCE)
    assert refused.value.code == "publish.record_refused"
    assert "cleanup.policy" in str(refused.value.fix)


# Outages (D69)


def publish_while(outlet: KafkaOutlet, happens: threading.Thread, publisher: KafkaPublisher) -> int:
    """Publish without pause until some time after `happens` has ended, more than 200; returns how many events."""
    count = 0
    happens.start()
    ended: float | None = None
    while ended is None or time.monotonic() < ended + 0.5 or count <= 200:
        if publisher.ready(0.1):
            batch = batch_of(outlet.topic, range(count, count + 100))
            publisher.publish(batch, {"slot": b"%d" % (count + 100)})
            count += 100
        publisher.durable()
        if ended is None and not happens.is_alive():
            ended = time.monotonic()
    happens.join()
    return count


@pytest.mark.parametrize("how", ["in good order", "by kill -9"])
def test_a_restart_of_the_broker_loses_nothing_and_keeps_order(outlet: KafkaOutlet, how: str) -> None:
    publisher = outlet.open()

    def restart() -> None:
        time.sleep(0.5)
        if how == "by kill -9":
            outlet.broker.kill()
            outlet.broker.start()
        else:
            outlet.broker.restart()

    count = publish_while(outlet, threading.Thread(target=restart), publisher)
    assert publisher.flush(PATIENCE)
    assert_ordered_by_key(outlet.published(), count)


def test_a_frozen_broker_loses_nothing_and_keeps_order(outlet: KafkaOutlet) -> None:
    publisher = outlet.open()

    def freeze() -> None:
        for _ in range(3):
            time.sleep(0.4)
            outlet.broker.pause()
            time.sleep(0.7)
            outlet.broker.resume()

    count = publish_while(outlet, threading.Thread(target=freeze), publisher)
    assert publisher.flush(PATIENCE)
    assert_ordered_by_key(outlet.published(), count)


@pytest.mark.parametrize("outlet", ["confluent"], indirect=True)
def test_a_client_whose_own_queue_is_full_keeps_the_order(outlet: KafkaOutlet) -> None:
    publisher = outlet.open(options={"queue.buffering.max.messages": "50"})
    for start in range(0, 2_000, 500):
        publish_all(publisher, batch_of(outlet.topic, range(start, start + 500)), {"slot": b"%d" % start})
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"1500"}
    assert_ordered_by_key(outlet.published(), 2_000)


def test_a_new_topic_during_an_outage_waits(outlet: KafkaOutlet) -> None:
    publisher = outlet.open()
    outlet.broker.stop()
    try:
        publisher.publish(batch_of(outlet.topic, range(10)), {"slot": b"1"})
        assert not publisher.flush(0.2)
    finally:
        outlet.broker.start()
    assert publisher.flush(PATIENCE)
    assert publisher.durable() == {"slot": b"1"}
    assert_ordered_by_key(outlet.published(), 10)


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_an_unreachable_broker_is_reported_in_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_kafka, "CONNECT_WITHIN", 1.0)
    started = time.monotonic()
    with pytest.raises(PublishError) as refused:
        kafka_publisher(
            "kafka://127.0.0.1:9", options={}, create_topics=None, memory=MEMORY, client=client, name="shop"
        )
    assert (refused.value.code, refused.value.retryable) == ("publish.unreachable", True)
    assert refused.value.where == "kafka://127.0.0.1:9"
    assert time.monotonic() - started < PATIENCE
