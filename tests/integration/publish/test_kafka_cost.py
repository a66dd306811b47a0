"""What publishing costs beside a bare loop over the client's own `produce`, in the same run on the same broker."""

from __future__ import annotations

import time

from confluent_kafka import Producer

from liberator.change import EncodedBatch
from liberator.kafka import TopicSettings
from liberator.publish.kafka import kafka_publisher
from liberator.testing.servers import KafkaServer

EVENTS = 60_000
BATCH = 1_000
ROUNDS = 12
"""At most: on a quiet machine the first will do, on a busy one each has its own noise."""

LEAST_RATIO = 0.7
"""Measured: 0.9 and more on a quiet machine."""

VALUE = b'{"before":null,"after":{' + b'"column":12345,' * 18 + b'"last":1},"op":"c"}'


def batches(topic: str) -> list[EncodedBatch]:
    made = []
    for start in range(0, EVENTS, BATCH):
        batch = EncodedBatch()
        for number in range(start, start + BATCH):
            batch.add(topic, b'{"id":%d}' % number, VALUE, b"7391023423423/shop/1A2B3C4/%d" % number)
        made.append(batch)
    return made


def cost_of_a_bare_loop(bootstrap: str, work: list[EncodedBatch]) -> float:
    """CPU seconds of this process, the client's threads included."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 0.5,
            "queue.buffering.max.messages": 0,
        }
    )
    started = time.process_time()
    for batch in work:
        for topic, key, value, id in zip(batch.topics, batch.keys, batch.values, batch.ids, strict=True):
            producer.produce(topic, value, key, headers=[("id", id)])
        producer.poll(0)
    assert producer.flush(60) == 0
    return time.process_time() - started


def cost_of_publishing(bootstrap: str, work: list[EncodedBatch]) -> float:
    publisher = kafka_publisher(
        f"kafka://{bootstrap}",
        options={},
        create_topics=TopicSettings(),
        memory=256 << 20,
        client="confluent",
        name="cost",
        dead_letter_topic="cost.dead-letters",
    )
    started = time.process_time()
    for number, batch in enumerate(work):
        assert publisher.ready(60)
        publisher.publish(batch, {"slot": b"%d" % number})
        publisher.durable()
    assert publisher.flush(60)
    took = time.process_time() - started
    publisher.close()
    return took


def test_publishing_costs_little_more_than_a_bare_loop(broker: KafkaServer, unique: str) -> None:
    work = batches(unique)
    cost_of_publishing(broker.bootstrap, work[:2])  # makes the topic, warms everything up
    bare = publishing = float("inf")
    for _ in range(ROUNDS):
        bare = min(bare, cost_of_a_bare_loop(broker.bootstrap, work))
        publishing = min(publishing, cost_of_publishing(broker.bootstrap, work))
        if bare / publishing >= LEAST_RATIO:
            break
    print(f"CPU µs an event: bare {bare / EVENTS * 1e6:.2f}, published {publishing / EVENTS * 1e6:.2f}")
    assert bare / publishing >= LEAST_RATIO
