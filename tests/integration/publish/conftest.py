"""A broker of their own for tests that freeze and restart it, and a reader of topics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liberator.testing.servers import KafkaServer


@pytest.fixture(scope="package")
def broker() -> Iterator[KafkaServer]:
    """A Kafka that may be frozen and restarted, and that would make topics by accident if we let it."""
    with KafkaServer(properties={"auto.create.topics.enable": "true"}) as server:
        yield server
