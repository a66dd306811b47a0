"""Kafka as a destination: one publisher, two clients.

Enters: ``publish:`` of a source connector. Leaves: a `KafkaPublisher` that is connected. Called by what wires
a connector. `publisher` holds the rules; the clients are in `liberator.kafka`.
"""

from __future__ import annotations

from collections.abc import Mapping

from liberator.kafka import Client, driver
from liberator.kafka.client import TopicSettings
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.topics import Topics
from liberator.publish.kafka.publisher import KafkaPublisher
from liberator.publish.kafka.too_large import DeadLetters

__all__ = ["KafkaPublisher", "kafka_publisher"]

CONNECT_WITHIN = 10.0
"""Seconds in which a broker must answer at the start."""


def kafka_publisher(
    url: str,
    *,
    options: Mapping[str, str],
    create_topics: TopicSettings | None,
    memory: int,
    client: Client = "auto",
    name: str,
    dead_letter_topic: str | None = None,
) -> KafkaPublisher:
    """Connect to ``kafka://host:port[,host:port]`` and stand ready to publish.

    options: librdkafka's names. create_topics: how missing topics are made; None: they are refused. memory:
    bytes for what is not yet acknowledged. name: the connector's. dead_letter_topic: for events that are too
    large for their topic; None: they stop the connector. Raises `ConfigError` before connecting,
    `PublishError` when no broker answers within ten seconds (retryable) or lets us in (not retryable).
    """
    library = driver(url, options, client=client, client_id=f"liberator-{name}")
    cluster = library.cluster()
    dead_letters = DeadLetters(dead_letter_topic, name) if dead_letter_topic else None
    try:
        cluster.check(CONNECT_WITHIN)
        topics = Topics(cluster, create_topics, dead_letter_topic)
        return KafkaPublisher(library, cluster, topics, memory, dead_letters)
    except KafkaFailure as failure:
        cluster.close()
        raise failure.publish_error(where=url) from failure
