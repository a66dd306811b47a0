"""The stands of the tests: one suite for the local log and for Kafka with each of the two clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.deadletter.stands import KafkaStand, LocalStand, Stand


@pytest.fixture(params=["local", "confluent", "kafka-python"])
def stand(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Iterator[Stand]:
    """Empty topics, in each technology in turn."""
    made: Stand
    if request.param == "local":
        made = LocalStand(tmp_path, unique)
    else:
        made = KafkaStand(request.getfixturevalue("kafka").bootstrap, request.param, unique)
    yield made
    made.close()
