"""The latency part of `make bench`, at a slow pace: every step of the way has its time, and a lost row is noticed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from liberator.testing.servers import Kafka, Postgres, postgres_bin
from tests.benchmark.ground import Ground
from tests.benchmark.latency.journey import Heard, Pace, Step, runners, travel
from tests.benchmark.latency.view import as_json, percentiles, spent, table

SLOW = Pace(rate=50, warm=10, count=40, idle=0)


def test_follows_each_row_from_its_commit_to_the_consumer(postgres18: Postgres, kafka: Kafka) -> None:
    [traced] = [runner for runner in runners() if runner.name == "liberate, traced"]
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(postgres18, kafka, postgres_bin(18), Path(folder), 0)
        with ground.lap("pace") as lap:
            heard = travel(lap, traced, SLOW)
    assert heard.lost == 0
    assert len(heard.times) == SLOW.count
    assert min(heard.times) > 0
    assert heard.steps
    for step in heard.steps:
        assert step["committed"] <= step["sent"] <= step["read"] <= step["encoded"] <= step["produced"]
        assert step["encoded"] < step["got"]
        assert step["produced"] <= step["durable"]


def test_a_lost_row_and_an_absent_side_are_told() -> None:
    text = table([Heard("ours", [1.0], 500, 3, None)], {"theirs": "java is not installed"})
    assert "LOST  ours: 3 rows" in text
    assert "theirs" in text
    assert "left out: java is not installed" in text


def test_percentiles_are_times_that_were_measured() -> None:
    assert percentiles([float(time) for time in range(100, 0, -1)]) == (51.0, 100.0, 100.0)
    assert percentiles([7.0]) == (7.0, 7.0, 7.0)


def test_the_steps_of_the_way_follow_each_other() -> None:
    step: Step = {
        "committed": 0, "sent": 1000, "read": 3000, "encoded": 6000, "produced": 10_000, "got": 15_000, "durable": 16_000,
    }  # fmt: skip
    figures = spent([step])
    assert {name: p50 for name, (p50, _, _) in figures.items()} == {
        "server": 1, "read": 2, "transcode": 3, "produce": 4, "broker": 5, "ack": 6,
    }  # fmt: skip
    heard = Heard("ours", [15.0], 500, 0, 0.004, [step])
    assert "transcode" in table([heard], {})
    [side] = as_json([heard], {})["sides"]
    assert side["spent"]["read"] == {"p50": 2, "p99": 2, "most": 2}
    assert side["p99"] == 15
