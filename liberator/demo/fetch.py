"""Downloads that a Kafka needs the first time, in a process of their own: ``python -m liberator.demo.fetch jars|image``.

Enters: one word. Leaves: Kafka's jars in the user's cache, or its image in Docker. Called by `broker`, which sends SIGTERM
when it takes too long; what was half fetched is removed then.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from liberator.testing.servers import kafka_jars
from liberator.testing.servers.kafka import KAFKA_VERSION

IMAGE = f"apache/kafka:{KAFKA_VERSION}"


def image() -> None:
    """Pull the image unless it is there."""
    from testcontainers.core.docker_client import DockerClient

    client = DockerClient().client
    if not client.images.list(name=IMAGE):
        client.images.pull(IMAGE)


def main(what: str) -> None:
    """Fetch `what`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    fetch: dict[str, Callable[[], object]] = {"jars": kafka_jars, "image": image}
    fetch[what]()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:  # on one line: a person gets to see the last one
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split())[:300])
