"""A batch function on a stream, beside a bare consumer of the same client in the same run.

    python -m tests.benchmark.functions [--events 300000] [--rounds 3] [--least 0.7]

Both read the same topic of Kafka with confluent-kafka, in turn. The bare consumer takes batches, counts, and commits;
`liberate run` does all of a sink's work, with a Python function in its own process that counts. Rates are those between the
first batch and the last. With ``--least`` the exit code is 1 when the median ratio is below it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from liberator.testing.servers import KafkaServer

PARTITIONS = 6
BARE = """
import sys, time
from confluent_kafka import Consumer
servers, group, topic, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "isolation.level": "read_committed"})
consumer.subscribe([topic])
seen, first, due = 0, None, 0.0
while seen < count:
    batch = consumer.consume(1000, 1.0)
    if batch and first is None:
        first = time.monotonic()
        start = len(batch)
    for message in batch:
        message.key(), message.value()
    seen += len(batch)
    if batch and time.monotonic() >= due:
        due = time.monotonic() + 0.5
        consumer.commit(asynchronous=False)
end = time.monotonic()
consumer.commit(asynchronous=False)
consumer.close()
print((seen - start) / (end - first))
"""
FUNCTION = """
import time
from pathlib import Path
seen, first, start = 0, None, 0
def count(events, context):
    global seen, first, start
    if first is None:
        first, start = time.monotonic(), len(events)
    seen += len(events)
    if seen >= {events}:
        (Path(__file__).parent / "rate").write_text(str((seen - start) / (time.monotonic() - first)))
"""
SINK = """
connector: sink
name: {name}
stream: {{url: "kafka://{servers}", topics: [{topic}], values: {values}}}
trigger: {{batch_size: 1000}}
function: {{python: "counting:count", in_process: true}}
"""


def main() -> int:
    """Measure and print; the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--least", type=float, default=None)
    given = arguments.parse_args()
    with KafkaServer() as kafka, tempfile.TemporaryDirectory() as folder:
        ratio = compare(kafka.bootstrap, Path(folder), given.events, given.rounds)
    return 1 if given.least is not None and ratio < given.least else 0


def compare(servers: str, folder: Path, events: int, rounds: int) -> float:
    """Print the rates of both; the median of their ratios."""
    topic = f"bench_{uuid.uuid4().hex[:8]}"
    fill(servers, topic, events)
    ratios = []
    for number in range(rounds):
        plain = bare(servers, topic, events)
        ours = liberate(servers, topic, folder / str(number), events)
        ratios.append(ours / plain)
        print(f"bare consumer {plain:,.0f} events/s, liberate {ours:,.0f} events/s: {ratios[-1]:.2f}")
    print(f"rate of liberate / rate of the bare consumer, median: {median(ratios):.2f}")
    return median(ratios)


def fill(servers: str, topic: str, events: int) -> None:
    """Rows in Debezium's envelope, of 1,000 keys."""
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50, "compression.type": "lz4"})
    for number in range(events):
        row = {
            "id": number,
            "customer": number % 1000,
            "status": "paid",
            "amount": f"{number}.50",
            "note": "x" * 60,
        }
        value = json.dumps({"before": None, "after": row, "op": "c", "ts_ms": 1_700_000_000_000})
        while True:
            try:
                producer.produce(
                    topic, value, b'{"id":%d}' % (number % 1000), headers=[("id", b"e%d" % number)]
                )
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


def bare(servers: str, topic: str, events: int) -> float:
    """Events a second of the bare consumer."""
    return float(_run([sys.executable, "-c", BARE, servers, f"bare-{uuid.uuid4().hex}", topic, str(events)]))


def liberate(servers: str, topic: str, folder: Path, events: int, values: str = "json") -> float:
    """Events a second of a sink."""
    folder.mkdir(parents=True)
    (folder / "counting.py").write_text(FUNCTION.replace("{events}", str(events)))
    sink = folder / "sink.yaml"
    sink.write_text(SINK.format(name=f"sink-{uuid.uuid4().hex}", servers=servers, topic=topic, values=values))
    _run([sys.executable, "-m", "liberator", "run", str(sink), "--once", "--log-level", "warning"])
    return float((folder / "rate").read_text())


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout


if __name__ == "__main__":
    sys.exit(main())
