"""Kafka as a destination: one publisher, two clients.

Enters: ``publish:`` of a source connector. Leaves: a `KafkaPublisher` that is connected. Called by what wires
a connector. `publisher` holds the rules; `confluent` and `kafkapython` speak to their libraries; `errors`,
`options`, `topics` and `size` hold one concern each.
"""

from __future__ import annotations

from collections.abc import Mapping

from liberator.publish.kafka.client import Driver, TopicSettings
from liberator.publish.kafka.errors import KafkaFailure
from liberator.publish.kafka.options import Client, bootstrap_servers, choose
from liberator.publish.kafka.publisher import KafkaPublisher
from liberator.publish.kafka.size import DeadLetters
from liberator.publish.kafka.topics import Topics

__all__ = ["Client", "KafkaPublisher", "TopicSettings", "check_options", "driver", "kafka_publisher"]

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


def driver(url: str, options: Mapping[str, str], *, client: Client, client_id: str) -> Driver:
    """The chosen client with address and options. Raises `ConfigError`; connects to nothing."""
    servers = bootstrap_servers(url)
    if choose(client) == "confluent":
        from liberator.publish.kafka.confluent import ConfluentDriver

        return ConfluentDriver(servers, options, client_id)
    from liberator.publish.kafka.kafkapython import KafkaPythonDriver

    return KafkaPythonDriver(servers, options, client_id)


def check_options(url: str, options: Mapping[str, str], client: Client = "auto") -> None:
    """Would the client take this URL and these options? Raises `ConfigError`; connects to nothing."""
    driver(url, options, client=client, client_id="liberator")
