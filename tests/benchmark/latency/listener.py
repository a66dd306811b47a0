"""A process that notes when a consumer got each event: ``python -m tests.benchmark.latency.listener BOOTSTRAP TOPIC COUNT``.

Enters: a topic, and how many rows to wait for. Leaves: on standard output "ready" when it listens, then a line of JSON for
each event: ``[id, microseconds of its commit, microseconds when it was got]``. Both clocks are this machine's. It reads what
is committed only, which changes nothing where there are no transactions.
"""

from __future__ import annotations

import sys
import time

import orjson
from confluent_kafka import Consumer, TopicPartition

from tests.benchmark.topic import PARTITIONS

_SETTINGS = {
    "group.id": "listener",
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "socket.nagle.disable": True,
    "log_level": 3,
}
_PATIENCE = 120.0


def main(bootstrap: str, topic: str, count: str) -> None:
    """Listen until every row was seen, or nothing comes for two minutes."""
    consumer = Consumer({"bootstrap.servers": bootstrap, **_SETTINGS})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    consumer.poll(0.5)
    print("ready", flush=True)
    got: list[tuple[bytes, int]] = []
    heard = time.monotonic()
    while len(got) < int(count) and time.monotonic() < heard + _PATIENCE:
        record = consumer.poll(1.0)
        now = time.time_ns() // 1000
        if record is None or record.error() or (value := record.value()) is None:
            continue
        heard = time.monotonic()
        got.append((value, now))
    consumer.close()
    for value, at in got:
        event = orjson.loads(value)
        print(f"[{event['after']['id']},{event['source']['ts_us']},{at}]")


if __name__ == "__main__":
    main(*sys.argv[1:])
