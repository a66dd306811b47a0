"""The numbers of one running sink: the dispatch loop writes, the endpoint and the progress display read.

Enters: counts and durations, once per batch or invocation. Leaves: `snapshot`, the JSON of ``/status``. It is what the loop
calls its watch (`protocols.DispatchWatch`). The rest is as in `telemetry`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from liberator.change import ConsumedBatch
from liberator.errors import FunctionError
from liberator.observe.telemetry import Health, Telemetry

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram of durations, seconds."""

_RECENT = 2_000
"""Invocations that the percentiles look back."""


class _Invocations:
    """What is known of the calls."""

    def __init__(self) -> None:
        self.total = self.failed = self.retries = self.events = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self.fills: deque[int] = deque(maxlen=_RECENT)

    def percentile(self, share: float) -> float | None:
        """Seconds within which this share of the recent ones ended; None: there were none."""
        if not self.recent:
            return None
        durations = sorted(self.recent)
        return round(durations[min(len(durations) - 1, int(share * len(durations)))], 6)


class SinkTelemetry(Telemetry):
    """As `Telemetry`. Its events are those that were read; they are durable when they are done.

    batch_size: most events of an invocation. patience: seconds that an invocation may take. guarantee: what the
    configuration promises. has_stream: its events come from one, where they can wait.
    """

    stalled_words = "nothing was done for {seconds:.0f} s; {count} events wait"

    def __init__(
        self,
        name: str,
        *,
        batch_size: int,
        patience: float,
        guarantee: Mapping[str, Any] | None = None,
        has_stream: bool = True,
        now: Callable[[], float] = time.time,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, now=now, tick=tick, stalled_after=patience + 60.0)
        self._batch_size = batch_size
        self._guarantee = guarantee
        self._has_stream = has_stream
        self._invocations = _Invocations()
        self._lag: int | None = None
        self._own_lag = 0
        self._circuit: dict[str, Any] | None = None
        self._cold_starts = 0
        self._cold_start_seconds: float | None = None
        self._workers: int | None = None

    @property
    def finished(self) -> int:
        """Events that are done."""
        return self._counts.durable

    # -- written by the loop: see `DispatchWatch`

    def received(self, batch: ConsumedBatch) -> None:
        """Events were read."""
        self.published(Counter(batch.topics), batch.size())

    def begun(self, events: int, attempt: int) -> None:
        """An invocation began."""
        with self._lock:
            it = self._invocations
            it.total += 1
            it.events += events
            it.retries += attempt > 1
            it.fills.append(events)

    def ended(self, seconds: float, failures: Mapping[int, FunctionError]) -> None:
        """An invocation ended."""
        with self._lock:
            it = self._invocations
            it.failed += bool(failures)
            it.seconds += seconds
            it.recent.append(seconds)
            bucket = next((i for i, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
            it.buckets[bucket] += 1
        for code in {error.code for error in failures.values()}:
            self.error(code)

    def done(self, count: int) -> None:
        """Events are done."""
        self.durable(count)

    def given_up(self, topic: str) -> None:
        """An event is not tried any more."""
        self.dead_letter(topic)

    def forgotten(self, count: int) -> None:
        """Events that were read are not to be done here any more."""
        self.withdrawn(count)

    def lag(self, events: int, ours: int) -> None:
        """How far behind the group is, and this member of it."""
        self._lag, self._own_lag = events, ours

    def committed(self) -> None:
        """Offsets were committed."""
        self.checkpoint_saved(self._now())

    def circuit(self, state: str, code: str | None, pause: float) -> None:
        """The circuit breaker is there, or changes. code: of what opened it. pause: seconds until the next call."""
        with self._lock:
            before = self._circuit or {"state": "closed", "opened": 0}
            self._circuit = {
                "state": state,
                "opened": before["opened"] + (state == "open" and before["state"] == "closed"),
                "code": code,
                "pause_seconds": round(pause, 3),
            }

    # -- written by whatever runs the function in processes: see `liberator.function.process.WorkerWatch`

    def behind(self) -> int | None:
        """Events that are not done: as many of them as are in partitions of ours, or as were read here since that was asked.
        None: of a sink without a stream, whose callers wait."""
        if not self._has_stream:
            return None
        return max(self._own_lag, self._counts.in_flight)

    def cold_start(self) -> None:
        """A worker process is started."""
        self._cold_starts += 1

    def worker_ready(self, seconds: float) -> None:
        """It can be called, so long after it was started."""
        self._cold_start_seconds = seconds

    def workers(self, running: int) -> None:
        """So many there are now."""
        self._workers = running

    # -- read by everybody else

    def _health(self, tick: float) -> Health:
        health = super()._health(tick)
        circuit = self._circuit
        if circuit is None or circuit["state"] == "closed":
            return health
        why = f"the function is left alone, as it fails every time ({circuit['code']})"
        return Health(health.live, False, (*health.reasons, why))

    def snapshot(self) -> dict[str, Any]:
        """Everything, as the JSON of ``/status``."""
        status = super().snapshot()
        with self._lock:
            it = self._invocations
            filled = sum(it.fills) / len(it.fills) if it.fills else None
            status["invocations"] = {
                "total": it.total,
                "failed": it.failed,
                "retries": it.retries,
                "events": it.events,
                "batch_events": None if filled is None else round(filled, 1),
                "batch_fill_ratio": None if filled is None else round(filled / self._batch_size, 4),
                "seconds": {
                    "sum": round(it.seconds, 6),
                    "p50": it.percentile(0.5),
                    "p95": it.percentile(0.95),
                    "p99": it.percentile(0.99),
                },
                "buckets": list(it.buckets),
                "cold_starts": self._cold_starts,
                "cold_start_seconds": self._cold_start_seconds and round(self._cold_start_seconds, 6),
                "workers": self._workers,
            }
        status["circuit"] = self._circuit
        status["guarantee"] = self._guarantee
        status["lag"]["events"] = self._lag
        status["events"]["topics"] = status["events"].pop("tables")
        status["dead_letters"]["topics"] = status["dead_letters"].pop("tables")
        status["committed"] = status.pop("checkpoint")
        for of_sources in ("position", "snapshot"):
            status[of_sources] = None
        return status
