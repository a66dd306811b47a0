"""Bad weather between the connector and PostgreSQL: nothing lost, nothing in the wrong order, back in time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from liberator.testing.oracle import assert_complete
from liberator.testing.proxy import Proxy
from tests.acceptance.connector import PATIENCE
from tests.fault.conftest import FaultConnector, address
from tests.fault.writers import TABLES, Writers, prepare

Make = Callable[..., FaultConnector]

SOAK = os.environ.get("LIBERATOR_SOAK") == "1"
PERIOD = 5.0 if SOAK else 1.0
"""Seconds between two resets."""
TIMES = 20 if SOAK else 5

LOST = 10
"""Packets that must have been lost before it counts."""

BACK = 30.0 if SOAK else PATIENCE
"""Seconds within which it must go on once the other side is back; a machine that is busy takes its time."""


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    """The way to the server of `database`."""
    with Proxy(*address(database)) as proxy:
        yield proxy


@pytest.fixture
def through(database: str, proxy: Proxy, connector: Make) -> Make:
    """Makes a connector for `database` that goes through `proxy`; the test's own questions do not."""

    def make(*options: str) -> FaultConnector:
        return connector(database, "--source", proxy.url(database), *options)

    return make


def judge(it: FaultConnector) -> None:
    """Everything that was committed has arrived, each row as it is now, in order."""
    it.events()
    it.stop()
    assert_complete(it.lines(), it.dsn, TABLES)


def test_connections_reset_again_and_again(database: str, proxy: Proxy, through: Make) -> None:
    """D66"""
    prepare(database, 2000)
    it = through().start()
    it.events()
    proxy.reset_every(PERIOD)
    with Writers(database, 66, sessions=2, pause=0.002):
        it.wait_for(lambda: proxy.connections >= 3 * TIMES, "one connection after the other")
    proxy.calm()
    judge(it)


def test_a_snapshot_whose_connections_are_reset(database: str, proxy: Proxy, through: Make) -> None:
    prepare(database, 5_000)
    it = through()
    proxy.slow(bandwidth=2_000_000)
    proxy.reset_every(1.0)
    it.launch()
    it.wait_for(lambda: it.log.count("trying again") >= 3, "three attempts")
    proxy.calm()
    it.stop()
    it.run_once()
    assert_complete(it.lines(), it.dsn, TABLES, complete=False)


def test_a_long_way(database: str, proxy: Proxy, through: Make) -> None:
    """D66: half a second there and back, also for a connection that is made anew."""
    prepare(database, 100)
    it = through().start()
    it.events()
    proxy.slow(0.25, jitter=0.05)
    with Writers(database, 67, sessions=2, pause=0.01):
        time.sleep(3)
    it.events()
    proxy.reset()
    back = time.monotonic()
    it.execute("insert into account values (777, 'after', 1, null)")
    it.events()
    assert time.monotonic() - back < BACK
    proxy.calm()
    judge(it)


def test_a_narrow_line(database: str, proxy: Proxy, through: Make) -> None:
    """D66: 100 kB/s."""
    prepare(database, 50)
    it = through().start()
    it.events()
    proxy.slow(bandwidth=100_000)
    with Writers(database, 68, sessions=1, pause=0.02):
        time.sleep(5)
    judge(it)


def test_lost_packets(database: str, proxy: Proxy, through: Make) -> None:
    """D66: one of a hundred, from the first row of the snapshot on."""
    prepare(database, 2000)
    proxy.lose(0.01)
    it = through().start()
    with Writers(database, 66, sessions=2, pause=0.002):
        it.wait_for(lambda: it.streams() and proxy.lost >= LOST, "lost packets")
    judge(it)


def test_flaps(database: str, proxy: Proxy, through: Make) -> None:
    """D66"""
    prepare(database, 100)
    it = through().start()
    it.events()
    flap = 2.0 if SOAK else 1.0
    proxy.flap(on=flap, off=flap)
    with Writers(database, 69, sessions=2, pause=0.002):
        time.sleep(10 * flap if SOAK else 6 * flap)
    proxy.calm()
    judge(it)


def test_an_outage_costs_little_and_ends_by_itself(database: str, proxy: Proxy, through: Make) -> None:
    """D66"""
    prepare(database, 100)
    it = through().start()
    it.events()
    proxy.down()
    with Writers(database, 70, sessions=2, pause=0.01):
        it.is_quiet(1.0, 60 if SOAK else 6)
    assert it.running
    proxy.up()
    back = time.monotonic()
    it.wait_for(it.streams, "the stream")
    assert time.monotonic() - back < BACK
    judge(it)


def test_a_black_hole_is_noticed(database: str, proxy: Proxy, through: Make) -> None:
    """Nothing is reset, and nothing arrives any more: only a clock can tell."""
    prepare(database, 100)
    it = through().start()
    it.events()
    proxy.swallow()
    it.execute("insert into account values (777, 'lost?', 1, null)")
    time.sleep(2)
    gone = proxy.connections
    it.wait_for(lambda: proxy.connections > gone, "an attempt at a new connection")
    proxy.calm()
    judge(it)
