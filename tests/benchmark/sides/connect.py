"""Debezium on Kafka Connect: a standalone worker with one connector, into the same Kafka.

Twice: as everything is by default, and tuned. Both have what our side has: lz4, acks=all, JSON without schemas.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from liberator.testing.servers.process import free_port
from tests.benchmark import debezium, topic
from tests.benchmark.ground import Lap
from tests.benchmark.processes import start
from tests.benchmark.sides import Measured, Side

_WORKER = {
    "key.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "key.converter.schemas.enable": "false",
    "value.converter.schemas.enable": "false",
    "offset.storage.file.filename": "offsets",
    "producer.compression.type": "lz4",
}

# Ten times the batches and queues; events go on as soon as there are some.
_TUNED_CONNECTOR = {"max.batch.size": "20480", "max.queue.size": "81920", "poll.interval.ms": "5"}
_TUNED_WORKER = {
    "producer.batch.size": "1000000",
    "producer.linger.ms": "0",
    "producer.max.in.flight.requests.per.connection": "5",
    "producer.buffer.memory": "134217728",
}


class Worker:
    """One worker in a folder of its own. The topic is `name`, a dot, and the table's name."""

    def __init__(self, folder: Path, bootstrap: str, connector: Mapping[str, str], *, tuned: bool) -> None:
        self.folder = folder
        worker = {
            **_WORKER,
            "bootstrap.servers": bootstrap,
            "listeners": f"http://127.0.0.1:{free_port()}",
            **(_TUNED_WORKER if tuned else {}),
        }
        self._worker = debezium.write_properties(folder / "worker.properties", worker)
        told = {**connector, **(_TUNED_CONNECTOR if tuned else {})}
        self._connector = debezium.write_properties(folder / "connector.properties", told)

    def start(self, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start it; it runs until it is told to end."""
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        return start(debezium.java(main, str(self._worker), str(self._connector)), self.folder, environ)


class Connect(Side):
    """Complete when as many records can be read as the connector makes."""

    limits = ("pg_recvlogical", "bare producer")

    def __init__(self, *, tuned: bool) -> None:
        self.name = f"Debezium on Connect, {'tuned' if tuned else 'default'}"
        self._key = "tuned" if tuned else "connect"
        self._tuned = tuned
        self._slot = self._topic = ""

    def refusal(self) -> str | None:
        """Without Java there is none."""
        return debezium.refusal()

    def prepare(self, lap: Lap) -> None:
        """A slot and a topic of its own."""
        self._slot = lap.slot(self._key)
        self._topic = lap.topic(f"{self._key}-{lap.name}")

    def measure(self, lap: Lap) -> Measured:
        """Run it until all is there, and read everything back."""
        readable = topic.progress(lap.bootstrap, self._topic)
        connector = debezium.connector(lap.dsn, f"{self._key}-{lap.name}", self._slot, self._key)
        worker = Worker(lap.place(self._key), lap.bootstrap, connector, tuned=self._tuned)
        it = lap.watch(worker.start(lap.environ()), worker.folder, readable, until=lap.events)
        arrived = topic.read_back(lap.bootstrap, self._topic)
        return Measured.of(it, lap.events, arrived.events, arrived.repeated)
