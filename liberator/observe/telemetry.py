"""The numbers of one running connector: the capture loop writes, the endpoint and the progress display read.

Enters: counts and positions, once per batch. Leaves: `snapshot`, the JSON of ``/status``; everything else
that shows numbers is made from it. Called from any thread; one lock, held for a few additions. Never sees a
row, knows no network, no log and no library of metrics. The clocks are passed in.
"""

from __future__ import annotations

import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

import liberator
from liberator.observe.passes import Passes
from liberator.postgres.lsn import format_lsn

StateName = Literal[
    "starting",
    "snapshot",
    "streaming",
    "reconnecting",
    "waiting",
    "standby",
    "draining",
    "stopped",
    "failed",
]
STATES: tuple[StateName, ...] = (
    "starting",
    "snapshot",
    "streaming",
    "reconnecting",
    "waiting",
    "standby",
    "draining",
    "stopped",
    "failed",
)
_WORKING = frozenset({"snapshot", "streaming", "waiting"})
"""States in which the connector does its work. A publisher that pushes back is work too, until it stalls."""
_ENDED = frozenset({"stopped", "failed"})
_CUT_OFF = frozenset({"reconnecting", "waiting", "standby", "failed"})
"""States in which the source can't be heard, so that silence says nothing good."""

RATE_WINDOW = 10.0
"""Seconds that a rate looks back."""

_MOST_ENDS = 1000
"""Ends of the server's log that are kept to tell when it passed our position."""


class Rate:
    """How many a second, over the last `RATE_WINDOW` seconds. Keeps a number per second, not per call."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._buckets: deque[list[float]] = deque()

    def add(self, count: int, tick: float) -> None:
        """Count `count` at `tick` (monotonic seconds)."""
        second = float(int(tick))
        if self._buckets and self._buckets[-1][0] == second:
            self._buckets[-1][1] += count
        else:
            self._buckets.append([second, count])
            self._forget(tick)

    def per_second(self, tick: float) -> float:
        """The mean over the window, or since the start while that is shorter (at least one second)."""
        self._forget(tick)
        return sum(count for _, count in self._buckets) / min(RATE_WINDOW, max(1.0, tick - self._started))

    def _forget(self, tick: float) -> None:
        while self._buckets and self._buckets[0][0] <= tick - RATE_WINDOW:
            self._buckets.popleft()


class _Position:
    """What is known of the way through the source's log.

    first, heard: when (monotonic) the source was heard of first and last. `_ends` are the ends of the server's log, as
    (monotonic seconds, LSN), oldest first; those that were passed are forgotten but for the newest of them.
    """

    def __init__(self, tick: float) -> None:
        self.source_lsn = 0
        self.server_lsn = 0
        self.committed_at: float | None = None
        self.first = self.heard = tick
        self._ends: deque[tuple[float, int]] = deque()

    def move(self, source_lsn: int, server_lsn: int, committed_at: float | None, tick: float) -> None:
        """What the source said at `tick`."""
        self.source_lsn, self.server_lsn, self.heard = source_lsn, server_lsn, tick
        if committed_at is not None:
            self.committed_at = committed_at
        self._ends.append((tick, server_lsn))
        while len(self._ends) > 1 and self._ends[1][1] <= source_lsn:
            self._ends.popleft()
        if len(self._ends) > _MOST_ENDS:
            # Half of them will do: what is forgotten makes the bound looser, never wrong.
            self._ends = deque(end for index, end in enumerate(self._ends) if index % 2 == 0)

    def passed(self) -> float | None:
        """When the server's log ended, as far as was seen, where we are now; None: it was further from the start."""
        tick, lsn = self._ends[0]
        return tick if lsn <= self.source_lsn else None


@dataclass(slots=True)
class _TableSnapshot:
    """One table's way through the snapshot; `estimated` is the planner's guess, None when it has none."""

    estimated: int | None
    rows: int
    resumed: int
    started: float
    rate: Rate
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """live: the loop turns. ready: the connector does its work now. reasons: what speaks against."""

    live: bool
    ready: bool
    reasons: tuple[str, ...]


@dataclass(slots=True)
class _Counts:
    """Everything that only grows."""

    published: int = 0
    published_bytes: int = 0
    durable: int = 0
    withdrawn: int = 0
    reconnects: int = 0
    by_table: dict[str, int] = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        """Events that are waited for."""
        return self.published - self.durable - self.withdrawn


class Telemetry:
    """The state of one connector in numbers.

    now: Unix seconds, tick: monotonic seconds. silence: seconds without word from a connected source after
    which the lag is called unknown and grows. beat_within: seconds within which a living loop calls `beat`.
    stalled_after: seconds after which events that do not become durable count as a stalled publisher.
    """

    stalled_words = "the publisher confirmed nothing for {seconds:.0f} s; {count} events wait"

    def __init__(
        self,
        name: str,
        *,
        now: Callable[[], float] = time.time,
        tick: Callable[[], float] = time.monotonic,
        silence: float = 60.0,
        beat_within: float = 30.0,
        stalled_after: float = 60.0,
    ) -> None:
        self.name = name
        self._now, self._tick = now, tick
        self._silence, self._beat_within, self._stalled_after = silence, beat_within, stalled_after
        self._lock = threading.Lock()
        started = tick()
        self._started = started
        self._started_at = now()
        self._state: StateName = "starting"
        self._state_since = self._started_at
        self._beat = started
        self._counts = _Counts()
        self._rate = Rate(started)
        self._position: _Position | None = None
        self._tables: dict[str, _TableSnapshot] = {}
        self._passes = Passes()
        self._queue = (0, 0)
        self._in_flight_since = started
        self._checkpoint_at: float | None = None
        self._last_error: tuple[str, float] | None = None
        self._versions = {"liberator": liberator.__version__, "python": platform.python_version()}

    # -- written by the loop -----------------------------------------------------------------------

    def beat(self) -> None:
        """The loop has turned once more; call it at least every few seconds, whatever else happens."""
        self._beat = self._tick()

    def state(self, name: StateName) -> None:
        """What the connector does from now on. Saying the same again changes nothing."""
        with self._lock:
            if name != self._state:
                self._state, self._state_since = name, self._now()
            self._beat = self._tick()

    def version(self, part: str, text: str) -> None:
        """A version worth knowing in a report: the server's, the client library's."""
        with self._lock:
            self._versions[part] = text

    def published(self, counts: Mapping[str, int], bytes: int) -> None:
        """A batch was handed to the publisher: events by ``schema.table``, bytes of keys and values."""
        tick, total = self._tick(), sum(counts.values())
        with self._lock:
            if not self._counts.in_flight:
                self._in_flight_since = tick
            by_table = self._counts.by_table
            for table, count in counts.items():
                by_table[table] = by_table.get(table, 0) + count
            self._counts.published += total
            self._counts.published_bytes += bytes
            self._rate.add(total, tick)

    def durable(self, count: int) -> None:
        """`count` more of the published events became durable."""
        with self._lock:
            self._counts.durable += count
            self._in_flight_since = self._tick()

    def withdrawn(self, count: int) -> None:
        """`count` of the published events are not waited for any more, though they did not become durable."""
        with self._lock:
            self._counts.withdrawn += count

    def position(self, source_lsn: int, server_lsn: int, committed_at: float | None) -> None:
        """Everything before `source_lsn` was published; the server's log ends at `server_lsn` (0: it has not said yet,
        so nothing is known); the newest published commit was made at `committed_at` (Unix seconds; None: none yet, or
        not new)."""
        if server_lsn == 0:
            return
        tick = self._tick()
        with self._lock:
            if self._position is None:
                self._position = _Position(tick)
            self._position.move(source_lsn, server_lsn, committed_at, tick)

    def snapshot_started(self, table: str, estimated_rows: int | None, resumed_rows: int = 0) -> None:
        """The snapshot reads `table`, of which `resumed_rows` were read by an earlier run. A negative or no
        estimate means that nobody knows. Starting a table again forgets its earlier progress.
        """
        tick = self._tick()
        estimated = estimated_rows if estimated_rows is not None and estimated_rows >= 0 else None
        with self._lock:
            self._tables[table] = _TableSnapshot(estimated, resumed_rows, resumed_rows, tick, Rate(tick))

    def snapshot_rows(self, table: str, rows: int) -> None:
        """`rows` more rows of `table` were read by the snapshot."""
        tick = self._tick()
        with self._lock:
            progress = self._tables[table]
            progress.rows += rows
            progress.rate.add(rows, tick)

    def snapshot_done(self, table: str) -> None:
        """The snapshot has read `table` to its end."""
        with self._lock:
            self._tables[table].ended = self._tick()

    def pass_started(self, table: str) -> None:
        """A query source begins to look at `table`."""
        with self._lock:
            self._passes.started(table, self._tick())

    def pass_rows(self, table: str, rows: int) -> None:
        """It has found `rows` more rows."""
        with self._lock:
            self._passes.rows(table, rows)

    def pass_done(self, table: str) -> None:
        """It has looked at all of `table`."""
        with self._lock:
            self._passes.done(table)

    def error(self, code: str) -> None:
        """An error with this stable code happened, whether it was survived or not."""
        with self._lock:
            self._counts.errors[code] = self._counts.errors.get(code, 0) + 1
            self._last_error = (code, self._now())

    def reconnect(self) -> None:
        """The source was, or is being, opened again."""
        with self._lock:
            self._counts.reconnects += 1

    def dead_letter(self, table: str, n: int = 1) -> None:
        """`n` events of `table` went to the dead letters."""
        with self._lock:
            self._counts.dead_letters[table] = self._counts.dead_letters.get(table, 0) + n

    def queue(self, bytes: int, limit: int) -> None:
        """Bytes read and not yet durable, and the budget for them."""
        self._queue = (bytes, limit)

    def checkpoint_saved(self, at: float) -> None:
        """A position was saved at `at` (Unix seconds)."""
        self._checkpoint_at = at

    # -- read by everybody else --------------------------------------------------------------------

    def health(self) -> Health:
        """Is the connector alive, and does it do its work?"""
        with self._lock:
            return self._health(self._tick())

    def snapshot(self) -> dict[str, Any]:
        """Everything, as the JSON of ``/status`` (docs/reference/observability.md describes every field)."""
        with self._lock:
            now, tick = self._now(), self._tick()
            health = self._health(tick)
            return {
                "name": self.name,
                "state": self._state,
                "state_since": _iso(self._state_since),
                "started_at": _iso(self._started_at),
                "uptime_seconds": round(tick - self._started, 3),
                "health": {"live": health.live, "ready": health.ready, "reasons": list(health.reasons)},
                "position": self._position_report(),
                "lag": {"bytes": self._lag_bytes(), "seconds": self._lag_seconds(now, tick)},
                "events": self._event_report(tick),
                "snapshot": self._snapshot_report(tick),
                "passes": self._passes.report(tick, self._started),
                "queue": self._queue_report(),
                "checkpoint": self._checkpoint_report(now),
                "errors": self._error_report(),
                "dead_letters": {
                    "total": sum(self._counts.dead_letters.values()),
                    "tables": dict(self._counts.dead_letters),
                },
                "reconnects": self._counts.reconnects,
                "versions": dict(self._versions),
            }

    def _health(self, tick: float) -> Health:
        against: list[str] = []
        live = self._state not in _ENDED
        if not live:
            against.append(f"the connector has {self._state}")
        silent = tick - self._beat
        if self._state not in _ENDED | {"starting"} and silent > self._beat_within:
            live = False
            against.append(f"the loop has not turned for {silent:.0f} s")
        stalled = tick - self._in_flight_since
        in_flight = self._counts.in_flight
        is_stalled = in_flight > 0 and stalled > self._stalled_after
        if is_stalled:
            against.append(self.stalled_words.format(seconds=stalled, count=in_flight))
        working = self._state in _WORKING
        if live and not working:
            against.append(f"the connector is {self._state}")
        return Health(live, live and working and not is_stalled, tuple(against))

    def _lag_bytes(self) -> int | None:
        if self._position is None:
            return None
        return max(0, self._position.server_lsn - self._position.source_lsn)

    def _lag_seconds(self, now: float, tick: float) -> float | None:
        """An upper bound of the age of the oldest commit that was not published.

        That commit is younger than the newest published one, and younger than the moment at which the server's log
        ended where we are now, so both ages bound it: while an idle hour ends with one small commit, or while others
        write to tables that are not captured, the second one is the close one. With nothing outstanding the lag is 0,
        as long as the source was heard of recently.
        """
        position = self._position
        if position is None:
            return None
        if position.source_lsn >= position.server_lsn:
            unheard = tick - position.heard
            patience = 0.0 if self._state in _CUT_OFF else self._silence
            return round(unheard, 3) if unheard > patience else 0.0
        bounds = []
        if position.committed_at is not None:
            bounds.append(now - position.committed_at)
        passed = position.passed()
        if passed is not None:
            bounds.append(tick - passed)
        return round(max(0.0, min(bounds, default=tick - position.first)), 3)

    def _position_report(self) -> dict[str, Any] | None:
        position = self._position
        if position is None:
            return None
        return {
            "source_lsn": format_lsn(position.source_lsn),
            "server_lsn": format_lsn(position.server_lsn),
            "committed_at": None if position.committed_at is None else _iso(position.committed_at),
        }

    def _event_report(self, tick: float) -> dict[str, Any]:
        counts = self._counts
        return {
            "total": counts.published,
            "durable": counts.durable,
            "in_flight": counts.in_flight,
            "per_second": round(self._rate.per_second(tick), 1),
            "bytes": counts.published_bytes,
            "tables": dict(counts.by_table),
        }

    def _snapshot_report(self, tick: float) -> dict[str, Any] | None:
        if not self._tables:
            return None
        tables = {name: _table_report(progress, tick) for name, progress in self._tables.items()}
        left = [table["eta_seconds"] for table in tables.values() if not table["done"]]
        known = [seconds for seconds in left if seconds is not None]
        return {
            "rows": sum(table["rows"] for table in tables.values()),
            "done": sum(table["done"] for table in tables.values()),
            "eta_seconds": max(known, default=0.0) if len(known) == len(left) else None,
            "tables": tables,
        }

    def _queue_report(self) -> dict[str, Any]:
        used, limit = self._queue
        return {"bytes": used, "limit_bytes": limit, "fill_ratio": round(used / limit, 4) if limit else 0.0}

    def _checkpoint_report(self, now: float) -> dict[str, Any] | None:
        if self._checkpoint_at is None:
            return None
        age = round(max(0.0, now - self._checkpoint_at), 3)
        return {"saved_at": _iso(self._checkpoint_at), "age_seconds": age}

    def _error_report(self) -> dict[str, Any]:
        last = self._last_error
        return {
            "total": sum(self._counts.errors.values()),
            "codes": dict(self._counts.errors),
            "last": None if last is None else {"code": last[0], "at": _iso(last[1])},
        }


def _table_report(progress: _TableSnapshot, tick: float) -> dict[str, Any]:
    done = progress.ended is not None
    seconds = (progress.ended if progress.ended is not None else tick) - progress.started
    read = progress.rows - progress.resumed
    ratio: float | None = None
    eta: float | None = None
    if done:
        ratio, eta = 1.0, 0.0
    elif progress.estimated:
        # An estimate that was overtaken says nothing about the rest.
        ratio = min(1.0, progress.rows / progress.estimated)
        left = progress.estimated - progress.rows
        eta = round(left * seconds / read, 1) if read > 0 and left >= 0 else None
    rate = read / max(seconds, 0.001) if done else progress.rate.per_second(tick)
    return {
        "rows": progress.rows,
        "estimated_rows": progress.estimated,
        "progress_ratio": None if ratio is None else round(ratio, 4),
        "rows_per_second": round(rate, 1),
        "eta_seconds": eta,
        "seconds": round(seconds, 3),
        "done": done,
    }


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
