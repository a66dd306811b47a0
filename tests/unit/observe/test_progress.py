"""What a person is shown, without a terminal: log lines, and the text that a terminal would draw."""

from __future__ import annotations

import io
import logging
import threading

import pytest
from rich.console import Console

from liberator.observe import progress as progress_module
from liberator.observe.progress import (
    PlainDisplay,
    Progress,
    readable_bytes,
    readable_seconds,
    render,
    status_line,
)
from liberator.observe.telemetry import Telemetry


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return self.passed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    return Telemetry("shop", now=lambda: 1_800_000_000.0 + clock.passed, tick=clock)


def drawn(telemetry: Telemetry) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(render(telemetry.snapshot()))
    return capture.get()


def fields(record: logging.LogRecord) -> dict[str, object]:
    standard = vars(logging.makeLogRecord({}))
    return {name: value for name, value in vars(record).items() if name not in standard and name != "message"}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "liberator")
    return caplog


def test_a_log_line_has_rate_position_and_lag(
    telemetry: Telemetry, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    telemetry.state("streaming")
    clock.passed = 10
    telemetry.published({"public.orders": 50}, 1)
    telemetry.position(0x10, 0x20, 1_800_000_008.0)
    PlainDisplay(clock).show(telemetry.snapshot())
    assert log.records[0].getMessage() == "streaming"
    assert fields(log.records[0]) == {
        "events": 50,
        "events_per_second": 5.0,
        "lag_bytes": 16,
        "lag_seconds": 2.0,
        "position": "0/10",
    }


def test_a_log_line_of_a_snapshot_has_rows_tables_and_time_left(
    telemetry: Telemetry, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    telemetry.state("snapshot")
    telemetry.snapshot_started("public.orders", 1000)
    telemetry.snapshot_started("public.users", 10)
    clock.passed = 10
    telemetry.snapshot_rows("public.orders", 500)
    telemetry.snapshot_done("public.users")
    PlainDisplay(clock).show(telemetry.snapshot())
    assert fields(log.records[0]) == {
        "events": 0,
        "events_per_second": 0.0,
        "snapshot_rows": 500,
        "snapshot_tables_done": 1,
        "snapshot_tables_reading": 1,
        "eta_seconds": 10.0,
    }


def test_an_idle_connector_fills_no_log(
    telemetry: Telemetry, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    telemetry.state("streaming")
    display = PlainDisplay(clock)
    for _ in range(60):
        clock.passed += 10
        display.show(telemetry.snapshot())
    assert len(log.records) == 2  # at once, and again after five minutes
    telemetry.published({"public.orders": 1}, 1)
    display.show(telemetry.snapshot())
    assert len(log.records) == 3


def test_the_last_log_line_tells_the_totals(
    telemetry: Telemetry, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    telemetry.published({"public.orders": 50}, 1)
    telemetry.durable(40)
    telemetry.state("stopped")
    clock.passed = 2.5
    PlainDisplay(clock).end(telemetry.snapshot())
    assert log.records[0].getMessage() == "stopped"
    assert fields(log.records[0]) == {"events": 50, "durable": 40, "seconds": 2.5}


def test_bars_show_the_tables_being_read(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("snapshot")
    telemetry.snapshot_started("public.users", 10)
    telemetry.snapshot_done("public.users")
    telemetry.snapshot_started("public.orders [bold]", 10_000)
    clock.passed = 10
    telemetry.snapshot_rows("public.orders [bold]", 2_500)
    text = drawn(telemetry)
    assert "public.orders [bold]" in text
    assert "2,500 rows" in text
    assert "250/s" in text
    assert "30.0 s left" in text
    assert "1 tables done" in text
    assert "public.users" not in text


def test_a_hundred_tables_do_not_fill_the_terminal(telemetry: Telemetry) -> None:
    telemetry.state("snapshot")
    for number in range(100):
        telemetry.snapshot_started(f"public.t{number}", None)
    text = drawn(telemetry)
    assert len(text.splitlines()) == 10
    assert "92 more being read" in text


def test_bars_go_when_the_snapshot_is_over(telemetry: Telemetry) -> None:
    telemetry.snapshot_started("public.orders", 10)
    telemetry.snapshot_done("public.orders")
    telemetry.state("streaming")
    assert drawn(telemetry).splitlines() == ["streaming  0 events/s  0 events"]


def test_the_status_line_names_trouble(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.state("streaming")
    telemetry.position(0x10, 0x10 + 3 * 1024 * 1024, None)
    clock.passed = 125
    telemetry.dead_letter("public.orders", 2)
    telemetry.error("source.connection")
    assert status_line(telemetry.snapshot()) == (
        "streaming  0 events/s  0 events  lag 3.0 MiB, 2:05  at 0/10  2 dead letters"
        "  last error source.connection"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 1024**3, "5.0 GiB"), (3 * 1024**4, "3.0 TiB")],
)
def test_bytes_are_readable(count: int, text: str) -> None:
    assert readable_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1:01"), (3661, "1:01:01")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text


def test_progress_shows_from_start_to_stop_and_leaves_no_thread(
    telemetry: Telemetry, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = threading.Event()
    monkeypatch.setattr(progress_module.PlainDisplay, "interval", 0.01)
    monkeypatch.setattr(progress_module.PlainDisplay, "show", lambda display, status: shown.set())
    with Progress(telemetry) as progress:
        assert shown.wait(120)
    progress.stop()
    assert [record.getMessage() for record in log.records] == ["starting"]
    assert not any(thread.name == "progress" for thread in threading.enumerate())


def test_progress_that_never_started_can_be_stopped(
    telemetry: Telemetry, log: pytest.LogCaptureFixture
) -> None:
    Progress(telemetry).stop()
    assert log.records == []
