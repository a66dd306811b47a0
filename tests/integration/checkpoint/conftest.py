"""A broker of their own for tests that freeze and restart it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liberator.testing.servers import KafkaServer


@pytest.fixture(scope="package")
def broker() -> Iterator[KafkaServer]:
    """A Kafka that may be frozen and restarted, and that looks often for transactions that were left open."""
    with KafkaServer(
        properties={"transaction.abort.timed.out.transaction.cleanup.interval.ms": 200}
    ) as server:
        yield server
