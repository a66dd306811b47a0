"""The Kafka that other tests stand on: starts, restarts, freezes, survives a kill, dies with its parent."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from liberator.testing.servers import Kafka, KafkaServer, ServerError
from liberator.testing.servers.kafka import answers
from liberator.testing.servers.process import alive, wait_until


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    """A broker for the tests of this file, which stop and kill it."""
    with KafkaServer() as running:
        yield running


def make_topic(server: Kafka, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()


def produce(server: Kafka, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=server.bootstrap)
    producer.send(topic, value).get(timeout=120)
    producer.close()


def values(server: Kafka, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=server.bootstrap, auto_offset_reset="earliest")
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    read: list[bytes] = []
    while len(read) < end:
        for records in consumer.poll(timeout_ms=1000).values():
            read += [record.value for record in records]
    consumer.close()
    return read


def test_takes_and_gives_events(kafka: Kafka, unique: str) -> None:
    make_topic(kafka, unique)
    produce(kafka, unique, b"one")
    assert values(kafka, unique) == [b"one"]


def test_keeps_data_and_port_through_a_restart_and_a_kill(broker: KafkaServer, unique: str) -> None:
    make_topic(broker, unique)
    produce(broker, unique, b"one")
    bootstrap = broker.bootstrap
    broker.restart()
    produce(broker, unique, b"two")
    pid = broker.pid
    broker.kill()
    assert not alive(pid)
    broker.start()
    assert broker.bootstrap == bootstrap
    assert values(broker, unique) == [b"one", b"two"]


def test_answers_nothing_while_it_is_paused(broker: KafkaServer) -> None:
    broker.pause()
    assert not answers(broker.port, timeout=0.5)
    broker.resume()
    assert wait_until(lambda: answers(broker.port), timeout=120)


def test_a_paused_broker_can_be_stopped(broker: KafkaServer) -> None:
    broker.pause()
    broker.stop()
    assert not answers(broker.port)
    broker.start()


def test_takes_properties_and_says_why_it_does_not_start() -> None:
    server = KafkaServer(properties={"num.io.threads": -1})
    with pytest.raises(ServerError, match=r"num\.io\.threads"):
        server.start()
    server.close()
    assert not server.folder.exists()


def test_dies_when_its_parent_is_killed() -> None:
    script = (
        "import time\n"
        "from liberator.testing.servers import KafkaServer\n"
        "server = KafkaServer().start()\n"
        "print(server.pid, server.folder, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid, folder = parent.stdout.readline().split()
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not alive(int(pid)), timeout=120)
    shutil.rmtree(folder)
