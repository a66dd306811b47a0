"""A batch function on a stream, beside a bare consumer of the same client in the same run.

    python -m tests.benchmark.functions [VARIANT ...] [--events 600000] [--rounds 5] [--least 0.7]

Both read the same topic of Kafka, in turn; every other round the sink begins. The bare consumer takes batches, counts, and
commits; `liberate run` does all of a sink's work, with a Python function. Both are measured in the same way: from the first
batch behind a sixth of the events to the last one, when their clients and the broker are warm, and with a queue of the same
size in their clients: so neither side is told to be fast for what was fetched before anybody looked. Besides the rate there
is the processor time of an event: of all threads of the process, and of a worker process too. Variants:

    counting       confluent-kafka; the function, in the connector's own process, counts (the default)
    reading        as counting; the function reads every value, and the bare consumer parses it with orjson
    worker         as reading; the function runs in a worker process
    kafka-python   as counting, with kafka-python

With ``--least`` the exit code is 1 when the median ratio of a variant is below it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from liberator.testing.servers import KafkaServer

PARTITIONS = 6
WARM = 6
"""Of so many parts of the events the first one is not measured."""

EACH = {"counting": "message.key(), message.value()", "reading": "orjson.loads(message.value())"}
QUEUE = 16 << 20
"""Bytes that a client has ready at most: what a sink gives it."""

METER = """
import os, time
class Meter:
    # Reads the clocks behind the first events, and at the end: then `result` is (events a second, microseconds each).
    def __init__(self, first, last, processes):
        self.first, self.last, self.processes = first, last, processes
        self.seen, self.began, self.result = 0, None, None
    def add(self, events):
        self.seen += events
        if self.began is None and self.seen >= self.first:
            self.began = self.seen, time.monotonic(), self.processor()
        elif self.result is None and self.seen >= self.last:
            seen, at, used = self.began
            counted = self.seen - seen
            used = max(self.processor() - used, 1 / os.sysconf("SC_CLK_TCK"))  # less than a tick can't be told
            self.result = counted / (time.monotonic() - at), 1e6 * used / counted
    def processor(self):
        ticks = 0
        for process in self.processes:
            with open(f"/proc/{process}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")
"""
BARE = """
import sys
import orjson
from confluent_kafka import Consumer
servers, group, topic, first, last, queue = *sys.argv[1:4], *map(int, sys.argv[4:])
consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "isolation.level": "read_committed",
                     "queued.max.messages.kbytes": queue >> 10})
consumer.subscribe([topic])
meter, due = Meter(first, last, [os.getpid()]), 0.0
while meter.result is None:
    batch = consumer.consume(1000, 1.0)
    for message in batch:
        EACH
    meter.add(len(batch))
    if batch and time.monotonic() >= due:
        due = time.monotonic() + 0.5
        consumer.commit(asynchronous=False)
consumer.close()
print(*meter.result)
"""
BARE_KAFKA_PYTHON = """
import sys
from kafka import KafkaConsumer
servers, group, topic, first, last, queue = *sys.argv[1:4], *map(int, sys.argv[4:])
consumer = KafkaConsumer(topic, bootstrap_servers=servers, group_id=group, auto_offset_reset="earliest",
                         enable_auto_commit=False, isolation_level="read_committed", metrics_enabled=False,
                         fetch_max_bytes=queue)
meter, due = Meter(first, last, [os.getpid()]), 0.0
while meter.result is None:
    batch = [record for records in consumer.poll(1000, max_records=1000).values() for record in records]
    for record in batch:
        record.key, record.value
    meter.add(len(batch))
    if batch and time.monotonic() >= due:
        due = time.monotonic() + 0.5
        consumer.commit()
consumer.close()
print(*meter.result)
"""
FUNCTION = """
from pathlib import Path
meter = Meter({first}, {last}, {processes})
def counting(events, context):
    meter.add(len(events))
    if meter.result is not None:
        (Path(__file__).parent / "result").write_text("%f %f" % meter.result)
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


class Measured(NamedTuple):
    """rate: events a second. processor: microseconds that each takes of processors."""

    rate: float
    processor: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f} events/s, {self.processor:.1f} us each"


def main() -> int:
    """Measure and print; the exit code."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("variants", nargs="*", choices=[[], *VARIANTS], metavar="VARIANT")
    arguments.add_argument("--events", type=int, default=600_000)
    arguments.add_argument("--rounds", type=int, default=5)
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
    """Print what both sides of a variant do; the median of the ratios of their rates."""
    ratios, costs = [], []
    for number in range(rounds):
        measure_bare = partial(bare, servers, topic, events, VARIANTS[name])
        measure_ours = partial(liberate, servers, topic, folder / str(number), events, VARIANTS[name])
        if number % 2:
            ours, plain = measure_ours(), measure_bare()
        else:
            plain, ours = measure_bare(), measure_ours()
        ratios.append(ours.rate / plain.rate)
        costs.append(ours.processor / plain.processor)
        print(f"{name}: bare consumer {plain}; liberate {ours}: {ratios[-1]:.2f}", flush=True)
    print(
        f"{name}: rate of liberate / rate of the bare consumer, median of {rounds}: {median(ratios):.2f}"
        f" ({min(ratios):.2f} to {max(ratios):.2f}); processor time {median(costs):.1f} times"
        f" (load {os.getloadavg()[0]:.1f})",
        flush=True,
    )
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


def bare(servers: str, topic: str, events: int, variant: Variant) -> Measured:
    """The bare consumer."""
    group = f"bare-{uuid.uuid4().hex}"
    numbers = map(str, (events // WARM, events, QUEUE))
    told = _run([sys.executable, "-c", METER + variant.bare, servers, group, topic, *numbers])
    return _measured(told)


def liberate(
    servers: str, topic: str, folder: Path, events: int, variant: Variant, values: str = "json"
) -> Measured:
    """A sink."""
    folder.mkdir(parents=True)
    processes = "[os.getpid()]" if variant.in_process else "[os.getpid(), os.getppid()]"
    numbers = {"{first}": str(events // WARM), "{last}": str(events), "{processes}": processes}
    source = FUNCTION
    for name, number in numbers.items():
        source = source.replace(name, number)
    (folder / "functions.py").write_text(METER + source)
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
    return _measured((folder / "result").read_text())


def _measured(told: str) -> Measured:
    return Measured(*map(float, told.split()))


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout


if __name__ == "__main__":
    sys.exit(main())
