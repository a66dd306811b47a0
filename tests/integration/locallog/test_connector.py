"""The connector into a local log: events, positions beside them, and the next run that goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg

from liberator.change import TopicPartition
from liberator.consume.local import LocalConsumer
from liberator.locallog import LocalLog
from liberator.testing.conformance.stream import Watcher, read


def liberate(database: str, folder: Path, name: str) -> None:
    """Run the one-liner once, from that folder."""
    command = [sys.executable, "-m", "liberator", "--mode", "log", "--name", name, "--once"]
    environment: Mapping[str, str] = {
        **os.environ,
        "LIBERATE_SOURCE": database,
        "PYTHONPATH": str(Path.cwd()),
    }
    done = subprocess.run(
        [*command, "--publish", "local:events"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_table_arrives_once_and_the_next_run_adds_what_is_new(
    database: str, tmp_path: Path, unique: str
) -> None:
    topic = f"{unique}.public.orders"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table orders (id int primary key, status text)")
        connection.execute("insert into orders select n, 'open' from generate_series(1, 50) n")
        liberate(database, tmp_path, unique)
        connection.execute("update orders set status = 'paid' where id <= 5")
        liberate(database, tmp_path, unique)
    consumer = LocalConsumer(tmp_path / "events", "shipping")
    consumer.subscribe([topic], Watcher())
    batch = read(consumer, 55, quiet=0.2)
    consumer.close()
    events = [json.loads(value or b"null") for value in batch.values]
    assert sorted(event["after"]["id"] for event in events if event["op"] == "r") == list(range(1, 51))
    assert sorted(event["after"]["id"] for event in events if event["op"] == "u") == [1, 2, 3, 4, 5]
    assert set(batch.partitions) <= set(range(6))
    log = LocalLog(tmp_path / "events")
    assert "slot" in [partition for partition, _, _ in log.positions(unique)]
    assert TopicPartition(topic, 5) in log.bounds([topic])
    log.close()
    assert not (tmp_path / ".liberator").exists(), "the position is kept beside the events"
