"""Positions in a real Kafka, with each of the two clients."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from liberator.checkpoint.kafka import KafkaCheckpoint
from liberator.errors import CheckpointError
from liberator.kafka.options import Client
from liberator.testing.conformance.checkpoint import DurableConformance, DurableStore
from liberator.testing.servers import KafkaServer
from tests.integration.publish import topics


class KafkaStore(DurableStore):
    """A topic for positions, of its own."""

    def __init__(self, broker: KafkaServer, client: Client, topic: str) -> None:
        self.broker = broker
        self.client = client
        self.topic = topic
        self.url = f"kafka://{broker.bootstrap}"
        self._open: list[KafkaCheckpoint] = []

    def open(self, name: str = "shop") -> KafkaCheckpoint:
        # Transactional ids are the cluster's, not the topic's: tests must not meet under one name.
        checkpoint = KafkaCheckpoint(self.url, self._unique(name), self.topic, client=self.client)
        self._open.append(checkpoint)
        return checkpoint

    def damage(self, name: str, partition: str) -> None:
        self._rewrite(name, partition, b'"value":"', b'"value":"AAAA')

    def come_from_the_future(self, name: str, partition: str) -> None:
        self._rewrite(name, partition, b'"format":1', b'"format":2')

    def program(self, name: str) -> str:
        return (
            "from liberator.checkpoint.kafka import KafkaCheckpoint\n"
            f"checkpoint = KafkaCheckpoint({self.url!r}, {self._unique(name)!r}, {self.topic!r}, client={self.client!r})"
        )

    def put(self, key: str, value: bytes) -> None:
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "linger.ms": 0})
        producer.produce(self.topic, value, key)
        assert producer.flush(120) == 0

    def close(self) -> None:
        self.broker.resume()
        for checkpoint in self._open:
            checkpoint.close()

    def _unique(self, name: str) -> str:
        return f"{name}.{self.topic}"

    def _rewrite(self, name: str, partition: str, old: bytes, new: bytes) -> None:
        key = f"{self._unique(name)}/{partition}"
        newest = [
            event.value
            for event in topics.read(self.broker.bootstrap, self.topic)
            if event.key == key.encode()
        ]
        assert newest[-1] is not None
        self.put(key, newest[-1].replace(old, new))


@pytest.fixture(params=["confluent", "kafka-python"])
def store(request: pytest.FixtureRequest, broker: KafkaServer, unique: str) -> Iterator[KafkaStore]:
    """A fresh topic, for each client in turn."""
    store = KafkaStore(broker, request.param, unique)
    yield store
    store.close()


class TestKafkaCheckpoint(DurableConformance):
    kills = 2

    @pytest.fixture
    def store(self, store: KafkaStore) -> KafkaStore:
        return store


def test_looking_makes_no_topic(store: KafkaStore) -> None:
    assert store.open().load() == {}
    assert topics.partitions_of(store.broker.bootstrap, store.topic) == 0


def test_the_topic_is_compacted_and_has_one_partition(store: KafkaStore) -> None:
    store.open().acquire()
    assert topics.partitions_of(store.broker.bootstrap, store.topic) == 1
    assert topics.settings_of(store.broker.bootstrap, store.topic)["cleanup.policy"] == "compact"


@pytest.mark.parametrize(("partitions", "policy"), [(1, "delete"), (2, "compact")])
def test_a_topic_that_would_lose_positions_is_refused(
    store: KafkaStore, partitions: int, policy: str
) -> None:
    topics.create(store.broker.bootstrap, store.topic, partitions, cleanup_policy=policy)
    with pytest.raises(CheckpointError) as refused:
        store.open().acquire()
    assert (refused.value.code, refused.value.retryable) == ("checkpoint.topic", False)


def test_a_save_is_quick(store: KafkaStore) -> None:
    checkpoint = store.open()
    epoch = checkpoint.acquire()
    took = []
    for number in range(1, 41):
        started = time.monotonic()
        checkpoint.save({"slot": b"%d" % number}, epoch)
        took.append(time.monotonic() - started)
    assert min(took) < 0.1, "none was quick: it waits for something each time"


def test_a_frozen_broker_is_retryable_and_the_checkpoint_goes_on_afterwards(store: KafkaStore) -> None:
    checkpoint = store.open()
    epoch = checkpoint.acquire()
    checkpoint.save({"slot": b"1"}, epoch)
    store.broker.pause()
    started = time.monotonic()
    with pytest.raises(CheckpointError) as refused:
        checkpoint.save({"slot": b"2"}, epoch)
    assert refused.value.retryable
    assert time.monotonic() - started < 60
    store.broker.resume()
    checkpoint.save({"slot": b"3"}, epoch)
    assert store.open().load() == {"slot": b"3"}


def test_closes_at_once_while_nothing_answers(store: KafkaStore) -> None:
    checkpoint = store.open()
    checkpoint.save({"slot": b"1"}, checkpoint.acquire())
    store.broker.pause()
    started = time.monotonic()
    checkpoint.close()
    assert time.monotonic() - started < 2


def test_a_restart_of_the_broker_keeps_what_was_saved(store: KafkaStore) -> None:
    checkpoint = store.open()
    epoch = checkpoint.acquire()
    checkpoint.save({"slot": b"1"}, epoch)
    store.broker.restart()
    save_patiently(checkpoint, {"table a": b"2"}, epoch)
    assert checkpoint.load() == {"slot": b"1", "table a": b"2"}


def save_patiently(checkpoint: KafkaCheckpoint, delta: dict[str, bytes], epoch: int) -> None:
    """Save as the capture loop does: again, while the error says that it may pass."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return checkpoint.save(delta, epoch)
        except CheckpointError as error:
            if not error.retryable or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_writer_whose_producer_was_fenced_by_mistake_goes_on(store: KafkaStore) -> None:
    """Somebody started a producer of the same name but acquired nothing: the epoch decides, not the producer."""
    checkpoint = store.open()
    epoch = checkpoint.acquire()
    checkpoint.save({"slot": b"1"}, epoch)
    store.open()._start_producer()
    checkpoint.save({"slot": b"2"}, epoch)
    assert checkpoint.load() == {"slot": b"2"}


def test_sees_what_stands_behind_the_open_transaction_of_a_killed_writer(store: KafkaStore) -> None:
    """A reader of committed records stops at the first open transaction; our own newer positions may be behind it."""
    checkpoint = store.open()
    epoch = checkpoint.acquire()
    checkpoint.save({"slot": b"1"}, epoch)
    left_open = Producer(
        {
            "bootstrap.servers": store.broker.bootstrap,
            "transactional.id": f"killed.{store.topic}",
            "transaction.timeout.ms": 2_000,
        }
    )
    left_open.init_transactions(120)
    left_open.begin_transaction()
    left_open.produce(store.topic, b"{}", f"killed.{store.topic}/slot")
    assert left_open.flush(120) == 0
    checkpoint.save({"slot": b"2"}, epoch)
    assert store.open().load() == {"slot": b"2"}


def test_records_of_nobody_do_no_harm(store: KafkaStore) -> None:
    checkpoint = store.open()
    checkpoint.save({"slot": b"1"}, checkpoint.acquire())
    store.put("somebody", b"not json")
    store.put("somebody/slot", b"not json")
    assert store.open().load() == {"slot": b"1"}


def test_a_damaged_epoch_is_refused_and_a_reset_repairs_it(store: KafkaStore) -> None:
    checkpoint = store.open()
    epoch = checkpoint.acquire()
    checkpoint.save({"slot": b"1"}, epoch)
    store.put(f"shop.{store.topic}", b"not json")
    successor = store.open()
    with pytest.raises(CheckpointError) as refused:
        successor.acquire()
    assert refused.value.code == "checkpoint.corrupt"
    successor.reset()
    assert successor.load() == {}
    assert store.open().acquire() > epoch


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_an_unreachable_broker_is_retryable(client: Client) -> None:
    checkpoint = KafkaCheckpoint("kafka://127.0.0.1:9", "shop", client=client)
    started = time.monotonic()
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load()
    assert (refused.value.code, refused.value.retryable) == ("checkpoint.unreachable", True)
    assert time.monotonic() - started < 60
    checkpoint.close()
