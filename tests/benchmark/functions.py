"""A batch function on a stream, beside a bare consumer of the same client in the same run.

    python -m tests.benchmark.functions [VARIANT ...] [--events 300000] [--rounds 3] [--least 0.7]

Both read the same topic of Kafka, in turn. The bare consumer takes batches, counts, and commits; `liberate run` does all of
a sink's work, with a Python function. Rates are those between the first batch and the last. Variants:

    counting       confluent-kafka; the function, in the connector's own process, counts (the default)
    reading        as counting; the function reads every value, and the bare consumer parses it with orjson
    worker         as reading; the function runs in a worker process
    kafka-python   as counting, with kafka-python

With ``--least`` the exit code is 1 when the median ratio of a variant is below it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from liberator.testing.servers import KafkaServer

PARTITIONS = 6
EACH = {"counting": "message.key(), message.value()", "reading": "orjson.loads(message.value())"}
BARE = """
import sys, time
import orjson
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
        EACH
    seen += len(batch)
    if batch and time.monotonic() >= due:
        due = time.monotonic() + 0.5
        consumer.commit(asynchronous=False)
end = time.monotonic()
consumer.close()
print((seen - start) / (end - first))
"""
BARE_KAFKA_PYTHON = """
import sys, time
from kafka import KafkaConsumer
servers, group, topic, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
consumer = KafkaConsumer(topic, bootstrap_servers=servers, group_id=group, auto_offset_reset="earliest",
                         enable_auto_commit=False, isolation_level="read_committed", metrics_enabled=False)
seen, first, due = 0, None, 0.0
while seen < count:
    batch = [record for records in consumer.poll(1000, max_records=1000).values() for record in records]
    if batch and first is None:
        first = time.monotonic()
        start = len(batch)
    for record in batch:
        record.key, record.value
    seen += len(batch)
    if batch and time.monotonic() >= due:
        due = time.monotonic() + 0.5
        consumer.commit()
end = time.monotonic()
consumer.close()
print((seen - start) / (end - first))
"""
FUNCTION = """
import time
from pathlib import Path
seen, first, start = 0, None, 0
def counting(events, context):
    global seen, first, start
    if first is None:
        first, start = time.monotonic(), len(events)
    seen += len(events)
    if seen >= {events}:
        (Path(__file__).parent / "rate").write_text(str((seen - start) / (time.monotonic() - first)))
def reading(events, context):
    counting([event.value for event in events], context)
"""
SINK = """
connector: sink
name: {name}
stream: {{url: "kafka://{servers}", topics: [{topic}], values: {values}}}
trigger: {{batch_size: 1000}}
function: {{python: "functions:{function}", in_process: {in_process}}}
scale: {{workers: {{max: 1}}}}
"""
LIBERATE = "from liberator.cli import main; main()"
WITHOUT_CONFLUENT = f"import sys; sys.modules['confluent_kafka'] = None; {LIBERATE}"


@dataclass(frozen=True)
class Variant:
    """function: which one of `FUNCTION`. bare: the program to compare with. program: what runs the sink."""

    bare: str
    function: str = "counting"
    in_process: bool = True
    program: str = LIBERATE


VARIANTS = {
    "counting": Variant(BARE.replace("EACH", EACH["counting"])),
    "reading": Variant(BARE.replace("EACH", EACH["reading"]), "reading"),
    "worker": Variant(BARE.replace("EACH", EACH["reading"]), "reading", in_process=False),
    "kafka-python": Variant(BARE_KAFKA_PYTHON, program=WITHOUT_CONFLUENT),
}


def main() -> int:
    """Measure and print; the exit code."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("variants", nargs="*", choices=[[], *VARIANTS], metavar="VARIANT")
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--least", type=float, default=None)
    given = arguments.parse_args()
    with KafkaServer() as kafka, tempfile.TemporaryDirectory() as folder:
        topic = f"bench_{uuid.uuid4().hex[:8]}"
        fill(kafka.bootstrap, topic, given.events)
        ratios = [
            compare(kafka.bootstrap, topic, Path(folder) / name, name, given.events, given.rounds)
            for name in given.variants or ["counting"]
        ]
    return 1 if given.least is not None and min(ratios) < given.least else 0


def compare(servers: str, topic: str, folder: Path, name: str, events: int, rounds: int) -> float:
    """Print the rates of both sides of a variant; the median of their ratios."""
    ratios = []
    for number in range(rounds):
        plain = bare(servers, topic, events, VARIANTS[name])
        ours = liberate(servers, topic, folder / str(number), events, VARIANTS[name])
        ratios.append(ours / plain)
        print(f"{name}: bare consumer {plain:,.0f} events/s, liberate {ours:,.0f} events/s: {ratios[-1]:.2f}")
    print(f"{name}: rate of liberate / rate of the bare consumer, median: {median(ratios):.2f}", flush=True)
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


def bare(servers: str, topic: str, events: int, variant: Variant) -> float:
    """Events a second of the bare consumer."""
    group = f"bare-{uuid.uuid4().hex}"
    return float(_run([sys.executable, "-c", variant.bare, servers, group, topic, str(events)]))


def liberate(
    servers: str, topic: str, folder: Path, events: int, variant: Variant, values: str = "json"
) -> float:
    """Events a second of a sink."""
    folder.mkdir(parents=True)
    (folder / "functions.py").write_text(FUNCTION.replace("{events}", str(events)))
    sink = folder / "sink.yaml"
    text = SINK.format(
        name=f"sink-{uuid.uuid4().hex}",
        servers=servers,
        topic=topic,
        values=values,
        function=variant.function,
        in_process=str(variant.in_process).lower(),
    )
    sink.write_text(text)
    _run([sys.executable, "-c", variant.program, "run", str(sink), "--once", "--log-level", "warning"])
    return float((folder / "rate").read_text())


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout


if __name__ == "__main__":
    sys.exit(main())
