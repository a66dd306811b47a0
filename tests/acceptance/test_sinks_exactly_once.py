"""`output.delivery: exactly_once`: each result is seen once by readers of committed events, whatever is killed when."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from liberator.testing.servers import Kafka
from tests.acceptance.sink import PATIENCE, KafkaBroker, Record, Sink, numbered

PARTITIONS, KEYS = 3, 12


@pytest.fixture(params=["confluent-kafka", "kafka-python"])
def sink(request: pytest.FixtureRequest, make_sink: Callable[..., Sink], kafka: Kafka) -> Sink:
    return make_sink(KafkaBroker(kafka.bootstrap), kafka_python=request.param == "kafka-python")


def committed_records(bootstrap: str, topic: str) -> list[Record]:
    """What a reader of committed events finds in a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "onlooker",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        known = consumer.list_topics(timeout=30).topics.get(topic)
        places = [TopicPartition(topic, number, 0) for number in (known.partitions if known else ())]
        consumer.assign(places)
        found: list[Record] = []
        ended, end = 0, time.monotonic() + PATIENCE
        while ended < len(places):
            assert time.monotonic() < end, f"{len(found)} records, and no end of {topic}"
            for message in consumer.consume(1_000, 0.5):
                error = message.error()
                if error is None:
                    headers: Any = message.headers() or ()
                    found.append(Record(message.key(), message.value(), tuple(headers)))
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended += 1
        return found
    finally:
        consumer.close()


def append(sink: Sink, topic: str, first: int, end: int) -> None:
    for partition in range(PARTITIONS):
        sink.broker.append(topic, numbered(range(first + partition, end, PARTITIONS), KEYS), partition)


def test_each_result_is_published_once_though_the_sink_is_killed_again_and_again(
    sink: Sink, kafka: Kafka, unique: str
) -> None:
    count = 480
    sink.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 7, batch_window: 5ms}}
        function: {{python: "functions:double", in_process: true}}
        scale: {{workers: {{max: 3}}}}
        output: {{topic: {unique}.doubled, delivery: exactly_once}}
        """,
        """
        def double(events, context):
            time.sleep(0.01)
            note(events, context)
            return {"outputs": [{"n": 2 * event.value["n"]} for event in events]}
        """,
    )
    sink.broker.create(unique, PARTITIONS)
    append(sink, unique, 0, count)
    sink.broker.append(unique, [Record(b'"k0"', b"no JSON", (("id", b"poison"),))])
    for part in (count // 5, 2 * count // 5, 3 * count // 5):
        process = sink.launch()
        sink.wait_for(lambda enough=part: len(sink.given()) >= enough, "the next events")  # type: ignore[misc]
        process.kill()
        process.wait()
    sink.run("--once")
    published = committed_records(kafka.bootstrap, f"{unique}.doubled")
    assert Counter(record.value for record in published) == {b'{"n":%d}' % (2 * n): 1 for n in range(count)}
    assert [
        record.header("id") for record in committed_records(kafka.bootstrap, f"{sink.name}.dead-letters")
    ] == ["poison"]
    assert len(sink.given()) >= count


def test_results_and_offsets_move_on_through_members_that_come_and_go(
    sink: Sink, kafka: Kafka, unique: str
) -> None:
    sink.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 5, batch_window: 5ms}}
        function: {{python: "functions:same", in_process: true}}
        output: {{topic: {unique}.same, delivery: exactly_once}}
        """,
        """
        def same(events, context):
            time.sleep(0.02)
            note(events, context)
            for event in events:
                context.publish(event.value, key=event.key)
        """,
    )
    sink.broker.create(unique, PARTITIONS)
    count = 0

    def had_a_turn() -> bool:
        """Both members; there is always something to do until then."""
        nonlocal count
        if len({value["n"] for value in sink.given()}) > count - 60:
            append(sink, unique, count, count + 60)
            count += 60
        return {first.pid, second.pid} <= {call["pid"] for call in sink.calls()}

    first = sink.launch()
    second = sink.launch()
    sink.wait_for(had_a_turn, "a turn of each")
    sink.stop(first)
    sink.wait_for(lambda: len({value["n"] for value in sink.given()}) == count, "the last event")
    sink.stop(second)
    by_key: dict[bytes | None, list[int]] = defaultdict(list)
    for record in committed_records(kafka.bootstrap, f"{unique}.same"):
        by_key[record.key].append(int((record.value or b"")[5:-1]))
    assert sorted(n for numbers in by_key.values() for n in numbers) == list(range(count))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
