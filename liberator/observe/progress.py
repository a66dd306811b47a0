"""What a person sees while a connector runs: bars and a status line on a terminal, else a log line now and
then.

Enters: a `Telemetry`, read on a thread of its own. Leaves: standard error only, because standard output may
carry events. Started and stopped by the command. Writes no row values."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from liberator.observe.telemetry import Telemetry

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.table import Table

log = logging.getLogger(__name__)

DRAW_EVERY = 0.25
LOG_EVERY = 10.0
QUIET_EVERY = 300.0
"""Seconds between two log lines while nothing happens."""
_MOST_BARS = 8


class _Display(Protocol):
    """Where progress goes. Every call gets `Telemetry.snapshot()`."""

    interval: float

    def show(self, status: Mapping[str, Any]) -> None: ...

    def end(self, status: Mapping[str, Any]) -> None: ...


class Progress:
    """Shows a connector's progress on standard error from `start` to `stop`.

    plain: log lines even on a terminal; give True when events go to the same terminal. On anything but a
    terminal it is always plain. The last line of a plain display tells the totals."""

    def __init__(self, telemetry: Telemetry, *, plain: bool = False) -> None:
        self._telemetry = telemetry
        self._display: _Display = PlainDisplay() if plain or not _is_terminal() else BarDisplay()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to show. Once only."""
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Show where things stand, then give the terminal back. Idempotent; harmless without `start`."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Progress:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._display.interval):
                self._display.show(self._telemetry.snapshot())
            self._display.end(self._telemetry.snapshot())
        except (OSError, ValueError):
            # Standard error has gone; there is nobody left to tell.
            return


class PlainDisplay:
    """A log line every `LOG_EVERY` seconds, every `QUIET_EVERY` while nothing moves."""

    interval = LOG_EVERY

    def __init__(self, tick: Callable[[], float] = time.monotonic) -> None:
        self._tick = tick
        self._shown: tuple[object, ...] = ()
        self._shown_at = tick()

    def show(self, status: Mapping[str, Any]) -> None:
        snapshot = status["snapshot"]
        moved = (status["state"], status["events"]["total"], snapshot and snapshot["rows"])
        tick = self._tick()
        if moved == self._shown and tick - self._shown_at < QUIET_EVERY:
            return
        self._shown, self._shown_at = moved, tick
        log.info(status["state"], extra=_fields(status))

    def end(self, status: Mapping[str, Any]) -> None:
        events = status["events"]
        extra = {
            "events": events["total"],
            "durable": events["durable"],
            "seconds": round(status["uptime_seconds"], 1),
        }
        log.info(status["state"], extra=extra)


class BarDisplay:
    """A bar per table that is being read, and one status line, redrawn in place."""

    interval = DRAW_EVERY

    def __init__(self) -> None:
        # Loads rich: only where there is a terminal to draw on.
        from rich.console import Console
        from rich.live import Live

        # Standard output is never taken over: rich would send the events written to it to the terminal.
        self._live: Live = Live(
            console=Console(stderr=True), auto_refresh=False, redirect_stdout=False, redirect_stderr=True
        )

    def show(self, status: Mapping[str, Any]) -> None:
        if not self._live.is_started:
            self._live.start()
            # A second Ctrl-C ends the process at once: nobody would bring a hidden cursor back.
            self._live.console.show_cursor(True)
        self._live.update(render(status), refresh=True)

    def end(self, status: Mapping[str, Any]) -> None:
        try:
            self.show(status)
        finally:
            self._live.stop()


def render(status: Mapping[str, Any]) -> RenderableType:
    """The display of one moment: bars during a snapshot, and the status line."""
    from rich.console import Group
    from rich.text import Text

    line = Text(status_line(status), no_wrap=True, overflow="ellipsis")
    if status["state"] != "snapshot" or status["snapshot"] is None:
        return line
    return Group(_bars(status["snapshot"]["tables"]), line)


def status_line(status: Mapping[str, Any]) -> str:
    """State, rate, total, lag and position in one line."""
    events, lag, position = status["events"], status["lag"], status["position"]
    parts = [status["state"], f"{events['per_second']:,.0f} events/s", f"{events['total']:,} events"]
    if lag["bytes"] is not None and lag["seconds"] is not None:
        parts.append(f"lag {readable_bytes(lag['bytes'])}, {readable_seconds(lag['seconds'])}")
    if lag.get("events") is not None:
        parts.append(f"lag {lag['events']:,} events")
    if position is not None:
        parts.append(f"at {position['source_lsn']}")
    if status["dead_letters"]["total"]:
        parts.append(f"{status['dead_letters']['total']:,} dead letters")
    if status["errors"]["last"] is not None:
        parts.append(f"last error {status['errors']['last']['code']}")
    return "  ".join(parts)


def readable_bytes(count: float) -> str:
    """``0 B``, ``1.5 KiB``, ``2.0 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def readable_seconds(seconds: float) -> str:
    """``0.4 s``, ``2:05``, ``1:00:00``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bars(tables: Mapping[str, Mapping[str, Any]]) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    running = [(name, table) for name, table in tables.items() if not table["done"]]
    grid = Table.grid(padding=(0, 2))
    for name, table in running[:_MOST_BARS]:
        ratio, eta = table["progress_ratio"], table["eta_seconds"]
        grid.add_row(
            Text(name, overflow="ellipsis"),
            ProgressBar(total=1.0 if ratio is not None else None, completed=ratio or 0.0, width=30),
            f"{table['rows']:,} rows",
            f"{table['rows_per_second']:,.0f}/s",
            "" if eta is None else f"{readable_seconds(eta)} left",
        )
    rest = len(running) - _MOST_BARS
    done = len(tables) - len(running)
    if rest > 0 or done:
        words = ([f"{rest} more being read"] if rest > 0 else []) + ([f"{done} tables done"] if done else [])
        grid.add_row(Text(", ".join(words), style="dim"))
    return grid


def _fields(status: Mapping[str, Any]) -> dict[str, Any]:
    """What a log line says: the same numbers as the status line, under the names of ``/status``."""
    events, lag, position, snapshot = (status[part] for part in ("events", "lag", "position", "snapshot"))
    fields: dict[str, Any] = {"events": events["total"], "events_per_second": events["per_second"]}
    if lag["bytes"] is not None:
        fields |= {"lag_bytes": lag["bytes"], "lag_seconds": lag["seconds"]}
    if lag.get("events") is not None:
        fields["lag_events"] = lag["events"]
    if position is not None:
        fields["position"] = position["source_lsn"]
    if snapshot is not None and status["state"] == "snapshot":
        fields |= {"snapshot_rows": snapshot["rows"], "snapshot_tables_done": snapshot["done"]}
        fields["snapshot_tables_reading"] = len(snapshot["tables"]) - snapshot["done"]
        if snapshot["eta_seconds"] is not None:
            fields["eta_seconds"] = snapshot["eta_seconds"]
    return fields


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
