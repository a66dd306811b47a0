"""A sink under test: the command `liberate run sink.yaml`, run as a user runs it, on a real stream.

Enters: YAML, a Python function, events. Leaves: what the function was called with, what came of it, exit codes and the log.
Called by the acceptance tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from liberator.locallog import LocalLog

PATIENCE = 120.0
"""Seconds until something that must happen counts as missing."""

RECORDING = '''
"""Functions that write down what they were given, a line a call."""
import json, os, time
from pathlib import Path

def note(events, context):
    line = {"events": [event.value for event in events], "keys": [event.key for event in events],
            "ids": [event.id for event in events], "attempt": context.attempt, "pid": os.getpid(), "at": time.time()}
    with open(Path(__file__).parent / "calls", "a") as file:
        file.write(json.dumps(line, default=repr) + "\\n")
'''


class Record(NamedTuple):
    """As a broker keeps it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def header(self, name: str) -> str:
        """The last header of that name, as text."""
        return (dict(self.headers)[name] or b"").decode()


class Broker(ABC):
    """Where streams are. url: as in the YAML. options: what ``stream.options`` needs for quick tests."""

    url: str
    options = "{}"

    @abstractmethod
    def create(self, topic: str, partitions: int) -> None:
        """Make a topic."""

    @abstractmethod
    def append(self, topic: str, records: Sequence[Record], partition: int = 0) -> None:
        """Add records to a partition of a topic."""

    @abstractmethod
    def read(self, topic: str, partitions: int = 1) -> list[Record]:
        """Everything in a topic; nothing of one that does not exist."""

    @abstractmethod
    def committed(self, group: str, topic: str, partitions: int = 1) -> int:
        """The sum of a group's offsets."""


class LocalBroker(Broker):
    """The local log."""

    def __init__(self, folder: Path) -> None:
        self.url = f"local:{folder}"
        self._folder = folder

    def create(self, topic: str, partitions: int) -> None:
        LocalLog(self._folder).create_topic(topic, partitions)

    def append(self, topic: str, records: Sequence[Record], partition: int = 0) -> None:
        from liberator.locallog.record import pack

        count = len(records)
        with LocalLog(self._folder).transaction() as transaction:
            transaction.append(
                [topic] * count,
                [partition] * count,
                [record.key for record in records],
                [record.value for record in records],
                [pack(tuple((name, value or b"") for name, value in record.headers)) for record in records],
            )

    def read(self, topic: str, partitions: int = 1) -> list[Record]:
        from liberator.change import ConsumedBatch
        from liberator.change import TopicPartition as Place

        log, batch = LocalLog(self._folder), ConsumedBatch()
        found = log.topic(topic)
        for number in range(len(found.partitions) if found else 0):
            log.read(Place(topic, number), 0, 1_000_000, 1 << 30, batch)
        return list(map(Record, batch.keys, batch.values, batch.headers))

    def committed(self, group: str, topic: str, partitions: int = 1) -> int:
        offsets = LocalLog(self._folder).committed(group)
        return sum(offset for place, offset in offsets.items() if place.topic == topic)


class KafkaBroker(Broker):
    """A real Kafka."""

    options = "{session.timeout.ms: 6000, heartbeat.interval.ms: 500}"

    def __init__(self, bootstrap: str) -> None:
        self.url = f"kafka://{bootstrap}"
        self._servers: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap}
        self._admin = AdminClient(self._servers)
        self._producer = Producer({**self._servers, "enable.idempotence": True})

    def create(self, topic: str, partitions: int) -> None:
        self._admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(PATIENCE)

    def append(self, topic: str, records: Sequence[Record], partition: int = 0) -> None:
        for record in records:
            self._producer.produce(topic, record.value, record.key, partition, headers=list(record.headers))
        assert self._producer.flush(PATIENCE) == 0

    def append_in_transactions(self, topic: str, transactions: Sequence[Sequence[Record]]) -> None:
        """Add records, each group of them in a transaction: its end takes an offset, too."""
        producer = Producer({**self._servers, "transactional.id": f"{topic}.writer"})
        producer.init_transactions(PATIENCE)
        for records in transactions:
            producer.begin_transaction()
            for record in records:
                producer.produce(topic, record.value, record.key, 0, headers=list(record.headers))
            producer.commit_transaction(PATIENCE)

    def read(self, topic: str, partitions: int = 1) -> list[Record]:
        consumer = Consumer({**self._servers, "group.id": "onlooker", "enable.auto.commit": False})
        try:
            known = consumer.list_topics(timeout=PATIENCE).topics.get(topic)
            places = [TopicPartition(topic, number, 0) for number in (known.partitions if known else ())]
            count = sum(consumer.get_watermark_offsets(place, timeout=PATIENCE)[1] for place in places)
            if not count:
                return []
            consumer.assign(places)
            end = time.monotonic() + PATIENCE
            found: list[Any] = []
            while len(found) < count:
                assert time.monotonic() < end, f"{len(found)} of {count} records"
                found += consumer.consume(count, 1.0)
            return [Record(m.key(), m.value(), tuple(m.headers() or ())) for m in found]
        finally:
            consumer.close()

    def committed(self, group: str, topic: str, partitions: int = 1) -> int:
        consumer = Consumer({**self._servers, "group.id": group, "enable.auto.commit": False})
        try:
            places = [TopicPartition(topic, number) for number in range(partitions)]
            return sum(max(0, place.offset) for place in consumer.committed(places, timeout=PATIENCE))
        finally:
            consumer.close()


class Sink:
    """One sink connector in a folder of its own. kafka_python: as if confluent-kafka were not installed."""

    def __init__(self, folder: Path, name: str, broker: Broker, *, kafka_python: bool = False) -> None:
        self.folder = folder
        self.name = name
        self.broker = broker
        self._log = folder / "log.txt"
        self._kafka_python = kafka_python
        self._processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, yaml: str, python: str = "") -> None:
        """Its configuration, beside name, stream.url and options; functions for the module `functions`."""
        text = dedent(yaml).strip()
        stream, options = self.broker.url, self.broker.options
        text = text.replace("stream: {", f"stream: {{url: '{stream}', options: {options}, ", 1)
        self.path.write_text(f"connector: sink\nname: {self.name}\n{text}\n")
        (self.folder / "functions.py").write_text(RECORDING + dedent(python))

    @property
    def path(self) -> Path:
        return self.folder / "sink.yaml"

    def launch(self, *options: str, files: Sequence[Path] = ()) -> subprocess.Popen[bytes]:
        """Start it, and do not wait."""
        return self._launch(None, "run", *map(str, files or [self.path]), *options)

    def call(self, *words: str, code: int = 0) -> str:
        """Another command about it, as `call("replay", "--from", "earliest")`: what it prints."""
        process = self._launch(subprocess.PIPE, *words[0].split(), str(self.path), *words[1:])
        printed, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, self.log
        return printed.decode()

    def _launch(self, stdout: int | None, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "liberator", *words]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log, env=self._environ()
            )
        self._processes.append(process)
        return process

    def run(self, *options: str, code: int = 0) -> None:
        """Run it to its end."""
        process = self.launch(*(options or ("--once",)))
        assert process.wait(PATIENCE) == code, self.log

    def status(self) -> dict[str, Any]:
        """What ``liberate status`` tells of it."""
        report: dict[str, Any] = json.loads(self.call("status", "--json"))
        return report

    def stop(self, process: subprocess.Popen[bytes], code: int = 0) -> None:
        """Ask it to end, as a supervisor does."""
        process.terminate()
        assert process.wait(PATIENCE) == code, self.log

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            process.kill()
            process.wait()

    def page(self, port: int, path: str) -> str:
        """A page of its endpoint."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def calls(self) -> list[dict[str, Any]]:
        """What the function has noted."""
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def given(self) -> list[Any]:
        """The values that the function has noted, in order."""
        return [value for call in self.calls() for value in call["events"]]

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition` holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what} did not come\n{self.log}"
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """Everything that it said."""
        return self._log.read_text() if self._log.exists() else ""

    def dead_letters(self) -> list[Record]:
        """What it gave up."""
        return self.broker.read(f"{self.name}.dead-letters")

    def _environ(self) -> dict[str, str]:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("LIBERATE_")}
        return {**environ, "PYTHONPATH": os.pathsep.join(self._import_path())}

    def _import_path(self) -> list[str]:
        paths = [path for path in sys.path if path]
        if self._kafka_python:
            hidden = self.folder / "hidden"
            hidden.mkdir(exist_ok=True)
            (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['confluent_kafka'] = None\n")
            paths.insert(0, str(hidden))
        return paths


def numbered(numbers: Sequence[int], keys: int = 7) -> list[Record]:
    """Events ``{"n": ...}`` with ids, of some keys."""
    return [Record(b'"k%d"' % (n % keys), b'{"n":%d}' % n, (("id", b"e%d" % n),)) for n in numbers]
