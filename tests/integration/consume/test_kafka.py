"""Consuming from a real Kafka, with each of the two clients."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume import kafka as consume_kafka
from liberator.consume.kafka import KafkaConsumer, kafka_consumer, kafkapython
from liberator.errors import ConsumeError
from liberator.kafka.options import Client
from liberator.protocols import Start
from liberator.testing.conformance.consumer import DurableConformance
from liberator.testing.conformance.stream import (
    PATIENCE,
    DurableStream,
    Event,
    Watcher,
    done,
    joined,
    numbered,
    numbers,
    read,
    turns,
)
from liberator.testing.servers import Kafka, KafkaServer


class KafkaStream(DurableStream):
    shortest = (2.0, 2.5)

    def __init__(self, bootstrap: str, client: Client, topic: str) -> None:
        self.url = f"kafka://{bootstrap}"
        self.topic = topic
        self.client = client
        self.options = {"heartbeat.interval.ms": "100", "topic.metadata.refresh.interval.ms": "300"}
        self._wait()
        self.opened: list[KafkaConsumer] = []
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self._producer: Producer | None = None

    def hasten(self) -> None:
        super().hasten()
        self._wait()

    def _wait(self) -> None:
        self.options["session.timeout.ms"] = str(round(self.session_timeout * 1000))
        self.options["max.poll.interval.ms"] = str(round(self.poll_interval * 1000))

    def create(self, topic: str, partitions: int = 1) -> None:
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(PATIENCE)

    def append(self, topic: str, partition: int, events: Sequence[Event], *, commit: bool = True) -> None:
        producer = self._producer
        if producer is None:
            settings = {
                "bootstrap.servers": self.url.removeprefix("kafka://"),
                "transactional.id": self.topic,
                "linger.ms": 0,
            }
            producer = self._producer = Producer(settings)
            producer.init_transactions(PATIENCE)
        producer.begin_transaction()
        for event in events:
            producer.produce(topic, event.value, event.key, partition, headers=list(event.headers))
        if commit:
            producer.commit_transaction(PATIENCE)
        else:
            producer.flush(PATIENCE)
            producer.abort_transaction(PATIENCE)

    def open(self, group: str, start: Start = "earliest") -> KafkaConsumer:
        consumer = kafka_consumer(self.url, group, options=self.options, start=start, client=self.client)
        self.opened.append(consumer)
        return consumer

    def program(self, group: str) -> str:
        return (
            "from liberator.consume.kafka import kafka_consumer\n"
            f"consumer = kafka_consumer({self.url!r}, {group!r}, options={self.options!r}, client={self.client!r})"
        )

    def close(self) -> None:
        for consumer in self.opened:
            consumer.close()


@pytest.fixture(params=["confluent", "kafka-python"])
def stream(request: pytest.FixtureRequest, kafka: Kafka, unique: str) -> Iterator[KafkaStream]:
    """A fresh topic's name, for each client in turn."""
    stream = KafkaStream(kafka.bootstrap, request.param, unique)
    yield stream
    stream.close()


class TestKafkaConsumer(DurableConformance):
    @pytest.fixture
    def stream(self, stream: KafkaStream) -> KafkaStream:
        return stream


def test_both_clients_share_one_group(kafka: Kafka, unique: str) -> None:
    streams = [KafkaStream(kafka.bootstrap, client, unique) for client in ("confluent", "kafka-python")]
    streams[0].create(unique, 4)
    consumers = [stream.open(unique) for stream in streams]
    for consumer in consumers:
        consumer.subscribe([unique], Watcher())
    turns(consumers, lambda: [len(consumer.assigned()) for consumer in consumers] == [2, 2])
    for partition in range(4):
        streams[0].append(unique, partition, numbered(range(partition * 10, partition * 10 + 10)))
    seen: list[int] = []
    while len(seen) < 40:
        for consumer in consumers:
            batch = consumer.poll(100, 0.1)
            seen += numbers(batch)
            consumer.commit(done(batch))
    assert sorted(seen) == list(range(40))
    consumers[0].close()
    assert len(turns(consumers[1:], lambda: len(consumers[1].assigned()) == 4)) == 0
    turns(consumers[1:], lambda: not any(consumers[1].lag().values()))
    consumers[1].close()


def test_who_was_too_slow_goes_on_with_what_is_left(
    stream: KafkaStream, caplog: pytest.LogCaptureFixture
) -> None:
    partition = TopicPartition(stream.topic, 0)
    stream.create(stream.topic)
    stream.append(stream.topic, 0, numbered(range(10)))
    first = stream.open(stream.topic)
    first.subscribe([stream.topic], Watcher())
    read(first, 10)
    first.commit({partition: 2})
    first.close()
    stream.admin.delete_records([Place(*partition, 6)])[Place(*partition)].result(PATIENCE)
    second = stream.open(stream.topic)
    second.subscribe([stream.topic], Watcher())
    assert numbers(read(second, 4)) == [6, 7, 8, 9]
    second.close()
    assert f"4 events of {stream.topic}/0 are gone before they were read" in caplog.text


def test_what_nobody_sees_is_passed_without_a_commit_of_ours(stream: KafkaStream) -> None:
    stream.create(stream.topic)
    stream.append(stream.topic, 0, numbered(range(20)), commit=False)
    consumer = stream.open(stream.topic)
    consumer.subscribe([stream.topic], Watcher())
    assert sum(consumer.lag().values()) == 21
    turns([consumer], lambda: not any(consumer.lag().values()))
    consumer.close()


def test_brokers_are_asked_less_often_until_an_event_comes(kafka: Kafka, unique: str) -> None:
    stream = KafkaStream(kafka.bootstrap, "kafka-python", unique)
    stream.create(unique)
    consumer = stream.open(unique)
    consumer.subscribe([unique], Watcher())
    waits = waits_of(consumer)
    turns([consumer], lambda: waits[-1:] == [100])
    consumer._client._came_at -= kafkapython._QUIET_AFTER  # type: ignore[attr-defined]  # of the one client
    turns([consumer], lambda: waits[-1:] == [500])
    stream.append(unique, 0, numbered(range(1)))
    read(consumer, 1)
    turns([consumer], lambda: waits[-1:] == [100])
    stream.close()


def test_how_often_brokers_are_asked_is_left_as_somebody_has_set_it(
    kafka: Kafka, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = KafkaStream(kafka.bootstrap, "kafka-python", unique)
    stream.create(unique)
    stream.options["fetch.wait.max.ms"] = "50"
    consumer = stream.open(unique)
    consumer.subscribe([unique], Watcher())
    waits = waits_of(consumer)
    monkeypatch.setattr(kafkapython, "_QUIET_AFTER", 0.0)
    turns([consumer], lambda: len(waits) >= 3)
    assert set(waits) == {50}
    stream.close()


def waits_of(consumer: KafkaConsumer) -> list[int]:
    """For how many milliseconds brokers are told to wait for events, one after the other; it grows."""
    fetcher: Any = consumer._client._consumer._fetcher  # type: ignore[attr-defined]  # of the one client
    waits: list[int] = []
    make = fetcher._create_fetch_requests

    def noted() -> Any:
        requests = make()
        waits.extend(request.max_wait_ms for request, _ in requests.values())
        return requests

    fetcher._create_fetch_requests = noted
    return waits


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_an_unreachable_broker_is_reported_in_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consume_kafka, "CONNECT_WITHIN", 1.0)
    started = time.monotonic()
    with pytest.raises(ConsumeError) as refused:
        kafka_consumer("kafka://127.0.0.1:9", "shipping", client=client)
    assert (refused.value.code, refused.value.retryable) == ("consume.unreachable", True)
    assert refused.value.where == "kafka://127.0.0.1:9"
    assert "stream.url" in str(refused.value.fix)
    assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_an_outage_is_waited_for_and_commits_say_so(client: Client, broker: KafkaServer, unique: str) -> None:
    stream = KafkaStream(broker.bootstrap, client, unique)
    stream.options |= {"session.timeout.ms": "20000", "max.poll.interval.ms": "30000"}
    stream.create(unique)
    stream.append(unique, 0, numbered(range(5)))
    consumer = stream.open(unique)
    consumer.subscribe([unique], Watcher())
    batch = read(consumer, 5)
    broker.stop()
    try:
        assert len(consumer.poll(100, 0.5)) == 0
        with pytest.raises(ConsumeError) as waiting:
            consumer.commit(done(batch))
        assert waiting.value.retryable, waiting.value.block()
    finally:
        broker.start()
    stream.append(unique, 0, numbered(range(5, 8)))
    more = polled_until(consumer, 7)
    assert numbers(more)[-3:] == [5, 6, 7]
    assert numbers(more)[:-3] in ([], [0, 1, 2, 3, 4]), "what was not committed may come again, as a whole"
    consumer.commit(done(more))
    turns([consumer], lambda: not any(consumer.lag().values()))
    stream.close()


def test_a_commit_that_is_never_answered_holds_nobody_up(broker: KafkaServer, unique: str) -> None:
    """librdkafka waits for the answer without an end. The group is left when the broker is back: the next member need not
    wait for a session to run out."""
    stream = KafkaStream(broker.bootstrap, "confluent", unique)
    stream.options |= {"session.timeout.ms": "1200000", "max.poll.interval.ms": "1200000"}
    stream.create(unique)
    stream.append(unique, 0, numbered(range(5)))
    consumer = stream.open(unique)
    consumer.subscribe([unique], Watcher())
    batch = read(consumer, 5)
    broker.pause()
    try:
        for ask in (lambda: consumer.commit(done(batch)), consumer.lag):
            with pytest.raises(ConsumeError) as waiting:
                ask()
            assert waiting.value.retryable, waiting.value.block()
        consumer.close()
    finally:
        broker.resume()
    second = stream.open(unique)
    second.subscribe([unique], Watcher())
    stream.append(unique, 0, numbered(range(5, 8)))
    assert numbers(polled_until(second, 7))[-3:] == [5, 6, 7]
    stream.close()


def polled_until(consumer: KafkaConsumer, last: int) -> ConsumedBatch:
    """Everything that comes up to the event of this number."""
    found = ConsumedBatch()
    deadline = time.monotonic() + PATIENCE
    while last not in numbers(found):
        assert time.monotonic() < deadline
        found = joined([found, consumer.poll(100, 0.2)])
    return found
