"""How far behind the looks of a query source are."""

from __future__ import annotations

from liberator.observe.telemetry import Telemetry
from tests.unit.observe.test_metrics import samples


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_table_is_behind_by_the_age_of_its_last_complete_look() -> None:
    clock = Clock()
    telemetry = Telemetry("shop", now=clock, tick=clock)
    assert telemetry.snapshot()["passes"] is None
    clock.now = 110
    telemetry.pass_started("public.t")
    telemetry.pass_rows("public.t", 5)
    telemetry.pass_rows("public.t", 2)
    clock.now = 130
    assert telemetry.snapshot()["passes"] == {"public.t": {"count": 0, "behind_seconds": 30.0, "rows": 7}}
    telemetry.pass_done("public.t")
    assert telemetry.snapshot()["passes"] == {"public.t": {"count": 1, "behind_seconds": 20.0, "rows": None}}
    telemetry.pass_started("public.t")
    clock.now = 131
    assert telemetry.snapshot()["passes"]["public.t"] == {"count": 1, "behind_seconds": 21.0, "rows": 0}


def test_a_look_that_failed_counts_for_nothing() -> None:
    clock = Clock()
    telemetry = Telemetry("shop", now=clock, tick=clock)
    telemetry.pass_started("public.t")
    telemetry.pass_rows("public.t", 5)
    clock.now = 150
    telemetry.pass_started("public.t")
    assert telemetry.snapshot()["passes"]["public.t"] == {"count": 0, "behind_seconds": 50.0, "rows": 0}


def test_the_metrics_tell_it_by_table() -> None:
    clock = Clock()
    telemetry = Telemetry("shop", now=clock, tick=clock)
    telemetry.pass_started("public.t")
    telemetry.pass_rows("public.t", 5)
    clock.now = 104
    labels = {"table": "public.t"}
    found = samples(telemetry)
    assert found["liberator_query_behind_seconds"] == [(labels, 4.0)]
    assert found["liberator_query_pass_rows"] == [(labels, 5.0)]
    telemetry.pass_done("public.t")
    found = samples(telemetry)
    assert found["liberator_query_passes_total"] == [(labels, 1.0)]
    assert "liberator_query_pass_rows" not in found
