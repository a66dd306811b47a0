"""What a test wants to see and set in Kafka, past the code under test."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from liberator.testing.publisher import Published


def read(bootstrap: str, topic: str) -> list[Published]:
    """Every event of a topic, those of a partition in their order; nothing for a topic that does not exist."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 5,
        }
    )
    try:
        partitions = partitions_of(bootstrap, topic)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        events = []
        while partitions:
            message = consumer.poll(30)
            assert message is not None, "the broker does not answer"
            error = message.error()
            if error is None:
                events.append(_published(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                partitions -= 1
        return events
    finally:
        consumer.close()


def _published(message: Message) -> Published:
    headers = message.headers() or []
    assert isinstance(headers, list)
    topic, partition = message.topic(), message.partition()
    assert topic is not None
    assert partition is not None
    return Published(
        topic,
        message.key(),
        message.value(),
        {name: value for name, value in headers if isinstance(value, bytes)},
        partition,
        message.timestamp()[1],
    )


def partitions_of(bootstrap: str, topic: str) -> int:
    """How many partitions a topic has; 0: it does not exist."""
    known = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=120).topics
    return len(known[topic].partitions) if topic in known else 0


def create(bootstrap: str, topic: str, partitions: int = 1, **config: str) -> None:
    """Make a topic; settings with _ for the dots."""
    settings = {name.replace("_", "."): value for name, value in config.items()}
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(120)
    _await_partitions(bootstrap, topic, partitions)


def delete(bootstrap: str, topic: str) -> None:
    """Delete a topic."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([topic])[topic].result(120)
    _await_partitions(bootstrap, topic, 0)


def _await_partitions(bootstrap: str, topic: str, count: int) -> None:
    """The controller has answered; the broker hears of it a moment later."""
    deadline = time.monotonic() + 120
    while partitions_of(bootstrap, topic) != count:
        assert time.monotonic() < deadline, "the broker does not hear of it"
        time.sleep(0.02)


def settings_of(bootstrap: str, topic: str) -> dict[str, str]:
    """A topic's settings."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})  # must live as long as what it has promised
    return {
        name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(120).items()
    }


def alter(bootstrap: str, topic: str, name: str, value: str) -> None:
    """Set one of a topic's settings."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.incremental_alter_configs([resource])[resource].result(120)
