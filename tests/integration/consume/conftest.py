"""A broker of their own for tests that stop it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liberator.testing.servers import KafkaServer


@pytest.fixture(scope="package")
def broker() -> Iterator[KafkaServer]:
    """A Kafka that may be stopped and started."""
    with KafkaServer() as server:
        yield server
