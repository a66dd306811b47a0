"""Kafka away, frozen, restarted or refusing: bounded memory, nothing lost, order per key, and a position that waits."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # re-exported without saying so
from kafka.partitioner.default import murmur2

from liberator.testing.oracle import assert_complete
from liberator.testing.proxy import Proxy
from liberator.testing.servers import Kafka
from liberator.testing.servers.process import free_port
from tests.acceptance.connector import PATIENCE
from tests.fault.brokers import Cluster, FarBroker, Fortress
from tests.fault.conftest import KafkaConnector, address
from tests.fault.writers import TABLES, Writers, prepare

pytestmark = pytest.mark.alone

Make = Callable[..., KafkaConnector]

SOAK = os.environ.get("LIBERATOR_SOAK") == "1"
OUTAGE = 60.0 if SOAK else 10.0
TIME_OF_WEATHER = 60.0 if SOAK else 3.0
LOST = 10
"""Packets that must have been lost before it counts."""
MB = 1_000_000

BACK = 30.0 if SOAK else PATIENCE
"""Seconds within which it must go on once the broker is back; a machine that is busy with other things takes its time."""

KEPT_HERE = ("--set", "checkpoint.url=file:positions.db")
"""The position is kept apart from the broker: so what must not move could."""


EACH_CLIENT = pytest.mark.parametrize(
    "client", ["confluent", pytest.param("kafka-python", marks=pytest.mark.soak)], indirect=True
)
"""What is also tested without a connector around it, in tests/integration/publish, with both clients."""


@pytest.fixture(scope="module")
def broker() -> Iterator[FarBroker]:
    """A broker to be killed and frozen; every test leaves it running."""
    with FarBroker() as broker:
        yield broker


@pytest.fixture
def through(database: str, broker: FarBroker, publishing: Make) -> Iterator[Make]:
    """Makes connectors from `database` to the broker, through its proxy."""

    def make(*options: str) -> KafkaConnector:
        return publishing(database, broker.far, *options, near=broker.server.bootstrap)

    yield make
    broker.proxy.calm()


def judge(it: KafkaConnector, since: float) -> None:
    """It goes on in time, and everything that was committed has arrived, in order."""
    it.settled()
    assert time.monotonic() - since < BACK
    it.stop()
    assert_complete(it.topics.replay(), it.dsn, TABLES)


@EACH_CLIENT
def test_a_frozen_broker_neither_loses_the_walsender_nor_moves_the_position(
    client: str, database: str, broker: FarBroker, through: Make
) -> None:
    """D45: Invariants 1 and 8, for longer than wal_sender_timeout."""
    prepare(database, 100)
    it = through(*KEPT_HERE)
    it.execute(f"alter database {database.rpartition('/')[2]} set wal_sender_timeout = '5s'")
    it.start()
    it.settled()
    broker.server.pause()
    try:
        walsender, end = it.walsender(), written(it)
        with Writers(database, 45, sessions=2, pause=0.01):
            time.sleep(OUTAGE)
        assert it.walsender() == walsender
        assert walsender is not None
        assert not it.confirmed_up_to(end)
    finally:
        broker.server.resume()
    judge(it, time.monotonic())


@EACH_CLIENT
def test_a_broker_killed_under_load(client: str, database: str, broker: FarBroker, through: Make) -> None:
    """D69: more comes than the budget holds; the position and the memory stand still, and the lag is told."""
    prepare(database, 100)
    port = free_port()
    it = through(
        *KEPT_HERE, "--set", "limits.memory=16MiB", "--set", f"observe.listen=127.0.0.1:{port}"
    ).start()
    it.settled()
    broker.server.kill()
    try:
        end = written(it)
        with Writers(database, 69, sessions=2, pause=0.002):
            it.execute("insert into ledger select 9, g, g, repeat('m', 500) from generate_series(1, 30000) g")
            time.sleep(OUTAGE)
        it.wait_for(lambda: status(port)["state"] == "waiting", "the word that it waits")
        it.wait_for(lambda: bool(status(port)["lag"]["bytes"] > MB), "a lag")
        assert not it.confirmed_up_to(end)
        assert it.running
        assert it.memory_peak() < 256 * MB
    finally:
        broker.server.start()
    judge(it, time.monotonic())


def written(it: KafkaConnector) -> str:
    """Write what the broker must take; the position after it."""
    it.execute("insert into ledger values (8, 1, 1, 'not taken')")
    [[end]] = it.execute("select pg_current_wal_flush_lsn()")
    return str(end)


def status(port: int) -> dict[str, Any]:
    """What the connector tells of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=PATIENCE) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


@EACH_CLIENT
def test_a_broker_restarted_under_load(client: str, database: str, broker: FarBroker, through: Make) -> None:
    """D70: each partition loses its leader, and gets it back."""
    prepare(database, 100)
    it = through().start()
    it.settled()
    with Writers(database, 70, sessions=2, pause=0.005):
        time.sleep(1)
        broker.server.restart()
        time.sleep(1)
    judge(it, time.monotonic())


@EACH_CLIENT
@pytest.mark.parametrize("released", ["before", "after"])
def test_a_write_held_in_the_broker_while_the_database_is_lost(
    released: str, client: str, database: str, broker: FarBroker, through: Make
) -> None:
    """D67: nothing lost, at most that write twice, and the position never beyond it."""
    prepare(database, 10)
    with Proxy(*address(database)) as way:
        it = through(*KEPT_HERE, "--source", way.url(database)).start()
        it.settled()
        count = len(it.topics.records())
        broker.proxy.hold("to_client")
        # So few that each may be a request of its own: without an answer, a client sends no more than five.
        it.execute("insert into account select g, 'held', 1, null from generate_series(101, 103) g")
        [[end]] = it.execute("select pg_current_wal_flush_lsn()")
        it.wait_for(lambda: len(it.topics.records()) >= count + 3, "the write in the broker")
        way.down()
        it.wait_for(lambda: "trying again" in it.log, "the loss of the database")
        if released == "before":
            broker.proxy.calm()
        way.up()
        if released == "after":
            it.wait_for(it.streams, "the stream")
            time.sleep(1)
            assert not it.confirmed_up_to(end)
            broker.proxy.calm()
        judge(it, time.monotonic())
    held = Counter(record.id for record in it.topics.records() if b'"held"' in (record.value or b""))
    assert len(held) == 3
    assert max(held.values()) <= 2
    others = Counter(record.id for record in it.topics.records() if record.id not in held)
    assert set(others.values()) == {1}


@EACH_CLIENT
def test_a_kill_after_the_database_came_back_loses_nothing_that_the_broker_did_not_take(
    client: str, database: str, broker: FarBroker, through: Make
) -> None:
    """Invariant 1: a stream that is opened again where it stood acknowledges nothing by that."""
    prepare(database, 10)
    it = through(*KEPT_HERE).start()
    it.settled()
    broker.server.pause()
    try:
        it.execute("insert into account select g, 'held', 1, null from generate_series(101, 110) g")
        [[end]] = it.execute("select pg_current_wal_flush_lsn()")
        time.sleep(1)
        old = it.walsender()
        it.execute(f"select pg_terminate_backend({old})")
        it.wait_for(lambda: it.walsender() not in (None, old), "another stream")
        time.sleep(1)
        assert not it.confirmed_up_to(end)
        it.close()
    finally:
        broker.server.resume()
    assert it.launch("--once").wait(PATIENCE) == 0, it.log
    assert_complete(it.topics.replay(), database, TABLES)


WEATHER: dict[str, Callable[[Proxy], None]] = {
    "resets": lambda way: way.reset_every(0.5),
    "a black hole": lambda way: way.swallow(),
    "flaps": lambda way: way.flap(on=1.0, off=1.0),
    "a long and narrow way": lambda way: way.slow(0.25, jitter=0.05, bandwidth=100_000),
}
"""What can be wrong with the way to the broker."""


@pytest.mark.parametrize(
    ("client", "weather"),
    [
        ("confluent", "resets"),
        ("kafka-python", "resets"),
        ("kafka-python", "a black hole"),
        pytest.param("confluent", "flaps", marks=pytest.mark.soak),
        ("confluent", "a long and narrow way"),
        pytest.param("confluent", "a black hole", marks=pytest.mark.soak),
        pytest.param("kafka-python", "flaps", marks=pytest.mark.soak),
        pytest.param("kafka-python", "a long and narrow way", marks=pytest.mark.soak),
    ],
    indirect=["client"],
)
def test_bad_weather_on_the_way_to_the_broker(
    client: str, weather: str, database: str, broker: FarBroker, through: Make
) -> None:
    """D66, for Kafka: positions go the same way."""
    prepare(database, 100)
    it = through().start()
    it.settled()  # an interrupted snapshot would be read again, and its rows come after their changes
    WEATHER[weather](broker.proxy)
    with Writers(database, 66, sessions=2, pause=0.005):
        time.sleep(TIME_OF_WEATHER)
    assert it.running
    broker.proxy.calm()
    judge(it, time.monotonic())


@EACH_CLIENT
def test_lost_packets_on_the_way_to_the_broker(
    client: str, database: str, broker: FarBroker, through: Make
) -> None:
    """D66, for Kafka: one of a hundred."""
    prepare(database, 100)
    it = through().start()
    it.settled()
    before = broker.proxy.lost
    broker.proxy.lose(0.01)
    with Writers(database, 66, sessions=2, pause=0.005):
        it.wait_for(lambda: broker.proxy.lost >= before + LOST, "lost packets")
    judge(it, time.monotonic())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three brokers, one of which may be killed at a time; every test leaves them running."""
    with Cluster() as cluster:
        yield cluster


@pytest.mark.soak  # three brokers on two busy cores have taken more than 30 s to find a new controller
@EACH_CLIENT
def test_a_broker_that_leads_partitions_is_killed(
    client: str, database: str, cluster: Cluster, publishing: Make
) -> None:
    """D70: others take the lead; nothing is lost, and nothing overtaken."""
    victim = 2 if client == "confluent" else 3
    prepare(database, 100)
    it = publishing(database, cluster.bootstrap).start()
    it.settled()
    assert cluster.leaders(f"{it.name}.")[victim] > 0
    try:
        with Writers(database, 72, sessions=2, pause=0.005):
            time.sleep(1)
            cluster.nodes[victim - 1].kill()
            gone = time.monotonic()
            time.sleep(1)
        it.settled()
        assert time.monotonic() - gone < BACK
        assert cluster.leaders(f"{it.name}.")[victim] == 0
        judge(it, gone)
    finally:
        cluster.nodes[victim - 1].start()


@pytest.mark.soak  # as above
@EACH_CLIENT
def test_the_node_of_the_controller_is_killed(
    client: str, database: str, cluster: Cluster, publishing: Make
) -> None:
    """D70: another controller is elected first, and then new leaders; nothing is lost, and nothing overtaken."""
    prepare(database, 100)
    it = publishing(database, cluster.bootstrap).start()
    it.settled()
    victim = cluster.controller()
    try:
        with Writers(database, 73, sessions=2, pause=0.005):
            it.wait_for(lambda: it.walsender() is not None, "a stream")
            cluster.nodes[victim - 1].kill()
            it.wait_for(
                lambda: cluster.leaders(f"{it.name}.")[victim] == 0, "what only another controller can do"
            )
        judge(it, time.monotonic())
    finally:
        cluster.nodes[victim - 1].start()


def test_partitions_are_those_that_java_would_choose(database: str, kafka: Kafka, publishing: Make) -> None:
    """D71: with Kafka's hash, as another client knows it."""
    prepare(database, 300)
    it = publishing(database, kafka.bootstrap, "--set", "publish.create_topics.partitions=12")
    assert it.launch("--once").wait(PATIENCE) == 0, it.log
    records = it.topics.records()
    assert len(records) == 600
    for record in records:
        assert record.key is not None
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % 12
    assert len({record.partition for record in records}) == 12


def refused(it: KafkaConnector) -> str:
    """Run it; it must give up at once and tell what to do. Its last words."""
    ended = it.launch("--once").wait(PATIENCE)
    assert ended in (1, 3), it.log
    assert "trying again" not in it.log
    assert "fix:" in it.last_words
    return it.last_words


def test_an_unknown_topic_that_may_not_be_made_stops(
    client: str, database: str, kafka: Kafka, publishing: Make
) -> None:
    """D70"""
    prepare(database, 1)
    it = publishing(database, kafka.bootstrap, "--set", "publish.create_topics=false")
    words = refused(it)
    assert "publish.unknown_topic" in words
    assert f"topic {it.name}.public." in words
    assert it.topics.names() == {}


def test_a_denied_topic_stops_and_goes_on_when_it_is_granted(
    client: str, database: str, fortress: Fortress, publishing: Make
) -> None:
    """D70: what was not taken is not forgotten."""
    prepare(database, 10)
    user = f"writer_{client}"
    fortress.user(user, "s3cret")
    options = fortress.options(
        "login", sasl_mechanism="SCRAM-SHA-512", sasl_username=user, sasl_password="s3cret"
    )
    it = publishing(database, fortress.server.bootstrap, *options, *KEPT_HERE)
    fortress.allow(user, f"{it.name}.", AclOperation.DESCRIBE)
    words = refused(it)
    # A broker that lets a user write nowhere refuses it as a producer, or its records: whichever is asked first.
    assert "publish.topic_denied" in words or "publish.cluster_denied" in words
    assert "kafka-acls" in words
    fortress.allow_publishing(user, it.name)
    assert it.launch("--once").wait(PATIENCE) == 0, it.log
    assert_complete(it.topics.replay(), database, TABLES)
