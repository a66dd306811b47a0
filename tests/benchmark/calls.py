"""What an HTTP function adds to the way of an event: `liberate run` beside a bare consumer with urllib3, in the same run.

    python -m tests.benchmark.calls [--rate 1000] [--seconds 20] [--most 0.005]

Events are produced to Kafka at a steady rate, each with the time at which it was. A local server takes the requests of
either side, in turn, and looks how long each event was on its way. The bare side polls with confluent-kafka and posts with
urllib3 from as many threads. With ``--most`` the exit code is 1 when the sink's median is more than so many seconds above
that of the bare side.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from liberator.testing.servers import KafkaServer

PARTITIONS = 6
KEYS = 1_000
CALLERS = 8
PATIENCE = 60.0

SERVER = """
import asyncio, sys, time
took = open(sys.argv[1], "a", buffering=1)
class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""
    def data_received(self, data):
        now = time.monotonic_ns()
        self.data += data
        head, found, body = self.data.partition(b"\\r\\n\\r\\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
        if len(body) >= length:
            self.data = body[length:]
            took.write("%d\\n" % (now - int(body[:length].split(b":")[1].rstrip(b"}"))))
            self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
BARE = """
import sys
from concurrent.futures import ThreadPoolExecutor
import urllib3
from confluent_kafka import Consumer
servers, topic, url, callers = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
pool = urllib3.PoolManager(maxsize=callers, block=True, retries=False)
consumer = Consumer({"bootstrap.servers": servers, "group.id": topic + ".bare", "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "isolation.level": "read_committed"})
consumer.subscribe([topic])
def call(message):
    pool.request("POST", url, body=message.value(), headers={"content-type": "application/json"})
with ThreadPoolExecutor(callers) as threads:
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            threads.submit(call, message)
"""
SINK = """
connector: sink
name: {topic}.sink
stream: {{url: "kafka://{servers}", topics: [{topic}]}}
function: {{http: {{url: "{url}", allow_private: true}}}}
scale: {{workers: {{max: {callers}}}}}
"""


@dataclass(frozen=True)
class Took:
    """Seconds that events were on their way, in ascending order."""

    seconds: Sequence[float]

    def quantile(self, share: float) -> float:
        """Within which this share had arrived."""
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]

    def __str__(self) -> str:
        return ", ".join(
            f"p{100 * share:g} {1000 * self.quantile(share):.2f} ms" for share in (0.5, 0.9, 0.99)
        )


def main() -> int:
    """Measure and print; the exit code."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rate", type=int, default=1_000, help="events a second")
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--most", type=float, default=None, help="seconds")
    given = arguments.parse_args()
    with KafkaServer() as kafka, tempfile.TemporaryDirectory() as folder:
        bare, ours = compare(kafka.bootstrap, Path(folder), given.rate, given.seconds)
    return 1 if given.most is not None and ours.quantile(0.5) - bare.quantile(0.5) > given.most else 0


def compare(servers: str, folder: Path, rate: int, seconds: float) -> tuple[Took, Took]:
    """Print how long events took on both ways; both."""
    bare = measure(servers, folder, rate, seconds, liberate=False)
    print(f"bare consumer with urllib3: {bare}", flush=True)
    ours = measure(servers, folder, rate, seconds, liberate=True)
    print(f"liberate:                   {ours}")
    added = [1000 * (ours.quantile(share) - bare.quantile(share)) for share in (0.5, 0.99)]
    load = os.getloadavg()[0]
    print(f"added at {rate:,} calls/s:      p50 {added[0]:.2f} ms, p99 {added[1]:.2f} ms (load {load:.1f})")
    return bare, ours


def measure(servers: str, folder: Path, rate: int, seconds: float, *, liberate: bool) -> Took:
    """One side, with a topic of its own."""
    topic = f"calls_{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    arrived = folder / topic
    with running([sys.executable, "-c", SERVER, str(arrived)]) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
        if liberate:
            sink = folder / f"{topic}.yaml"
            sink.write_text(SINK.format(topic=topic, servers=servers, url=url, callers=CALLERS))
            command = [sys.executable, "-m", "liberator", "run", str(sink), "--log-level", "warning"]
        else:
            command = [sys.executable, "-c", BARE, servers, topic, url, str(CALLERS)]
        with running(command):
            producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
            warm = 0
            while count(arrived) < max(
                1, warm
            ):  # every partition is read, and all that came meanwhile is done
                warm += send(producer, topic, 100, 0.5)
            expected = warm + send(producer, topic, rate, seconds)
            end = time.monotonic() + PATIENCE
            while count(arrived) < expected:
                assert time.monotonic() < end, f"{count(arrived)} of {expected} events arrived"
                time.sleep(0.1)
    took = [int(line) / 1e9 for line in arrived.read_text().splitlines()[warm:]]
    return Took(sorted(took))


def send(producer: Producer, topic: str, rate: int, seconds: float) -> int:
    """Events at a steady rate; how many."""
    events = int(rate * seconds)
    began = time.monotonic()
    for number in range(events):
        while (early := began + number / rate - time.monotonic()) > 0:
            time.sleep(early)
        producer.produce(topic, b'{"at":%d}' % time.monotonic_ns(), b"%d" % (number % KEYS))
        producer.poll(0)
    assert producer.flush(30) == 0
    return events


def count(arrived: Path) -> int:
    """Requests so far."""
    return len(arrived.read_text().splitlines()) if arrived.exists() else 0


@contextlib.contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process, for as long."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
