"""Kafka as a source of events: one consumer, two clients.

Enters: ``stream:`` of a sink connector. Leaves: a `KafkaConsumer`. Called by what wires a connector. `consumer` and
`reading` hold the rules; `confluent` and `kafkapython` speak to their libraries.
"""

from __future__ import annotations

from collections.abc import Mapping

from liberator.consume.kafka.client import GroupClient
from liberator.consume.kafka.consumer import KafkaConsumer
from liberator.consume.kafka.errors import consume_error, option_error
from liberator.consume.kafka.group import KafkaGroup
from liberator.consume.kafka.options import split
from liberator.errors import ConfigError
from liberator.kafka import Client, driver
from liberator.kafka.errors import KafkaFailure
from liberator.protocols import Start

__all__ = ["KafkaConsumer", "KafkaGroup", "kafka_consumer", "kafka_group"]

CONNECT_WITHIN = 10.0
"""Seconds in which a broker must answer at the start."""

_REFRESH_MS = "topic.metadata.refresh.interval.ms"


def kafka_consumer(
    url: str,
    group: str,
    *,
    options: Mapping[str, str] | None = None,
    start: Start = "earliest",
    memory: int = 16 << 20,
    client: Client = "auto",
) -> KafkaConsumer:
    """A member of `group` on ``kafka://host:port[,host:port]``.

    options: librdkafka's names. start: where the group begins in a partition that it has committed nothing of. memory:
    bytes that wait here to be polled, about. Raises `ConfigError` before connecting, `ConsumeError` when no broker answers
    within ten seconds (retryable) or lets us in (not retryable).
    """
    member, refresh = _member(url, group, options, memory, client)
    return KafkaConsumer(member, start, refresh=refresh, where=url)


def kafka_group(
    url: str, group: str, *, options: Mapping[str, str] | None = None, client: Client = "auto"
) -> KafkaGroup:
    """`group` from outside. Raises as `kafka_consumer`."""
    member, _ = _member(url, group, options, 1 << 20, client)
    return KafkaGroup(member, group, url)


def _member(
    url: str, group: str, options: Mapping[str, str] | None, memory: int, client: Client
) -> tuple[GroupClient, float]:
    """A client that may join the group, and the seconds between two looks for new topics."""
    common, own = split({_REFRESH_MS: "5000", **(options or {})})
    try:
        library = driver(url, common, client=client, client_id=f"liberator-{group}")
    except ConfigError as error:
        raise option_error(error) from error
    cluster = library.cluster()
    try:
        cluster.check(CONNECT_WITHIN)
        member = _client(library.name, library.base, own, group, memory)
    except KafkaFailure as failure:
        raise consume_error(failure, url) from failure
    finally:
        cluster.close()
    return member, int(common[_REFRESH_MS]) / 1000


def _client(
    name: str, base: Mapping[str, object], own: Mapping[str, str], group: str, memory: int
) -> GroupClient:
    if name == "confluent":
        from liberator.consume.kafka.confluent import ConfluentGroupClient

        return ConfluentGroupClient(base, own, group, memory)
    from liberator.consume.kafka.kafkapython import KafkaPythonGroupClient

    return KafkaPythonGroupClient(base, own, group, memory)
