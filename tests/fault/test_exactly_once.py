"""``delivery: exactly_once``: who reads committed events sees each of them once, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liberator.locallog import LocalLog
from liberator.testing.oracle import Replay, assert_complete
from liberator.testing.proxy import Proxy
from tests.acceptance.connector import PATIENCE
from tests.fault.brokers import FarBroker, Record
from tests.fault.conftest import FaultConnector, KafkaConnector, address
from tests.fault.writers import TABLES, Writers, prepare
from tests.unit.locallog.events import read

Make = Callable[..., KafkaConnector]

SOAK = os.environ.get("LIBERATOR_SOAK") == "1"
KILLS = 100 if SOAK else 15
"""For each of the two clients."""

EXACTLY_ONCE = ("--set", "publish.delivery=exactly_once", "--set", "source.log.heartbeat=200ms")


@pytest.fixture(scope="module")
def broker() -> Iterator[FarBroker]:
    """A broker to be killed; every test leaves it running."""
    with FarBroker() as broker:
        yield broker


@pytest.fixture
def through(database: str, broker: FarBroker, publishing: Make) -> Iterator[Make]:
    """Makes connectors from `database` to the broker, through its proxy."""

    def make(*options: str, dsn: str = database) -> KafkaConnector:
        return publishing(dsn, broker.far, *EXACTLY_ONCE, *options, near=broker.server.bootstrap)

    yield make
    broker.proxy.calm()


def assert_once(it: KafkaConnector, *, but: bytes = b"!") -> None:
    """No event came twice, and all of them give what is in the tables. but: events that may come again."""
    seen = Counter((record.topic, record.id) for record in it.topics.records() if but not in record.id)
    twice = [entry for entry, count in seen.items() if count > 1]
    assert not twice, f"{len(twice)} of {len(seen)} events came twice: {twice[:3]}"
    assert_complete(it.topics.replay(), it.dsn, TABLES)


def test_through_kills_of_connector_source_broker_and_network(
    client: str, database: str, broker: FarBroker, through: Make
) -> None:
    prepare(database, 500)
    chance = random.Random(client)
    with Proxy(*address(database)) as way:
        it = through("--source", way.url(database)).start()
        it.settled()
        faults: dict[str, Callable[[], object]] = {
            "connector": lambda: kill(it),
            "broker": lambda: replace(broker),
            "source": lambda: it.execute(
                f"select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{it.name}'"
            ),
            "way to the source": way.reset,
            "way to the broker": broker.proxy.reset,
        }
        with Writers(database, 30, sessions=2, pause=0.004):
            for number in range(KILLS):
                if not it.running:
                    it.launch()
                time.sleep(chance.uniform(0.3, 2.0))
                fault = "broker" if number % 7 == 6 else chance.choice([*faults][:1] * 3 + [*faults][2:])
                faults[fault]()
        if not it.running:
            it.start()
        it.settled()
        it.stop()
    assert_once(it)


def replace(broker: FarBroker) -> None:
    broker.server.kill()
    broker.server.start()


def kill(it: KafkaConnector) -> None:
    it.launched().kill()
    it.launched().wait()


def test_a_transaction_too_large_for_one_of_kafka_is_cut_and_goes_on_in_the_middle(
    client: str, database: str, broker: FarBroker, through: Make
) -> None:
    """Its first part is there while the rest is still to come; after a kill the rest comes, and no more."""
    prepare(database, 0)
    with Proxy(*address(database)) as line:
        it = through("--source", line.url(database), "--set", "limits.memory=4MiB").start()
        it.settled()
        parts = [0]
        line.let_through(6_000_000, "to_client")
        it.execute("insert into ledger select 1, g, g, repeat('m', 200) from generate_series(1, 80000) g")
        for _ in range(2):
            parts.append(killed_after(it, parts[-1]))
            line.let_through(12_000_000, "to_client")
            it.launch()
        line.calm()
        it.settled()
        it.stop()
    assert 0 < parts[1] < parts[2] < 80_000, "it was not cut"
    assert_once(it)


def killed_after(it: KafkaConnector, records: int) -> int:
    """Kill it once more than so many records are there; how many there are."""
    it.wait_for(lambda: len(it.topics.records()) > records, "a part of all")
    kill(it)
    return len(it.topics.records())


def test_an_interrupted_snapshot_repeats_and_says_so(database: str, broker: FarBroker, through: Make) -> None:
    prepare(database, 30_000)
    with Proxy(*address(database)) as line:
        it = through("--source", line.url(database), "--set", "limits.memory=4MiB")
        line.let_through(4_000_000, "to_client")
        it.launch()
        assert killed_after(it, 0) < 60_000
        line.calm()
        assert it.launch("--once").wait(PATIENCE) == 0
    assert "rows that an interrupted snapshot has published come again" in it.log
    assert_once(it, but=b"/snapshot/")


def test_a_broker_that_is_away_for_longer_than_a_transaction_may_stay_open(
    database: str, broker: FarBroker, through: Make
) -> None:
    """The brokers have aborted it by then, and the producer is not taken for somebody else's."""
    prepare(database, 10)
    it = through("--set", "publish.options={transaction.timeout.ms: 2000}").start()
    it.settled()
    with Writers(database, 5, sessions=1, pause=0.01):
        time.sleep(0.5)
        broker.server.pause()
        try:
            time.sleep(8)
        finally:
            broker.server.resume()
        time.sleep(1)
    it.settled()
    it.stop()
    assert_once(it)


def test_a_zombie_that_wakes_up_is_fenced(database: str, broker: FarBroker, through: Make) -> None:
    """Frozen for so long that the server gave its slot to another instance."""
    prepare(database, 10)
    first = through().start()
    first.settled()
    second = through("--name", first.name)
    with Writers(database, 6, sessions=1, pause=0.01):
        time.sleep(0.5)
        first.launched().send_signal(signal.SIGSTOP)
        try:
            first.execute(
                f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{first.slot}'"
            )
            second.launch()
            second.wait_for(first.streams, "the second instance at the slot")
            time.sleep(2)
        finally:
            first.launched().send_signal(signal.SIGCONT)
        time.sleep(2)
    [[end]] = first.execute("select pg_current_wal_flush_lsn()")
    second.wait_for(lambda: first.confirmed_up_to(end), "the acknowledgement of all")
    first.launched().terminate()
    first.launched().wait(PATIENCE)
    second.launched().terminate()
    assert second.launched().wait(PATIENCE) == 0, second.log
    assert_once(first)


def test_into_a_local_log_through_kills(
    database: str, connector: Callable[..., FaultConnector], tmp_path: Path
) -> None:
    """One machine, no broker, the same promise."""
    prepare(database, 500)
    chance = random.Random(8)
    it = connector(database, "--publish", f"local:{tmp_path / 'log'}", *EXACTLY_ONCE)
    assert it.launch("--once").wait(PATIENCE) == 0
    with Writers(database, 8, sessions=2, pause=0.004):
        for _ in range(max(KILLS // 2, 5)):
            process = it.launch()
            time.sleep(chance.uniform(0.5, 1.5))
            assert process.poll() is None, it.log[-3000:]
            process.kill()
            process.wait()
    assert it.launch("--once").wait(PATIENCE) == 0
    records = sorted(local_records(tmp_path / "log", it.name), key=lambda record: record.place)
    seen = Counter((record.topic, record.id) for record in records)
    twice = [entry for entry, count in seen.items() if count > 1]
    assert not twice, f"{len(twice)} of {len(seen)} events came twice: {twice[:3]}"
    replay = Replay()
    for record in records:
        replay.add_record(record.topic, record.key, record.value, record.headers.items())
    assert_complete(replay, database, TABLES)


def local_records(folder: Path, name: str) -> Iterator[Record]:
    """What is in a local log, those of a partition in their order."""
    with contextlib.closing(LocalLog(folder)) as log:
        for table in TABLES:
            topic = f"{name}.{table}"
            for partition in range(6):
                events = read(log, topic, partition)
                columns = (events.offsets, events.keys, events.values, events.headers)
                for offset, key, value, headers in zip(*columns, strict=True):
                    given = {name: text or b"" for name, text in headers}
                    yield Record(topic, partition, offset, key, value, given)
