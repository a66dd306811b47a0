"""What confluent-kafka's client is asked about topics, and when it is given up for a new one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from liberator.kafka.confluent import ConfluentCluster
from liberator.kafka.errors import KafkaFailure


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int | None]]:
    """What clients answer about a topic, each of them always the same: its number of partitions, or None when it waits for a
    broker that is gone. The first is that of the first client."""
    given: list[int | None] = []

    def make(*_: object, **__: object) -> Any:
        mine = given.pop(0)

        def describe(*_: object, **__: object) -> dict[str, Future[Any]]:
            future: Future[Any] = Future()
            if mine is None:
                reason = "Timed out waiting for controller"
                future.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT, reason)))
            else:
                future.set_result(SimpleNamespace(partitions=[None] * mine))
            return {"t": future}

        return SimpleNamespace(describe_topics=describe)

    monkeypatch.setattr("liberator.kafka.confluent.AdminClient", make)
    yield given
    assert given == [], "every client was asked for"


def test_a_client_that_knows_no_living_controller_is_replaced(answers: list[int | None]) -> None:
    """It hears of another one only when it asks for all metadata again, minutes later."""
    answers += [None, 6]
    cluster = ConfluentCluster({})
    with pytest.raises(KafkaFailure, match="controller"):
        cluster.describe(["t"])
    assert cluster.describe(["t"]) == {"t": 6}
    assert cluster.describe(["t"]) == {"t": 6}, "the one that answers is kept"
