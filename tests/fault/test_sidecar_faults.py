"""The sidecar through kills: whatever was answered 202 is in its topic once, when clients send again what was not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
import yaml

from liberator.testing.servers import Kafka, KafkaServer
from liberator.testing.servers.process import free_port
from tests.fault.brokers import Topics
from tests.integration.sidecar.events import local_events

SAMPLE = Path(__file__).parents[2] / "connectors" / "sidecar.yaml"
SENDERS, EVENTS, KILLS = 20, 40, 4
PATIENCE = 120.0


class Sidecar:
    """`liberate sidecar` on the sample file, killed and started again. Its log is in the folder."""

    def __init__(self, folder: Path, name: str, **publish: Any) -> None:
        self.port = free_port()
        document = yaml.safe_load(SAMPLE.read_text())
        document["name"] = name
        document["listen"] = f"127.0.0.1:{self.port}"
        document["publish"] = {"topic": "{name}.{aggregatetype}", **publish}
        self.file = folder / "sidecar.yaml"
        self.file.write_text(yaml.safe_dump(document))
        self._log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("LIBERATE_")}
        command = [sys.executable, "-m", "liberator", "sidecar", str(self.file)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, env=environ)

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        self.process.kill()
        self.process.wait()

    def again(self) -> None:
        """Kill it, and start it again."""
        self.kill()
        self.start()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, self.log()

    def log(self) -> str:
        return self._log.read_text()[-3000:]


class Sender(threading.Thread):
    """Sends its events one after the other, each until it is answered 202 or 200. answers: by event."""

    def __init__(self, port: int, number: int, end: float) -> None:
        super().__init__(daemon=True)
        self._port, self._number, self.end = port, number, end
        self._connection: HTTPConnection | None = None
        self.answers: dict[str, int] = {}

    def run(self) -> None:
        for count in range(EVENTS):
            id = f"{self._number}-{count}"
            while id not in self.answers and time.monotonic() < self.end:
                status = self.post(id)
                if status in (200, 202):
                    self.answers[id] = status
                else:
                    time.sleep(0.02)
        self.disconnect()

    def post(self, id: str) -> int:
        """The answer's status; 0: there was none."""
        headers = {"Event-Id": id, "Aggregate-Id": str(self._number), "Content-Type": "application/json"}
        try:
            if self._connection is None:
                self._connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            self._connection.request("POST", "/events/order/OrderPlaced", json.dumps({"id": id}), headers)
            response = self._connection.getresponse()
            response.read()
            return response.status
        except (OSError, HTTPException):
            self.disconnect()
            return 0

    def disconnect(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def send_through(sidecar: Sidecar, kill: Callable[[], None], kills: int = KILLS) -> list[Sender]:
    """All senders, until each event is answered; `kill` strikes in between, whenever more events are there."""
    end = time.monotonic() + PATIENCE
    senders = [Sender(sidecar.port, number, end) for number in range(SENDERS)]
    sidecar.start()
    for sender in senders:
        sender.start()
    chance = random.Random(7)
    for strike in range(1, kills + 1):
        while sum(len(sender.answers) for sender in senders) < strike * SENDERS * EVENTS // (kills + 2):
            assert time.monotonic() < end, sidecar.log()
            time.sleep(0.01)
        time.sleep(chance.random() / 20)
        kill()
    for sender in senders:
        sender.join(PATIENCE)
    return senders


def judge(senders: list[Sender], ids: list[str]) -> None:
    answered = {id for sender in senders for id in sender.answers}
    assert len(answered) == SENDERS * EVENTS, "not all were answered in time"
    assert Counter(ids) == Counter(answered)
    for sender in range(SENDERS):  # each waits for its answer, so its events keep their order
        own = [id for id in ids if id.startswith(f"{sender}-")]
        assert own == [f"{sender}-{count}" for count in range(EVENTS)]


def test_into_a_local_log(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, "shop", url=f"local:{tmp_path}/events")
    senders = send_through(sidecar, sidecar.again)
    sidecar.stop()
    judge(senders, [event.id for event in local_events(tmp_path / "events", "shop.order")])


def test_into_kafka(tmp_path: Path, kafka: Kafka, unique: str) -> None:
    topics = {"partitions": 4, "replication": 1}
    sidecar = Sidecar(tmp_path, unique, url=f"kafka://{kafka.bootstrap}", create_topics=topics)
    senders = send_through(sidecar, sidecar.again)
    sidecar.stop()
    judge(senders, [record.id.decode() for record in Topics(kafka.bootstrap, f"{unique}.").records()])


def test_into_a_kafka_that_is_killed_itself(
    tmp_path: Path, own_kafka: Callable[..., KafkaServer], unique: str
) -> None:
    """D69: what was answered is there, what was not is there once it is sent again."""
    broker = own_kafka()
    topics = {"partitions": 4, "replication": 1}
    sidecar = Sidecar(tmp_path, unique, url=f"kafka://{broker.bootstrap}", create_topics=topics)

    def again() -> None:
        broker.kill()
        broker.start()

    senders = send_through(sidecar, again, kills=2)
    sidecar.stop()
    judge(senders, [record.id.decode() for record in Topics(broker.bootstrap, f"{unique}.").records()])


@pytest.mark.parametrize("number", [15, 2], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_cleanly_also_when_there_is_no_broker(tmp_path: Path, number: int) -> None:
    sidecar = Sidecar(tmp_path, "shop", url=f"kafka://127.0.0.1:{free_port()}")
    sidecar.start()
    assert sidecar.process is not None
    sender = Sender(sidecar.port, 1, time.monotonic() + PATIENCE)
    while not (status := sender.post("1")):  # it does not listen yet
        assert time.monotonic() < sender.end, sidecar.log()
        time.sleep(0.05)
    assert status == 503
    sender.disconnect()
    sidecar.process.send_signal(number)
    assert sidecar.process.wait(PATIENCE) == 0, sidecar.log()
