"""Several processes share a stream's functions: they come, go and are killed, and nothing is lost or out of order (D82)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from liberator.locallog import LocalLog
from liberator.testing.servers import Kafka

PARTITIONS = 4
KEYS = 40
WORKER = Path(__file__).parent / "worker.py"

Append = Callable[[int, int], None]


def local(folder: Path, topic: str) -> Append:
    log = LocalLog(folder)
    log.create_topic(topic, PARTITIONS)

    def append(start: int, end: int) -> None:
        numbers = range(start, end)
        with log.transaction() as transaction:
            transaction.append(
                [topic] * len(numbers),
                [number % KEYS % PARTITIONS for number in numbers],
                [b"k%d" % (number % KEYS) for number in numbers],
                [b'{"n":%d}' % number for number in numbers],
                [None] * len(numbers),
            )

    return append


def kafka_topic(bootstrap: str, topic: str) -> Append:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(120)
    # Without idempotence it changes the order of what it has to send again, as it may to a topic that was just made.
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "enable.idempotence": True})

    def append(start: int, end: int) -> None:
        for number in range(start, end):
            key = number % KEYS
            producer.produce(topic, json.dumps({"n": number}), b"k%d" % key, key % PARTITIONS)
        assert producer.flush(30) == 0

    return append


class Group:
    """Members of one group. Each writes to a file of its own, so that what one does after its death would be seen."""

    def __init__(self, url: str, topic: str, folder: Path, append: Append) -> None:
        self.append = append
        self._arguments = [url, f"{topic}.group", topic]
        self._folder = folder
        self._members = 0

    def join(self, seconds: float = 0.01) -> subprocess.Popen[bytes]:
        self._members += 1
        out = self._folder / f"done-{self._members:03}"
        out.touch()
        return subprocess.Popen([sys.executable, str(WORKER), *self._arguments, str(out), str(seconds)])

    def done(self) -> dict[str, list[list[int]]]:
        """Key -> the numbers that each member has done of it, in its order."""
        found: dict[str, list[list[int]]] = defaultdict(list)
        for path in sorted(self._folder.glob("done-*")):
            mine: dict[str, list[int]] = defaultdict(list)
            for line in path.read_text().splitlines():
                key, number = line.split()
                mine[key].append(int(number))
            for key, numbers in mine.items():
                found[key].append(numbers)
        return found

    def count(self) -> int:
        return len({number for lists in self.done().values() for numbers in lists for number in numbers})

    def wait_for(self, count: int) -> None:
        end = time.monotonic() + 120
        while self.count() < count:
            assert time.monotonic() < end, f"{self.count()} of {count} are done"
            time.sleep(0.05)


@pytest.fixture(params=["local", "confluent", "kafka-python"])
def group(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Group:
    if request.param == "local":
        url, append = f"local:{tmp_path / 'log'}", local(tmp_path / "log", unique)
    else:
        kafka: Kafka = request.getfixturevalue("kafka")
        url = f"{request.param[0]}+kafka://{kafka.bootstrap}"
        append = kafka_topic(kafka.bootstrap, unique)
    return Group(url, unique, tmp_path, append)


@pytest.fixture
def joining(group: Group) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Members that end with the test, whatever happens."""
    with ExitStack() as stack:

        def join(seconds: float = 0.01) -> subprocess.Popen[bytes]:
            process = group.join(seconds)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield join


Join = Callable[..., subprocess.Popen[bytes]]


def test_members_that_come_and_go_do_every_event_once_and_in_order(group: Group, joining: Join) -> None:
    group.append(0, 2_000)
    members = [joining()]
    group.wait_for(300)
    members.append(joining())
    group.wait_for(800)
    members[0].terminate()
    assert members[0].wait(120) == 0
    members.append(joining())
    group.append(2_000, 3_000)
    group.wait_for(3_000)
    for member in members[1:]:
        member.terminate()
        assert member.wait(120) == 0
    for key, lists in group.done().items():
        assert all(numbers == sorted(numbers) for numbers in lists), f"{key} is out of order"
        done = [number for numbers in lists for number in numbers]
        assert len(done) == len(set(done)), f"something of {key} was done twice"


def test_members_that_are_killed_lose_nothing(group: Group, joining: Join) -> None:
    chance = random.Random(82)
    group.append(0, 3_000)
    members = [joining(), joining()]
    for _ in range(3):
        time.sleep(chance.uniform(0.5, 1.5))
        victim = members.pop(chance.randrange(len(members)))
        victim.kill()
        victim.wait()
        members.append(joining())
    group.wait_for(3_000)
    for key, lists in group.done().items():
        for numbers in lists:  # one that was taken for dead may do something again
            assert list(dict.fromkeys(numbers)) == sorted(set(numbers)), f"{key} is out of order"
        assert {number for numbers in lists for number in numbers} == {
            number for number in range(3_000) if f"k{number % KEYS}" == key
        }
