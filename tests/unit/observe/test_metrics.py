"""``/metrics`` as Prometheus' own parsers read it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from liberator.observe.metrics import Exposition
from liberator.observe.telemetry import STATES, Telemetry

Labels = dict[str, str]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("shop", now=lambda: 1_800_000_000.0, tick=lambda: 50.0)


def samples(telemetry: Telemetry) -> dict[str, list[tuple[Labels, float]]]:
    body, _ = Exposition(telemetry).render("")
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in parser.text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_working_connector_shows_its_numbers(telemetry: Telemetry) -> None:
    telemetry.state("streaming")
    telemetry.published({"public.orders": 3, "public.users": 1}, 400)
    telemetry.durable(2)
    telemetry.position(100, 350, 1_800_000_000.0 - 9)
    telemetry.queue(64, 256)
    telemetry.error("source.connection")
    telemetry.reconnect()
    telemetry.dead_letter("public.orders", 2)
    telemetry.checkpoint_saved(1_800_000_000.0 - 3)
    found = samples(telemetry)
    assert found["liberator_events_total"] == [
        ({"table": "public.orders"}, 3.0),
        ({"table": "public.users"}, 1.0),
    ]
    assert found["liberator_durable_events_total"] == [({}, 2.0)]
    assert found["liberator_published_bytes_total"] == [({}, 400.0)]
    assert found["liberator_lag_bytes"] == [({}, 250.0)]
    assert found["liberator_lag_seconds"] == [({}, 9.0)]
    assert found["liberator_queue_bytes"] == [({}, 64.0)]
    assert found["liberator_queue_limit_bytes"] == [({}, 256.0)]
    assert found["liberator_queue_fill_ratio"] == [({}, 0.25)]
    assert found["liberator_errors_total"] == [({"code": "source.connection"}, 1.0)]
    assert found["liberator_reconnects_total"] == [({}, 1.0)]
    assert found["liberator_dead_letters_total"] == [({"table": "public.orders"}, 2.0)]
    assert found["liberator_checkpoint_age_seconds"] == [({}, 3.0)]
    assert found["liberator_up"] == [({}, 1.0)]
    assert found["liberator_ready"] == [({}, 1.0)]


def test_exactly_one_state_is_on(telemetry: Telemetry) -> None:
    telemetry.state("draining")
    states = {labels["state"]: value for labels, value in samples(telemetry)["liberator_state"]}
    assert set(states) == set(STATES)
    assert [state for state, value in states.items() if value] == ["draining"]


def test_unknown_lag_is_absent_rather_than_zero(telemetry: Telemetry) -> None:
    found = samples(telemetry)
    assert "liberator_lag_bytes" not in found
    assert "liberator_lag_seconds" not in found


def test_snapshot_progress_is_shown_by_table(telemetry: Telemetry) -> None:
    telemetry.snapshot_started("public.orders", 200)
    telemetry.snapshot_rows("public.orders", 50)
    telemetry.snapshot_started("public.users", -1)
    found = samples(telemetry)
    assert found["liberator_snapshot_rows"] == [
        ({"table": "public.orders"}, 50.0),
        ({"table": "public.users"}, 0.0),
    ]
    assert found["liberator_snapshot_estimated_rows"] == [({"table": "public.orders"}, 200.0)]
    assert found["liberator_snapshot_progress_ratio"] == [({"table": "public.orders"}, 0.25)]


def test_a_failed_connector_is_down(telemetry: Telemetry) -> None:
    telemetry.state("failed")
    assert samples(telemetry)["liberator_up"] == [({}, 0.0)]


def test_names_with_odd_characters_survive(telemetry: Telemetry) -> None:
    odd = 'public.We"ird\\Table\n日本'
    telemetry.published({odd: 1}, 1)
    assert samples(telemetry)["liberator_events_total"] == [({"table": odd}, 1.0)]


def test_memory_and_cpu_of_the_process_are_there(telemetry: Telemetry) -> None:
    found = samples(telemetry)
    assert found["process_resident_memory_bytes"][0][1] > 1_000_000
    assert found["process_cpu_seconds_total"][0][1] > 0


def test_the_connector_and_its_versions_are_named(telemetry: Telemetry) -> None:
    telemetry.version("server", "18.6")
    ((labels, value),) = samples(telemetry)["liberator_connector_info"]
    assert value == 1.0
    assert (labels["name"], labels["server_version"]) == ("shop", "18.6")


def test_a_scraper_that_asks_for_openmetrics_gets_it(telemetry: Telemetry) -> None:
    telemetry.published({"public.orders": 1}, 1)
    body, content_type = Exposition(telemetry).render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]  # has no type hints
    names = [family.name for family in families]
    assert "liberator_events" in names


def test_two_connectors_of_one_process_do_not_mix(telemetry: Telemetry) -> None:
    other = Telemetry("other")
    other.published({"public.orders": 7}, 1)
    telemetry.published({"public.orders": 1}, 1)
    assert samples(telemetry)["liberator_events_total"] == [({"table": "public.orders"}, 1.0)]
    assert samples(other)["liberator_events_total"] == [({"table": "public.orders"}, 7.0)]


def test_a_connector_without_an_endpoint_loads_neither_prometheus_nor_rich() -> None:
    code = (
        "import sys, liberator.observe.telemetry, liberator.observe.server, liberator.observe.progress, "
        "liberator.observe.logs\n"
        "print([name for name in ('prometheus_client', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
