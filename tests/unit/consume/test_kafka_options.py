"""``stream.options``: what is a consumer's, what is refused, in the words of a sink connector."""

from __future__ import annotations

import pytest

from liberator.consume.kafka import kafka_consumer
from liberator.consume.kafka.errors import consume_error, stops
from liberator.consume.kafka.options import for_kafka_python, split
from liberator.errors import ConfigError
from liberator.kafka.errors import KafkaFailure, Key
from liberator.kafka.options import Client


def test_tells_a_consumers_own_options_from_those_of_every_client() -> None:
    common, own = split({"security.protocol": "ssl", "session.timeout.ms": "6000", "client.rack": "a"})
    assert common == {"security.protocol": "ssl"}
    assert own == {"session.timeout.ms": "6000", "client.rack": "a"}


def test_translates_for_kafka_python() -> None:
    own = {"session.timeout.ms": "6000", "max.partition.fetch.bytes": "100", "client.rack": "a"}
    assert for_kafka_python(own) == {
        "session_timeout_ms": 6000,
        "max_partition_fetch_bytes": 100,
        "client_rack": "a",
    }


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group.id", "mine"),
        ("enable.auto.commit", "true"),
        ("isolation.level", "read_uncommitted"),
        ("auto.offset.reset", "latest"),
        ("partition.assignment.strategy", "range"),
        ("bootstrap.servers", "elsewhere:9092"),
        ("no.such.option", "1"),
    ],
)
def test_refuses_what_would_break_a_promise_or_does_not_exist(client: Client, name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        kafka_consumer("kafka://127.0.0.1:9", "shipping", options={name: value}, client=client)
    assert refused.value.code == "consume.option"
    assert "stream.options" in str(refused.value.where)
    assert "publish" not in refused.value.block()


@pytest.mark.parametrize("name", ["session.timeout.ms", "fetch.min.bytes"])
def test_refuses_numbers_that_are_none(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        for_kafka_python({name: "soon"})
    assert refused.value.where == f"stream.options.{name}"


def test_refuses_a_url_that_is_none() -> None:
    with pytest.raises(ConfigError) as refused:
        kafka_consumer("kafka://me@host", "shipping")
    assert refused.value.code == "consume.url"
    assert refused.value.where == "stream.url"


@pytest.mark.parametrize(
    ("key", "code", "retryable"),
    [
        (22, "consume.lost", False),
        (25, "consume.lost", False),
        (27, "consume.rebalancing", True),
        (30, "consume.group_denied", False),
        (26, "consume.session_timeout", False),
        (6, "consume.leader_change", True),
        (3, "consume.unknown_topic", True),
        ("login", "consume.login_failed", False),
        ("unreachable", "consume.unreachable", True),
        ("never heard of", "consume.failed", False),
    ],
)
def test_every_failure_has_its_word(key: Key, code: str, retryable: bool) -> None:
    error = consume_error(KafkaFailure(key), "kafka://b:9092")
    assert (error.code, error.retryable) == (code, retryable)
    assert stops(KafkaFailure(key)) is not retryable
    assert error.where == "kafka://b:9092"
