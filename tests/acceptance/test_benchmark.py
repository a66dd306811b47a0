"""`make bench`, with few rows: every side has its figures, and an event that gets lost is noticed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from liberator.plan.native import installed
from liberator.testing.servers import Kafka, Postgres, postgres_bin
from tests.benchmark import debezium, goals, processes
from tests.benchmark.chart import Bar, svg
from tests.benchmark.comparison import Comparison, Result, all_sides, compare
from tests.benchmark.ground import Ground
from tests.benchmark.processes import Look, Watched
from tests.benchmark.ready_bytes import keep, kept
from tests.benchmark.rehearsal import Rehearsed, rehearse
from tests.benchmark.report import as_json, table
from tests.benchmark.sides import Measured, liberate
from tests.benchmark.sides.embedded import Embedded
from tests.benchmark.sides.liberate import Delivery, ToKafka
from tests.benchmark.sides.producer import Producer
from tests.benchmark.sides.recvlogical import Recvlogical
from tests.benchmark.workload import MIXED, ROWS_200, ROWS_2000

CHANGES = 2000
EVENTS = 2400
"""Each of 400 deletes becomes two events."""


@dataclass(frozen=True)
class Bench:
    """A ground whose rehearsal is over."""

    ground: Ground
    rehearsed: Rehearsed


@pytest.fixture(scope="module")
def bench(postgres18: Postgres, kafka: Kafka) -> Iterator[Bench]:
    """With few rows."""
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(
            postgres18, kafka, postgres_bin(18), Path(folder), CHANGES, transaction=100, workload=MIXED
        )
        yield Bench(ground, rehearse(ground))


ENOUGH = {"Debezium on Connect, default", "liberate native > /dev/null", "liberate native -> Kafka"}
"""Sides that differ from another one by a setting only; each takes some seconds to start."""


def test_measures_every_side_over_the_same_rows(bench: Bench) -> None:
    said: list[str] = []
    sides = [side for side in all_sides(bench.rehearsed) if side.name not in ENOUGH]
    comparison = compare(bench.ground, sides, 1, said.append)
    assert comparison.complete
    text = table(comparison)
    assert "everything arrived" in text
    measured = [result for result in comparison.results if result.refused is None]
    assert len(said) == len(comparison.loads) == len(measured) >= 4
    for result in measured:
        [lap] = result.laps
        assert lap.arrived == EVENTS
        assert lap.rate > 0
        assert lap.wall > 0
        assert lap.cpu > 0
        assert lap.peak is None or lap.peak < 2**32
        assert result.name in text
    assert (comparison.results[1].laps[0].peak or 0) > 2**24  # a Python with its libraries, not the launcher
    limits = {"pg_recvlogical", "bare producer"}
    assert {result.name for result in measured if comparison.ratio(result) is None} == limits
    with_peer = [result for result in measured if comparison.times_peer(result)]
    assert [result.name.split()[0] for result in with_peer] == ["liberate"] * 3
    _assert_whole(as_json(comparison))


def best() -> str:
    """The executor of a side that runs once only."""
    return "native" if installed() else "python"


def _assert_whole(value: dict[str, Any]) -> None:
    assert value["events"] == EVENTS
    assert [side["side"] for side in value["sides"]] == [
        "pg_recvlogical",
        "liberate python > /dev/null",
        "Debezium embedded",
        "bare producer",
        "liberate python -> Kafka",
        f"liberate {best()} -> Kafka, exactly once",
        "Debezium on Connect, tuned",
    ]
    for side in value["sides"]:
        assert len(side["laps"]) == (side["refused"] is None)
        assert side["lost"] == 0


def test_notices_one_lost_event(bench: Bench, tmp_path: Path) -> None:
    *most, _lost = [event for batch in kept(bench.rehearsed.ready) for event in batch]
    keep(most, tmp_path / "ready")
    sides = [Producer(tmp_path / "ready"), Recvlogical(bench.rehearsed.message_bytes + 1)]
    comparison = compare(bench.ground, sides, 1, lambda _: None)
    assert not comparison.complete
    text = table(comparison)
    assert "LOST  bare producer: 1 events" in text
    assert "LOST  pg_recvlogical: 1 events" in text


def test_tells_what_this_build_refuses_in_its_own_words() -> None:
    refused = Result("liberate -> Kafka, twice", ["bare producer"], "delivery: twice is not supported")
    text = table(Comparison(EVENTS, [refused]))
    assert "left out: delivery: twice is not supported" in text


def test_without_java_the_peer_is_left_out_and_the_figures_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    debezium.refusal.cache_clear()
    peer = Embedded()
    comparison = Comparison(EVENTS, [Result(peer.name, peer.limits, peer.refusal())])
    debezium.refusal.cache_clear()
    assert "Debezium embedded                         left out: java is not installed" in table(comparison)
    assert "java is not installed" in as_json(comparison)["sides"][0]["refused"]


def test_a_ratio_to_a_peer_is_taken_within_each_lap() -> None:
    peer = Result("peer", [], laps=[_lap(10), _lap(1)])
    ours = Result("ours", [], peer="peer", laps=[_lap(40), _lap(4)])
    comparison = Comparison(1, [peer, ours])
    assert comparison.times_peer(ours) == 4
    assert comparison.times_peer(peer) is None
    assert "4.0 x peer" in table(comparison)


def test_fails_when_its_own_file_is_wrong() -> None:
    with pytest.raises(RuntimeError, match="refuses the benchmark's own file"):
        ToKafka(cast(Delivery, "twice"), "python").refusal()


def test_a_ratio_is_taken_within_each_lap_and_from_the_slower_limit() -> None:
    """Noise that hits a whole lap leaves it alone."""
    limit = Result("limit", [], laps=[_lap(100), _lap(10), _lap(50)])
    faster = Result("faster", [], laps=[_lap(900), _lap(90), _lap(450)])
    ours = Result("ours", ["limit", "faster"], laps=[_lap(50), _lap(5), _lap(25)])
    comparison = Comparison(1, [limit, faster, ours])
    assert comparison.ratio(ours) == 0.5
    assert "0.50 of limit" in table(comparison)


def _lap(rate: float) -> Measured:
    return Measured(rate, 1.0, 1.0, None, {}, 1)


def test_a_rate_knows_neither_start_up_nor_closing() -> None:
    looks = [Look(0, 0), Look(10, 100), Look(20, 5_000), Look(30, 10_000), Look(90, 10_000)]
    assert Watched(90, 0, 0, looks).per_second(10_000) == pytest.approx(10_000 * 0.99 / 20)


def test_what_was_too_short_to_be_looked_at_has_the_rate_of_its_whole_run() -> None:
    assert Watched(5, 0, 0, [Look(0, 0), Look(5, 10)]).per_second(100) == 20


def test_a_process_that_does_not_end_when_told_to_is_killed_and_was_done_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kafka Connect's worker sometimes does."""
    monkeypatch.setattr(processes, "_CLOSING", 0.5)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf', 'w'); time.sleep(60)"
    process = processes.start([sys.executable, "-c", deaf], tmp_path, os.environ)
    watched = processes.watch(process, tmp_path, lambda: int((tmp_path / "deaf").exists()), until=1)
    assert watched.looks[-1].at - watched.wall >= 0.5


def test_a_workload_of_large_rows_has_fewer_of_them_in_whole_transactions() -> None:
    assert ROWS_200.changes(1_000_000, 1000) == 250_000
    assert ROWS_2000.changes(10, 1000) == 1000


def test_rows_have_the_size_that_their_workload_says(
    postgres18: Postgres, kafka: Kafka, tmp_path: Path
) -> None:
    for workload, expected in ((ROWS_200, 200), (ROWS_2000, 2000)):
        ground = Ground(postgres18, kafka, postgres_bin(18), tmp_path, 0, transaction=10, workload=workload)
        with ground.lap("size") as lap:
            lap.write()
            [[size]] = lap.execute("SELECT avg(pg_column_size(bench))::integer FROM bench")
        assert size == pytest.approx(expected, rel=0.1)


def test_who_can_not_run_without_its_executor_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liberate, "installed", lambda: False)
    assert liberate.ToDevNull(1, "native").refusal() == "liberator-native is not installed"
    assert liberate.ToDevNull(1, "python").refusal() is None


def test_a_chart_has_a_bar_for_each_side_as_long_as_its_rate() -> None:
    picture = ElementTree.fromstring(
        svg("rates", [("one", [Bar("limit", 200.0), Bar("liberate <it>", 100.0)])])
    )
    space = {"svg": "http://www.w3.org/2000/svg"}
    background, limit, ours = picture.findall("svg:rect", space)
    assert background.get("width") == "100%"
    assert float(limit.get("width", 0)) == pytest.approx(2 * float(ours.get("width", 0)))
    assert limit.get("fill") != ours.get("fill")
    assert "liberate <it>" in [text.text for text in picture.findall("svg:text", space)]


def test_costs_and_peaks_are_told_with_their_units() -> None:
    figures = goals.Figures(0.123, 1_000_000, {"liberate > /dev/null": 100 * 2**20}, {10_000: 6.5})
    text = goals.table(figures)
    assert "123 ms" in text
    assert "100 MiB" in text
    assert "6.5 us" in text
    assert goals.as_json(figures)["cpu_microseconds_per_event"] == {"10000": 6.5}
