"""What a transaction that can't be committed is told to have failed of, with librdkafka's client played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from liberator.kafka.confluent import ConfluentTransactions
from liberator.kafka.errors import KafkaFailure


class Client:
    """Commits nothing, because events failed; `report` is what the next poll tells."""

    def __init__(self) -> None:
        self.report: Callable[[], None] | None = None

    def init_transactions(self, timeout: float) -> None:
        """Nobody is there."""

    def commit_transaction(self, timeout: float) -> None:
        raise KafkaException(KafkaError(KafkaError._INCONSISTENT))

    def poll(self, timeout: float) -> None:
        if self.report is not None:
            self.report()


class Message:
    """One that failed."""

    def topic(self) -> str:
        return "shop.orders"

    def key(self) -> bytes:
        return b"1"

    value = key


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()
    monkeypatch.setattr("liberator.kafka.confluent.library", lambda kind, settings: made)
    return made


def begun() -> tuple[ConfluentTransactions, Callable[[], KafkaFailure]]:
    transactions = ConfluentTransactions({"batch.size": "1000"}, lambda topic: 1, 1.0)

    def commit() -> KafkaFailure:
        with pytest.raises(KafkaFailure) as caught:
            transactions.commit(1.0)
        return caught.value

    return transactions, commit


def test_events_that_failed_in_it_are_sent_again(client: Client) -> None:
    _, commit = begun()
    assert commit().publish_error().retryable


def test_a_reason_that_an_event_has_counts_more(client: Client) -> None:
    transactions, commit = begun()
    refused: Any = transactions._refused
    client.report = lambda: refused(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), Message())
    failure = commit()
    assert (failure.key, failure.topic) == (KafkaError.TOPIC_AUTHORIZATION_FAILED, "shop.orders")
    assert failure.verdict.action == "stop"
