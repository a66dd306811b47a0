"""What `Telemetry` says about a connector, at times that the test decides."""

from __future__ import annotations

import json
import threading

import pytest

from liberator.observe.telemetry import RATE_WINDOW, STATES, Telemetry

START = 1_800_000_000.0
"""Unix seconds at which every test begins."""


class Clock:
    """Two clocks that move together when told; they begin far apart, so that mixing them up shows."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return START + self.passed

    def tick(self) -> float:
        return 1000.0 + self.passed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry("shop", now=clock.now, tick=clock.tick)


def lag(telemetry: Telemetry) -> tuple[int | None, float | None]:
    report = telemetry.snapshot()["lag"]
    return report["bytes"], report["seconds"]


def test_counts_events_by_table_and_in_all(telemetry: Telemetry) -> None:
    telemetry.published({"public.orders": 3, "public.users": 1}, 400)
    telemetry.published({"public.orders": 2}, 100)
    telemetry.durable(4)
    events = telemetry.snapshot()["events"]
    assert events["tables"] == {"public.orders": 5, "public.users": 1}
    assert (events["total"], events["durable"], events["in_flight"], events["bytes"]) == (6, 4, 2, 500)


def test_the_rate_is_the_mean_of_the_last_ten_seconds(telemetry: Telemetry, clock: Clock) -> None:
    for _ in range(30):
        clock.passed += 1
        telemetry.published({"public.orders": 50}, 1)
    assert telemetry.snapshot()["events"]["per_second"] == 50.0
    clock.passed += 5
    assert telemetry.snapshot()["events"]["per_second"] == pytest.approx(25.0, abs=5.0)
    clock.passed += RATE_WINDOW
    assert telemetry.snapshot()["events"]["per_second"] == 0.0


def test_a_young_connector_has_a_rate_over_its_own_age(telemetry: Telemetry, clock: Clock) -> None:
    clock.passed += 2
    telemetry.published({"public.orders": 100}, 1)
    assert telemetry.snapshot()["events"]["per_second"] == 50.0


def test_lag_is_unknown_before_the_source_was_heard_of(telemetry: Telemetry) -> None:
    assert lag(telemetry) == (None, None)
    assert telemetry.snapshot()["position"] is None


def test_lag_is_unknown_until_the_server_has_told_how_far_it_is(telemetry: Telemetry) -> None:
    telemetry.position(100, 0, None)
    assert lag(telemetry) == (None, None)


def test_lag_is_zero_on_an_idle_database(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    telemetry.position(100, 100, clock.now())
    for _ in range(360):
        clock.passed += 10
        telemetry.position(100, 100, None)
    assert lag(telemetry) == (0, 0.0)


def test_lag_grows_while_the_source_has_more_than_was_published(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    telemetry.position(100, 100, clock.now())
    clock.passed += 1
    telemetry.position(100, 5100, None)
    clock.passed += 20
    assert lag(telemetry) == (5000, 21.0)


def test_one_commit_after_an_idle_hour_does_not_look_an_hour_old(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    telemetry.position(100, 100, clock.now())
    clock.passed += 3600
    telemetry.position(100, 100, None)
    clock.passed += 2
    telemetry.position(100, 200, None)
    assert lag(telemetry) == (100, 2.0)


def test_writes_to_tables_that_are_not_captured_make_no_lasting_lag(
    telemetry: Telemetry, clock: Clock
) -> None:
    telemetry.state("streaming")
    telemetry.position(1000, 1000, clock.now())
    for second in range(1, 3601):
        clock.passed += 1
        server = 1000 + 10 * second
        idle = 1000 + 10 * (second // 10 * 10)  # told every ten seconds, and never up to the end
        telemetry.position(idle - 5, server, None)
        assert 0.0 < (lag(telemetry)[1] or 0.0) <= 11.0


def test_a_long_way_behind_needs_no_more_memory(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    for second in range(1, 10_001):
        clock.passed += 1
        telemetry.position(0, second, None)
    clock.passed += 1
    telemetry.position(9000, 10_000, None)
    assert 1001.0 <= (lag(telemetry)[1] or 0.0) <= 1100.0


def test_catching_up_shows_the_age_of_the_newest_published_commit(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    telemetry.position(100, 9000, clock.now() - 7200)
    assert lag(telemetry) == (8900, 7200.0)
    clock.passed += 60
    telemetry.position(5000, 9500, clock.now() - 300)
    assert lag(telemetry) == (4500, 300.0)


def test_without_any_published_commit_lag_counts_from_the_first_word_of_the_source(
    telemetry: Telemetry, clock: Clock
) -> None:
    telemetry.position(0, 500, None)
    clock.passed += 7
    telemetry.position(0, 900, None)
    assert lag(telemetry) == (900, 7.0)


def test_a_server_whose_clock_is_ahead_gives_no_negative_lag(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.position(100, 200, clock.now() + 30)
    assert lag(telemetry) == (100, 0.0)


def test_silence_of_a_connected_source_becomes_lag_after_a_while(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    telemetry.position(100, 100, clock.now())
    clock.passed += 59
    assert lag(telemetry)[1] == 0.0
    clock.passed += 2
    assert lag(telemetry)[1] == 61.0


@pytest.mark.parametrize("state", ["reconnecting", "waiting", "standby", "failed"])
def test_a_source_that_cannot_be_heard_is_lag_at_once(state: str, telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    telemetry.position(100, 100, clock.now())
    telemetry.state(next(name for name in STATES if name == state))
    clock.passed += 3
    assert lag(telemetry) == (0, 3.0)


def test_the_position_is_written_as_postgres_writes_it(telemetry: Telemetry) -> None:
    telemetry.position(0x16_B374_D848, 0x16_B374_D900, START)
    assert telemetry.snapshot()["position"] == {
        "source_lsn": "16/B374D848",
        "server_lsn": "16/B374D900",
        "committed_at": "2027-01-15T08:00:00.000Z",
    }


def test_a_position_without_a_commit_time_keeps_the_last_one(telemetry: Telemetry) -> None:
    telemetry.position(100, 100, START)
    telemetry.position(150, 150, None)
    assert telemetry.snapshot()["position"]["committed_at"] == "2027-01-15T08:00:00.000Z"


def test_snapshot_progress_has_rate_share_and_time_left(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.snapshot_started("public.orders", 1000)
    for _ in range(20):
        clock.passed += 1
        telemetry.snapshot_rows("public.orders", 10)
    report = telemetry.snapshot()["snapshot"]["tables"]["public.orders"]
    assert (report["rows"], report["progress_ratio"], report["rows_per_second"]) == (200, 0.2, 10.0)
    assert report["eta_seconds"] == 80.0
    assert not report["done"]


def test_a_finished_table_stays_with_its_own_duration(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.snapshot_started("public.orders", 90)
    clock.passed += 2
    telemetry.snapshot_rows("public.orders", 100)
    telemetry.snapshot_done("public.orders")
    clock.passed += 100
    report = telemetry.snapshot()["snapshot"]
    table = report["tables"]["public.orders"]
    assert (table["done"], table["progress_ratio"], table["seconds"]) == (True, 1.0, 2.0)
    assert (table["rows_per_second"], table["eta_seconds"]) == (50.0, 0.0)
    assert (report["rows"], report["done"], report["eta_seconds"]) == (100, 1, 0.0)


@pytest.mark.parametrize("estimate", [None, -1, 0])
def test_a_table_without_an_estimate_promises_no_end(
    estimate: int | None, telemetry: Telemetry, clock: Clock
) -> None:
    telemetry.snapshot_started("public.orders", estimate)
    clock.passed += 1
    telemetry.snapshot_rows("public.orders", 10)
    report = telemetry.snapshot()["snapshot"]
    assert report["tables"]["public.orders"]["progress_ratio"] is None
    assert report["eta_seconds"] is None


def test_an_overtaken_estimate_promises_no_end(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.snapshot_started("public.orders", 5)
    clock.passed += 1
    telemetry.snapshot_rows("public.orders", 10)
    table = telemetry.snapshot()["snapshot"]["tables"]["public.orders"]
    assert (table["progress_ratio"], table["eta_seconds"]) == (1.0, None)


def test_a_resumed_table_counts_earlier_rows_but_not_in_its_rate(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.snapshot_started("public.orders", 1000, resumed_rows=500)
    clock.passed += 10
    telemetry.snapshot_rows("public.orders", 100)
    table = telemetry.snapshot()["snapshot"]["tables"]["public.orders"]
    assert (table["rows"], table["progress_ratio"], table["rows_per_second"]) == (600, 0.6, 10.0)
    assert table["eta_seconds"] == 40.0


def test_reading_a_table_again_begins_at_nothing(telemetry: Telemetry) -> None:
    telemetry.snapshot_started("public.orders", 10)
    telemetry.snapshot_rows("public.orders", 7)
    telemetry.snapshot_started("public.orders", 10)
    assert telemetry.snapshot()["snapshot"]["rows"] == 0


def test_errors_are_counted_by_code_and_the_last_one_is_named(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.error("source.connection")
    telemetry.error("source.connection")
    clock.passed += 1
    telemetry.error("publish.timeout")
    assert telemetry.snapshot()["errors"] == {
        "total": 3,
        "codes": {"source.connection": 2, "publish.timeout": 1},
        "last": {"code": "publish.timeout", "at": "2027-01-15T08:00:01.000Z"},
    }


def test_dead_letters_reconnects_queue_and_checkpoint_are_reported(
    telemetry: Telemetry, clock: Clock
) -> None:
    telemetry.dead_letter("public.orders")
    telemetry.dead_letter("public.orders", 2)
    telemetry.reconnect()
    telemetry.queue(64, 256)
    telemetry.checkpoint_saved(START)
    clock.passed += 4
    status = telemetry.snapshot()
    assert status["dead_letters"] == {"total": 3, "tables": {"public.orders": 3}}
    assert status["reconnects"] == 1
    assert status["queue"] == {"bytes": 64, "limit_bytes": 256, "fill_ratio": 0.25}
    assert status["checkpoint"] == {"saved_at": "2027-01-15T08:00:00.000Z", "age_seconds": 4.0}


def test_a_connector_that_just_starts_is_alive_and_not_ready(telemetry: Telemetry, clock: Clock) -> None:
    clock.passed += 3600  # creating a slot waits for running transactions, however long they take
    health = telemetry.health()
    assert (health.live, health.ready) == (True, False)
    assert health.reasons == ("the connector is starting",)


@pytest.mark.parametrize("state", ["snapshot", "streaming", "waiting"])
def test_a_working_connector_is_ready(state: str, telemetry: Telemetry) -> None:
    telemetry.state(next(name for name in STATES if name == state))
    health = telemetry.health()
    assert (health.live, health.ready, health.reasons) == (True, True, ())


def test_a_loop_that_does_not_turn_is_not_alive(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    clock.passed += 29
    assert telemetry.health().live
    telemetry.beat()
    clock.passed += 31
    health = telemetry.health()
    assert (health.live, health.ready) == (False, False)
    assert health.reasons == ("the loop has not turned for 31 s",)


def test_a_reconnecting_connector_is_alive_but_not_ready(telemetry: Telemetry) -> None:
    telemetry.state("reconnecting")
    health = telemetry.health()
    assert (health.live, health.ready, health.reasons) == (True, False, ("the connector is reconnecting",))


def test_a_failed_connector_is_not_alive(telemetry: Telemetry) -> None:
    telemetry.state("failed")
    health = telemetry.health()
    assert (health.live, health.ready, health.reasons) == (False, False, ("the connector has failed",))


def test_a_stalled_publisher_is_not_ready_but_alive(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    clock.passed += 3600
    telemetry.published({"public.orders": 5}, 1)
    for _ in range(61):
        clock.passed += 1
        telemetry.beat()
        telemetry.published({"public.orders": 1}, 1)
    health = telemetry.health()
    assert (health.live, health.ready) == (True, False)
    assert health.reasons == ("the publisher confirmed nothing for 61 s; 66 events wait",)
    telemetry.durable(1)
    assert telemetry.health().ready


def test_the_state_keeps_the_time_of_its_beginning(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    clock.passed += 10
    telemetry.state("streaming")
    status = telemetry.snapshot()
    assert (status["state"], status["state_since"]) == ("streaming", "2027-01-15T08:00:00.000Z")
    assert status["uptime_seconds"] == 10.0


def test_the_status_names_the_versions_it_was_told(telemetry: Telemetry) -> None:
    telemetry.version("server", "18.6")
    versions = telemetry.snapshot()["versions"]
    assert versions["server"] == "18.6"
    assert {"liberator", "python"} <= set(versions)


def test_the_status_is_json(telemetry: Telemetry) -> None:
    telemetry.snapshot_started("public.orders", 5)
    telemetry.position(1, 2, START)
    telemetry.checkpoint_saved(START)
    telemetry.error("x")
    status = telemetry.snapshot()
    assert json.loads(json.dumps(status, allow_nan=False)) == status


def test_a_report_does_not_change_after_it_was_made(telemetry: Telemetry) -> None:
    telemetry.published({"public.orders": 1}, 1)
    status = telemetry.snapshot()
    telemetry.published({"public.orders": 1}, 1)
    assert status["events"]["tables"] == {"public.orders": 1}


def test_counts_from_many_threads_are_all_there() -> None:
    telemetry = Telemetry("shop")
    telemetry.snapshot_started("public.orders", 10)

    def work() -> None:
        for _ in range(2000):
            telemetry.published({"public.orders": 1}, 2)
            telemetry.durable(1)
            telemetry.snapshot_rows("public.orders", 1)
            telemetry.snapshot()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = telemetry.snapshot()
    assert (status["events"]["total"], status["events"]["durable"], status["events"]["bytes"]) == (
        8000,
        8000,
        16000,
    )
    assert status["snapshot"]["rows"] == 8000
