"""Outboxes through kills: no event is lost, all keep their ids, and each aggregate its order (D63, D76)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from liberator.outbox import Outbox
from liberator.testing.proxy import Proxy
from liberator.testing.servers import Kafka
from tests.fault.brokers import Record, Topics
from tests.fault.conftest import address

CONNECTORS = Path(__file__).parents[2] / "connectors"
AGGREGATES, EVENTS = 100, 100
PARTITIONS = 8
KILLS = 4
PATIENCE = 120.0

TABLE = """
create table outbox (
    position bigint generated always as identity,
    id uuid primary key,
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload jsonb
)
"""


class Killed:
    """A connector of one of the files, killed and started again. Its log is in the folder."""

    def __init__(self, file: str, dsn: str, kafka: Kafka, folder: Path, name: str, **publish: Any) -> None:
        document = yaml.safe_load((CONNECTORS / file).read_text())
        del document["observe"]
        document["name"] = name
        document["source"]["url"] = dsn
        topics = {"partitions": PARTITIONS, "replication": 1}
        document["publish"] = {
            "url": f"kafka://{kafka.bootstrap}",
            "topic": "{name}.{aggregatetype}",
            "create_topics": topics,
            **publish,
        }
        self.file = folder / file
        self.file.write_text(yaml.safe_dump(document))
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("LIBERATE_")}
        command = [sys.executable, "-m", "liberator", "run", str(self.file)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.file.parent, env=environ
            )

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0, self._log.read_text()[-3000:]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()[-3000:]


class Application(threading.Thread):
    """Writes the events of all aggregates, a few in each transaction, some of which it takes back."""

    def __init__(self, dsn: str, outbox: Outbox, pause: float) -> None:
        super().__init__()
        self._dsn = dsn
        self._outbox = outbox
        self._pause = pause
        self.written: dict[str, list[str]] = defaultdict(list)

    def run(self) -> None:
        chance = random.Random(7)
        left = [str(number) for number in range(AGGREGATES) for _ in range(EVENTS)]
        chance.shuffle(left)
        with psycopg.connect(self._dsn) as connection:
            while left:
                now, left = left[:25], left[25:]
                ids = [(key, self._add(connection, key, now[:at].count(key))) for at, key in enumerate(now)]
                if chance.random() < 0.1:
                    connection.rollback()
                    left += now
                    continue
                connection.commit()
                for key, id in ids:
                    self.written[key].append(id)
                time.sleep(self._pause)

    def _add(self, connection: Any, key: str, before: int) -> str:
        number = len(self.written[key]) + before
        return self._outbox.add(connection, "order", key, "Changed", {"n": number})


@pytest.fixture
def prepared(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLE.encode())
    return database


@pytest.mark.parametrize(
    ("file", "delivery"),
    [
        ("outbox-log.yaml", "at_least_once"),
        ("outbox-log.yaml", "exactly_once"),
        ("outbox-message.yaml", "at_least_once"),
        ("outbox-poll.yaml", "at_least_once"),
    ],
)
def test_through_kills_every_event_comes_with_its_id_and_each_aggregate_in_order(
    prepared: str, kafka: Kafka, tmp_path: Path, unique: str, file: str, delivery: str
) -> None:
    """D76"""
    it = Killed(file, prepared, kafka, tmp_path, unique, delivery=delivery)
    application = Application(prepared, Outbox.of(it.file, {}), pause=0.02)
    chance = random.Random(file)
    topics = Topics(kafka.bootstrap, f"{unique}.order")
    try:
        it.start()
        if file == "outbox-message.yaml":  # what is said before there is a slot is heard by nobody
            wait_for_slot(prepared)
        begin(prepared, it, Topics(kafka.bootstrap, f"{unique}.begin"))
        application.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(1.5, 3.0))
            it.kill()
            it.start()
        application.join()
        expected = {id for ids in application.written.values() for id in ids}
        records = all_of(topics, expected, it)
        it.stop()
    finally:
        it.close()
        if application.is_alive():
            application.join()
    assert {record.id.decode() for record in records} == expected
    if delivery == "exactly_once":
        assert len(records) == len(expected)
    judge(records, application.written)
    with psycopg.connect(prepared) as connection:
        left = connection.execute("select count(*) from outbox").fetchone()
    assert left == ({"outbox-log.yaml": len(expected) + 1}.get(file, 0),)


def test_events_that_were_there_come_in_order_through_a_kill_of_their_first_reading(
    prepared: str, kafka: Kafka, tmp_path: Path, unique: str
) -> None:
    """D76. The table lies in the order of random ids, as after CLUSTER, or after much was deleted from it."""
    topics = Topics(kafka.bootstrap, f"{unique}.order")
    with Proxy(*address(prepared)) as line:
        line.let_through(300_000, "to_client")
        it = Killed("outbox-log.yaml", line.url(prepared), kafka, tmp_path, unique)
        before, after = (Application(prepared, Outbox.of(it.file, {}), pause=0) for _ in range(2))
        try:
            before.run()
            with psycopg.connect(prepared, autocommit=True) as connection:
                connection.execute("cluster outbox using outbox_pkey")
            it.start()
            wait_for(lambda: len(topics.records()) > 1000, it)
            it.kill()
            assert len(topics.records()) < AGGREGATES * EVENTS
            after.written |= before.written
            after.run()
            line.calm()
            it.start()
            records = all_of(topics, {id for ids in after.written.values() for id in ids}, it)
            it.stop()
        finally:
            it.close()
    judge(records, after.written)


def begin(dsn: str, it: Killed, topics: Topics) -> None:
    """See a first event through: of transactions before the first start, which ran at the same time, nothing tells who was
    first."""
    with psycopg.connect(dsn) as connection:
        Outbox.of(it.file, {}).add(connection, "begin", "1", "Begun", {"n": 0})
    wait_for(lambda: bool(topics.records()), it)


def wait_for(happened: Callable[[], bool], it: Killed) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, it.log
        time.sleep(0.2)


def wait_for_slot(dsn: str) -> None:
    end = time.monotonic() + PATIENCE
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not connection.execute(
            "select from pg_replication_slots where database = current_database() and active"
        ).fetchall():
            assert time.monotonic() < end
            time.sleep(0.1)


def all_of(topics: Topics, expected: set[str], it: Killed) -> list[Record]:
    """What was published, once all of it is there."""
    end = time.monotonic() + PATIENCE
    while True:
        records = topics.records()
        missing = expected - {record.id.decode() for record in records}
        if not missing:
            return records
        assert time.monotonic() < end, f"{len(missing)} of {len(expected)} events are missing\n{it.log}"
        time.sleep(1.0)


def judge(records: list[Record], written: dict[str, list[str]]) -> None:
    """Each aggregate in one partition, in its order, and whatever comes again is the same."""
    partitions: dict[bytes, set[int]] = defaultdict(set)
    first: dict[str, list[str]] = defaultdict(list)
    said: dict[bytes, tuple[bytes | None, bytes | None]] = {}
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        assert record.key is not None
        partitions[record.key].add(record.partition)
        if record.id not in said:
            said[record.id] = (record.key, record.value)
            first[record.key.decode()].append(record.id.decode())
        assert said[record.id] == (record.key, record.value)
        assert record.headers["type"] == b"Changed"
    assert first == written
    assert {len(places) for places in partitions.values()} == {1}
    for key, ids in first.items():
        values = [said[id.encode()][1] or b"" for id in ids]
        assert [json.loads(value)["n"] for value in values] == list(range(len(ids))), key
