"""The rules of publishing to Kafka that need no broker: partitions, sizes, options, verdicts."""

from __future__ import annotations

import importlib.util
from typing import Any

import kafka.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import EncodedBatch
from liberator.errors import ConfigError, PublishError
from liberator.kafka import check_options, errors
from liberator.kafka.errors import KafkaFailure, judge
from liberator.kafka.options import (
    Client,
    bootstrap_servers,
    choose,
    for_confluent,
    for_kafka_python,
    largest_event,
)
from liberator.kafka.partition import murmur2, partition_of
from liberator.kafka.size import fits, record_batch_bytes, too_large
from liberator.letters import diagnostics, shortened
from liberator.publish.kafka.too_large import DeadLetters, divert

# key as hex, then what Kafka 4.4.0's own org.apache.kafka.common.utils.Utils says: murmur2(key), and
# toPositive(murmur2(key)) % 6 and % 12.
JAVA = """
- 275646681 3 9
61 -1563381124 4 4
6162 316155434 2 2
616263 479470107 3 3
61626364 -1323649548 2 8
3231 -973932308 0 0
666f6f626172 -790332482 0 6
612d6c6974746c652d6269742d6c6f6e672d737472696e67 -985981536 2 8
612d6c6974746c652d6269742d6c6f6e6765722d737472696e67 -1486304829 5 11
6c6b6a683233346c68396669756839307932336f697568736166756a6861646f66323239706872396831396838396838 -58897971 5 5
7b226964223a317d -56768732 0 0
7b226964223a393232333337323033363835343737353830377d 1515818023 1 7
7b2261223a22c3bc6ec3afe29883222c2262223a6e756c6c7d -114379493 3 3
e697a5e69cac -700811021 3 3
00 375494588 2 8
ff807f0001 69563401 1 1
"""
VECTORS = [
    (bytes.fromhex(key.strip("-")), int(hashed) & 0xFFFFFFFF, int(of_6), int(of_12))
    for key, hashed, of_6, of_12 in map(str.split, JAVA.strip().splitlines())
]

CLIENTS: list[Client] = ["confluent", "kafka-python"]


@pytest.mark.parametrize(("key", "hashed", "of_6", "of_12"), VECTORS)
def test_hashes_as_java_does(key: bytes, hashed: int, of_6: int, of_12: int) -> None:
    assert murmur2(key) == hashed
    assert (partition_of(key, 6), partition_of(key, 12)) == (of_6, of_12)


@given(st.binary(max_size=40))
def test_hashes_as_kafka_python_does(key: bytes) -> None:
    from kafka.partitioner import murmur2 as reference

    assert murmur2(key) == reference(key)


# Sizes


@given(
    st.none() | st.binary(max_size=300),
    st.none() | st.binary(max_size=20_000),
    st.binary(max_size=200),
    st.none() | st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=70)), max_size=4).map(tuple),
)
def test_knows_the_size_of_a_record_batch_to_the_byte(
    key: bytes | None, value: bytes | None, id: bytes, headers: tuple[tuple[str, bytes], ...] | None
) -> None:
    from kafka.record.default_records import DefaultRecordBatchBuilder

    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    builder.append(0, 1_700_000_000_000, key, value, [("id", id), *(headers or ())])
    assert record_batch_bytes(key, value, id, headers) == len(builder.build())


def batch_with(value: bytes, headers: tuple[tuple[str, bytes], ...] | None = None) -> EncodedBatch:
    batch = EncodedBatch()
    batch.add("orders", b'{"id":1}', b'{"small":1}', b"id/1")
    batch.add("orders", b'{"id":2}', value, b"id/2", headers)
    batch.add("orders", b'{"id":3}', b'{"small":3}', b"id/3")
    return batch


@given(st.integers(0, 3_000), st.integers(1_000, 2_500), st.sampled_from([None, (("h", b"x" * 500),)]))
def test_the_quick_look_never_overlooks_a_large_event(
    size: int, limit: int, headers: tuple[tuple[str, bytes], ...] | None
) -> None:
    batch = batch_with(b"x" * size, headers)
    if fits(batch, limit):
        assert not too_large(batch, lambda topic: limit)


def test_a_too_large_event_becomes_a_dead_letter_in_its_place() -> None:
    batch = batch_with(b"x" * 2_000, (("type", b"created"),))
    diverted = divert(batch, lambda topic: 1_500, DeadLetters("shop.dead-letters", "shop"))
    assert diverted.topics == ["orders", "shop.dead-letters", "orders"]
    assert diverted.keys == batch.keys
    assert diverted.values == [batch.values[0], None, batch.values[2]]
    assert diverted.ids == batch.ids
    headers = dict(diverted.headers[1] or ())
    assert headers["type"] == b"created"
    assert headers["__liberator.value.bytes"] == b"2000"
    assert headers["__connect.errors.topic"] == b"orders"
    assert headers["__connect.errors.connector.name"] == b"shop"
    assert headers["__connect.errors.stage"] == b"KAFKA_PRODUCE"
    assert b"larger than max.message.bytes" in headers["__connect.errors.exception.message"]


def test_a_dead_letter_keeps_its_value_where_there_is_room() -> None:
    batch = batch_with(b"x" * 2_000)
    diverted = divert(batch, {"orders": 1_500, "dead": 5_000}.__getitem__, DeadLetters("dead", "shop"))
    assert diverted.values[1] == b"x" * 2_000
    assert "__liberator.value.bytes" not in dict(diverted.headers[1] or ())


def test_a_dead_letter_gives_up_its_key_and_headers_last() -> None:
    batch = EncodedBatch()
    batch.add("orders", b"k" * 3_000, b"v" * 3_000, b"id/1", (("big", b"h" * 3_000),))
    limits = {"orders": 1_500, "dead": 1_500}
    diverted = divert(batch, limits.__getitem__, DeadLetters("dead", "shop"))
    headers = dict(diverted.headers[0] or ())
    assert (diverted.keys, diverted.values) == ([None], [None])
    assert headers["__liberator.key.bytes"] == b"3000"
    assert "big" not in headers


def test_a_dead_letter_that_is_too_large_itself_stays_the_one_it_is_with_less_to_say() -> None:
    why = diagnostics(
        topic="orders",
        connector="shop",
        stage="s",
        error="e",
        message="m" * 900,
        stacktrace="t" * 900,
        now_ms=5,
    )
    batch = EncodedBatch()
    batch.add("dead", b"k", b"v" * 500, b"id/1", (("type", b"created"), *why))
    diverted = divert(batch, lambda topic: 1_500, DeadLetters("dead", "shop"))
    assert (diverted.topics, diverted.keys, diverted.values) == (["dead"], [b"k"], [b"v" * 500])
    assert diverted.headers == [(("type", b"created"), *shortened(why))]


def test_without_a_dead_letter_topic_a_too_large_event_stops() -> None:
    with pytest.raises(PublishError) as refused:
        divert(batch_with(b"x" * 2_000), lambda topic: 1_500, None)
    assert (refused.value.code, refused.value.retryable) == ("publish.too_large", False)
    assert "xxx" not in refused.value.block()


# Addresses and options


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("kafka://localhost:9092", "localhost:9092"),
        ("kafka://a,b.example.org:9093/", "a:9092,b.example.org:9093"),
        ("kafka://[::1]:9092, 10.0.0.1", "[::1]:9092,10.0.0.1:9092"),
    ],
)
def test_reads_addresses(url: str, servers: str) -> None:
    assert bootstrap_servers(url) == servers


@pytest.mark.parametrize(
    "url",
    [
        "localhost:9092",
        "kafka://",
        "kafka://a:b",
        "kafka://a:99999",
        "kafka://user:secret@a:9092",
        "kafka://a/b",
    ],
)
def test_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        bootstrap_servers(url)
    assert refused.value.code == "publish.url"
    assert "secret" not in refused.value.block()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acks", "1"),
        ("enable.idempotence", "false"),
        ("message.timeout.ms", "1000"),
        ("partitioner", "random"),
        ("max.in.flight", "10"),
        ("bootstrap.servers", "elsewhere:9092"),
        ("linger.ms", "soon"),
        ("batch.size", "large"),
        ("message.max.bytes", "large"),
        ("no.such.option", "1"),
        ("compression.type", "rar"),
    ],
)
def test_refuses_options_that_weaken_a_promise_or_mean_nothing(client: Client, name: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_options("kafka://localhost:9092", {name: value}, client)
    assert refused.value.code == "publish.option"


@pytest.mark.parametrize("client", CLIENTS)
def test_takes_the_options_that_both_clients_know(client: Client) -> None:
    check_options(
        "kafka://localhost:9092",
        {
            "acks": "all",
            "client.id": "shop",
            "compression.type": "lz4",
            "linger.ms": "5",
            "batch.size": "100000",
            "message.max.bytes": "5000000",
            "security.protocol": "sasl_plaintext",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "shop",
            "sasl.password": "secret",
            "reconnect.backoff.max.ms": "2000",
            "max.in.flight": "3",
        },
        client,
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_missing_tls_file_is_found_before_connecting(client: Client) -> None:
    with pytest.raises(ConfigError):
        check_options(
            "kafka://localhost:9092",
            {"security.protocol": "ssl", "ssl.ca.location": "/nowhere/ca.pem"},
            client,
        )


def test_translates_for_kafka_python() -> None:
    options = {
        "security.protocol": "sasl_ssl",
        "sasl.username": "u",
        "ssl.endpoint.identification.algorithm": "none",
        "compression.type": "none",
        "socket.timeout.ms": "7000",
        "acks": "-1",
    }
    assert for_kafka_python(options, producer=True) == {
        "security_protocol": "SASL_SSL",
        "sasl_plain_username": "u",
        "ssl_check_hostname": False,
        "compression_type": None,
        "request_timeout_ms": 7000,
    }
    assert "compression_type" not in for_kafka_python(options, producer=False)


def test_an_option_without_translation_names_the_way_out() -> None:
    with pytest.raises(ConfigError, match="kafka-python has no option like statistics") as refused:
        for_kafka_python({"statistics.interval.ms": "5"}, producer=True)
    assert "confluent-kafka" in str(refused.value.fix)
    assert for_confluent({"statistics.interval.ms": "5"}) == {"statistics.interval.ms": "5"}


def test_the_largest_event_can_only_be_lowered() -> None:
    assert largest_event({}, 1_000) == 1_000
    assert largest_event({"message.max.bytes": "500"}, 1_000) == 500
    assert largest_event({"message.max.bytes": "5000"}, 1_000) == 1_000


def test_prefers_the_fast_client(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("auto") == "confluent"
    assert choose("kafka-python") == "kafka-python"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose("auto") == "kafka-python"
    with pytest.raises(ConfigError, match="not installed"):
        choose("confluent")


# Verdicts


@pytest.mark.parametrize(
    ("key", "action"),
    [
        (3, "create"),
        (6, "wait"),
        (10, "dead_letter"),
        (18, "dead_letter"),
        (19, "wait"),
        (29, "stop"),
        (31, "stop"),
        (45, "wait"),
        (58, "stop"),
        (87, "stop"),
        (90, "stop"),
        ("tls", "stop"),
        ("unreachable", "wait"),
        ("SomethingNew", "stop"),
        (12345, "stop"),
    ],
)
def test_every_error_has_a_verdict(key: errors.Key, action: errors.Action) -> None:
    assert judge(key).action == action


_OF_THE_LIBRARY = {70, 71, 106, 80, 83, 84, 103, 122, 123}
"""Of fetch sessions, share groups and elections: what a library settles by itself, or nobody asks for here."""


def test_what_the_protocol_calls_passing_does_not_stop() -> None:
    """A partition whose new leader does not know its end yet is no reason to end, nor are offsets in an open transaction."""
    kinds: list[Any] = [kind for kind in vars(kafka.errors).values() if isinstance(kind, type)]
    passing = {
        kind.errno
        for kind in kinds
        if issubclass(kind, kafka.errors.BrokerResponseError) and kind.errno and kind.retriable
    }
    assert passing > _OF_THE_LIBRARY
    stopping = {key for key in passing - _OF_THE_LIBRARY if judge(key).action not in ("wait", "create")}
    assert stopping == set()


def test_every_verdict_says_what_to_do() -> None:
    for verdict in errors.TABLE.values():
        assert verdict.code.startswith("publish.")
        assert verdict.fix or verdict.code == "publish.group_denied"


def test_waiting_is_retryable_and_stopping_is_not() -> None:
    assert KafkaFailure("unreachable").publish_error("kafka://a").retryable
    assert not KafkaFailure(29, topic="t").publish_error().retryable
    assert KafkaFailure(29, topic="t").publish_error().where == "topic t"
    assert KafkaFailure("fenced").checkpoint_error().code == "checkpoint.fenced"
