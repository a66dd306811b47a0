"""Kafka as a destination: three deliveries, two clients.

Enters: ``publish:`` of a source connector, ``output:`` of a sink. Leaves: a publisher that is connected. Called by what
wires a connector. `publisher` holds the rules for at least once, `transactional` those for exactly once, `with_offsets`
those for exactly once behind a stream; the clients are in `liberator.kafka`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from liberator.change import TopicPartition
from liberator.kafka import Client, driver
from liberator.kafka.client import Cluster, Driver, TopicSettings
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.topics import Topics
from liberator.publish.kafka.preparing import Lessons, Preparing
from liberator.publish.kafka.publisher import KafkaPublisher
from liberator.publish.kafka.too_large import DeadLetters
from liberator.publish.kafka.transactional import Positions, TransactionalPublisher
from liberator.publish.kafka.with_offsets import OffsetsPublisher

__all__ = [
    "KafkaPublisher",
    "Lessons",
    "OffsetsPublisher",
    "TransactionalPublisher",
    "kafka_publisher",
    "results_publisher",
    "transactional_publisher",
]

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
    """Connect to ``kafka://host:port[,host:port]`` and stand ready to publish at least once.

    options: librdkafka's names. create_topics: how missing topics are made; None: they are refused. memory:
    bytes for what is not yet acknowledged. name: the connector's. dead_letter_topic: for events that are too
    large for their topic; None: they stop the connector. Raises `ConfigError` before connecting,
    `PublishError` when no broker answers within ten seconds (retryable) or lets us in (not retryable).
    """
    library = driver(url, options, client=client, client_id=f"liberator-{name}")
    cluster = _connected(library, url)
    topics = Topics(cluster, create_topics, dead_letter_topic)
    try:
        return KafkaPublisher(library, cluster, topics, memory, _dead_letters(dead_letter_topic, name))
    except KafkaFailure as failure:
        cluster.close()
        raise failure.publish_error(where=url) from failure


def transactional_publisher(
    url: str,
    *,
    options: Mapping[str, str],
    create_topics: TopicSettings | None,
    memory: int,
    client: Client = "auto",
    name: str,
    dead_letter_topic: str | None = None,
    positions: Positions,
    lessons: Lessons | None = None,
) -> TransactionalPublisher:
    """As `kafka_publisher`, for exactly once. positions: where states are kept, in the same cluster. lessons: what brokers
    taught this connector's earlier publishers."""
    library = driver(url, options, client=client, client_id=f"liberator-{name}")
    cluster = _connected(library, url)
    topics = Topics(cluster, create_topics, dead_letter_topic)
    preparing = Preparing(
        topics, library.largest, _dead_letters(dead_letter_topic, name), lessons or Lessons()
    )
    return TransactionalPublisher(library, cluster, preparing, positions, memory)


def results_publisher(
    url: str,
    *,
    options: Mapping[str, str],
    create_topics: TopicSettings | None,
    client: Client = "auto",
    name: str,
    dead_letter_topic: str,
    member: Callable[[], object],
    committed: Callable[[Mapping[TopicPartition, int]], None],
    lessons: Lessons,
) -> OffsetsPublisher:
    """As `kafka_publisher`, for what came of events of the same cluster, with their offsets. member, committed: see
    `OffsetsPublisher`."""
    library = driver(url, options, client=client, client_id=f"liberator-{name}")
    cluster = _connected(library, url)
    topics = Topics(cluster, create_topics, dead_letter_topic)
    preparing = Preparing(topics, library.largest, _dead_letters(dead_letter_topic, name), lessons)
    return OffsetsPublisher(library, cluster, preparing, name, member, committed)


def _connected(library: Driver, url: str) -> Cluster:
    cluster = library.cluster()
    try:
        cluster.check(CONNECT_WITHIN)
    except KafkaFailure as failure:
        cluster.close()
        raise failure.publish_error(where=url) from failure
    return cluster


def _dead_letters(topic: str | None, name: str) -> DeadLetters | None:
    return DeadLetters(topic, name) if topic else None
