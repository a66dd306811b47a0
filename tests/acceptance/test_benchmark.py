"""`make bench`, with few rows: every side has its figures, and an event that gets lost is noticed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from liberator.testing.servers import Kafka, Postgres, postgres_bin
from tests.benchmark import debezium
from tests.benchmark.comparison import Comparison, Result, all_sides, compare
from tests.benchmark.ground import Ground
from tests.benchmark.processes import Look, Watched
from tests.benchmark.ready_bytes import keep, kept
from tests.benchmark.rehearsal import Rehearsed, rehearse
from tests.benchmark.report import as_json, table
from tests.benchmark.sides import Measured
from tests.benchmark.sides.embedded import Embedded
from tests.benchmark.sides.liberate import Delivery, ToKafka
from tests.benchmark.sides.producer import Producer
from tests.benchmark.sides.recvlogical import Recvlogical

ROWS = 2000


@dataclass(frozen=True)
class Bench:
    """A ground whose rehearsal is over."""

    ground: Ground
    rehearsed: Rehearsed


@pytest.fixture(scope="module")
def bench(postgres18: Postgres, kafka: Kafka) -> Iterator[Bench]:
    """With few rows."""
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(postgres18, kafka, postgres_bin(18), Path(folder), ROWS, transaction=100)
        yield Bench(ground, rehearse(ground))


def test_measures_every_side_over_the_same_rows(bench: Bench) -> None:
    """One worker of Connect is enough: the other differs by its settings only, and each takes ten seconds to start."""
    said: list[str] = []
    sides = [side for side in all_sides(bench.rehearsed) if side.name != "Debezium on Connect, default"]
    comparison = compare(bench.ground, sides, 1, said.append)
    assert comparison.complete
    text = table(comparison)
    assert "everything arrived" in text
    measured = [result for result in comparison.results if result.refused is None]
    assert len(said) == len(comparison.loads) == len(measured) >= 4
    for result in measured:
        [lap] = result.laps
        assert lap.rows == ROWS
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


def _assert_whole(value: dict[str, Any]) -> None:
    assert value["rows"] == ROWS
    assert [side["side"] for side in value["sides"]] == [
        "pg_recvlogical",
        "liberate > /dev/null",
        "Debezium embedded",
        "bare producer",
        "liberate -> Kafka, at least once",
        "liberate -> Kafka, exactly once",
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
    assert "LOST  bare producer: 1 rows" in text
    assert "LOST  pg_recvlogical: 1 rows" in text


def test_tells_what_this_build_refuses_in_its_own_words() -> None:
    refused = Result("liberate -> Kafka, twice", ["bare producer"], "delivery: twice is not supported")
    text = table(Comparison(ROWS, [refused]))
    assert "left out: delivery: twice is not supported" in text


def test_without_java_the_peer_is_left_out_and_the_figures_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    debezium.refusal.cache_clear()
    peer = Embedded()
    comparison = Comparison(ROWS, [Result(peer.name, peer.limits, peer.refusal())])
    debezium.refusal.cache_clear()
    assert "Debezium embedded                   left out: java is not installed" in table(comparison)
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
        ToKafka(cast(Delivery, "twice")).refusal()


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
