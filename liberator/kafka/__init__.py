"""What only Kafka knows: two client libraries behind one protocol, their options, errors and limits.

Enters: a cluster's address and librdkafka's options. Leaves: a `Driver`. Called by everything that speaks to Kafka:
`publish`, `checkpoint`, `consume`. `confluent` and `kafkapython` speak to their libraries; `errors`, `options`, `topics`,
`partition` and `size` hold one concern each. Never decides what is published, saved or committed.
"""

from __future__ import annotations

from collections.abc import Mapping

from liberator.kafka.client import Driver, TopicSettings
from liberator.kafka.options import Client, bootstrap_servers, choose

__all__ = ["Client", "Driver", "TopicSettings", "check_options", "driver"]


def driver(url: str, options: Mapping[str, str], *, client: Client, client_id: str) -> Driver:
    """The chosen client with address and options. Raises `ConfigError`; connects to nothing."""
    servers = bootstrap_servers(url)
    if choose(client) == "confluent":
        from liberator.kafka.confluent import ConfluentDriver

        return ConfluentDriver(servers, options, client_id)
    from liberator.kafka.kafkapython import KafkaPythonDriver

    return KafkaPythonDriver(servers, options, client_id)


def check_options(url: str, options: Mapping[str, str], client: Client = "auto") -> None:
    """Would the client take this URL and these options? Raises `ConfigError`; connects to nothing."""
    driver(url, options, client=client, client_id="liberator")
