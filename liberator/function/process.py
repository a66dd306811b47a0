"""Invocations in worker processes: a function that hangs is killed, one that crashes takes nobody with it.

Enters: events. Leaves: outcomes; a worker that is killed or dies fails all events of its invocation. Called by the
dispatch loop. How many workers there are follows what is waiting: the first event starts one (cold start), every
`lag_per_worker` events that are behind one more, up to `most`; the worker that worked last works next, so that those
that are not needed any more become idle, and end, down to `least`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

from liberator.change import Event
from liberator.errors import FunctionError, LiberatorError
from liberator.function.calls import Calls
from liberator.function.environment import clean_environment
from liberator.function.state import StateSettings
from liberator.function.worker_process import WorkerProcess
from liberator.protocols import Outcome

log = logging.getLogger(__name__)

_START_WITHIN = 60.0
"""Seconds for a worker to import the function and run its ``init``."""

_END_WITHIN = 1.0
"""Seconds for idle workers to run their ``close`` before they are killed."""

_WARM_AGAIN = 1.0
"""Seconds after the death of a worker before one is started that nobody waits for."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """timeout: seconds of an invocation. least, most: workers; least 0: none while nothing comes. lag_per_worker: as many
    events that are behind ask for one worker. idle: seconds after which a worker above the least ends. memory: bytes that
    each may take beyond what it has when it is ready, 0: no limit. environment: variables that workers have. state: where
    the function remembers things; it goes over the connection, so that no list of processes shows it. calls: what the
    function may call; it is done here, None: nothing."""

    timeout: float = 30.0
    least: int = 0
    most: int = 8
    lag_per_worker: int = 1_000
    idle: float = 300.0
    memory: int = 0
    environment: Mapping[str, str] = field(default_factory=clean_environment)
    state: StateSettings | None = None
    calls: Calls | None = None


class WorkerWatch(Protocol):
    """Who knows how much is waiting, and is told of workers."""

    def behind(self) -> int | None:
        """Events that are not done, about; None: what comes is not to wait for a worker."""

    def cold_start(self) -> None:
        """A worker is started."""

    def worker_ready(self, seconds: float) -> None:
        """A worker can take its first invocation, `seconds` after it was started."""

    def workers(self, running: int) -> None:
        """So many there are now."""


class _Nobody:
    """Has every invocation at once."""

    def behind(self) -> int | None:
        return None

    def cold_start(self) -> None:
        pass

    def worker_ready(self, seconds: float) -> None:
        pass

    def workers(self, running: int) -> None:
        pass


class ProcessInvocations:
    """See `liberator.protocols.Invocations`. Raises what a worker says that can't start: `ConfigError`, `FunctionError`."""

    def __init__(
        self, target: str, folder: Path, settings: WorkerSettings, watch: WorkerWatch | None = None
    ) -> None:
        self._target = target
        self._folder = folder
        self._settings = settings
        self._watch: WorkerWatch = watch or _Nobody()
        self._workers: list[WorkerProcess] = []
        self._ended: list[tuple[int, Outcome]] = []
        self._warm_at = 0.0
        self.cold_starts = 0
        """Workers that were started so far."""
        self._watch.workers(0)
        self._keep_warm()

    def free(self) -> int:
        """How many invocations could begin now."""
        return max(0, self._wanted() - sum(worker.number is not None for worker in self._workers))

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Give events to the idle worker that worked last, or to a new one."""
        idle = [worker for worker in self._workers if worker.number is None]
        worker = max(idle, key=lambda one: (one.ready, one.idle_since), default=None) or self._start()
        worker.number, worker.events, worker.attempt = number, events, attempt
        if worker.ready:
            self._send(worker)

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """What has ended; workers that take too long are killed."""
        self._keep_time()
        if not self._ended:
            talking = {worker.connection: worker for worker in self._workers}
            if talking:
                for connection in wait(list(talking), self._patience(timeout)):
                    self._hear(talking[connection])  # type: ignore[index]  # what was waited for
            elif timeout:
                time.sleep(timeout)
            self._keep_time()
        ended, self._ended = self._ended, []
        return ended

    def close(self, timeout: float) -> None:
        """End all workers, side by side; what still runs is killed."""
        self._remove([worker for worker in self._workers if worker.number is not None], 0.0)
        self._remove(list(self._workers), _END_WITHIN)

    def _wanted(self) -> int:
        """As many workers as what is behind asks for."""
        settings, behind = self._settings, self._watch.behind()
        if behind is None:
            return settings.most
        return min(settings.most, max(settings.least, 1, -(-behind // settings.lag_per_worker)))

    def _start(self) -> WorkerProcess:
        self.cold_starts += 1
        self._watch.cold_start()
        settings = self._settings
        worker = WorkerProcess(
            self._target, self._folder, settings.memory, settings.environment, settings.calls
        )
        worker.deadline = worker.started + _START_WITHIN
        self._workers.append(worker)
        self._watch.workers(len(self._workers))
        return worker

    def _keep_warm(self) -> None:
        """As many as there are to be at the least: of those that died others take the place, but not without a pause."""
        if len(self._workers) < self._settings.least and time.monotonic() >= self._warm_at:
            while len(self._workers) < self._settings.least:
                self._start()

    def _send(self, worker: WorkerProcess) -> None:
        worker.deadline = time.monotonic() + self._settings.timeout
        try:
            settings = self._settings
            worker.send(worker.events, worker.attempt, settings.timeout, settings.state)
        except OSError:
            self._lose(worker, "the worker died", "function.crashed")

    def _hear(self, worker: WorkerProcess) -> None:
        try:
            heard = worker.connection.recv()
        except (EOFError, OSError):
            self._lose(worker, worker.how_it_ended(), "function.crashed")
            return
        if isinstance(heard, LiberatorError):
            self._remove([worker], _END_WITHIN)
            raise heard
        if not worker.ready:
            worker.ready = True
            worker.idle_since = time.monotonic()
            self._watch.worker_ready(worker.idle_since - worker.started)
            if worker.number is not None:
                self._send(worker)
            return
        assert isinstance(heard, Outcome)
        assert worker.number is not None
        self._ended.append((worker.number, heard))
        worker.number, worker.events, worker.idle_since = None, (), time.monotonic()

    def _lose(self, worker: WorkerProcess, what: str, code: str) -> None:
        """A worker is gone, and its invocation with it. Raises `FunctionError` for one that somebody waits for and that
        could not be called yet: no event is to blame for that."""
        self._remove([worker], 0.0)
        self._warm_at = time.monotonic() + _WARM_AGAIN
        if worker.number is not None and not worker.ready:
            what = f"{self._target} could not be made ready: {what}"
            raise FunctionError(what, code="function.init", where=self._target, retryable=True)
        if worker.number is not None:
            error = FunctionError(what, code=code, where=self._target, retryable=True)
            self._ended.append((worker.number, Outcome(dict.fromkeys(range(len(worker.events)), error))))
        else:
            log.warning("%s: %s", self._target, what)

    def _remove(self, workers: Sequence[WorkerProcess], patience: float) -> None:
        """Let them end, side by side; what still runs after `patience` seconds is killed."""
        end = time.monotonic() + patience
        for worker in workers:
            self._workers.remove(worker)
            worker.hang_up()
        for worker in workers:
            worker.end(max(0.0, end - time.monotonic()))
        self._watch.workers(len(self._workers))

    def _keep_time(self) -> None:
        now = time.monotonic()
        for worker in [one for one in self._workers if now >= one.deadline]:
            if not worker.ready:
                self._lose(worker, f"it took longer than {_START_WITHIN:.0f} s", "function.timeout")
            elif worker.number is not None:
                what = f"the function did not end within {self._settings.timeout:g} s"
                self._lose(worker, what, "function.timeout")
        self._rest(now)
        self._keep_warm()

    def _rest(self, now: float) -> None:
        """Those that were idle for long end, the longest idle first, down to the least."""
        idle = [one for one in self._workers if one.ready and one.number is None]
        idle = [one for one in idle if now - one.idle_since >= self._settings.idle]
        too_many = len(self._workers) - self._settings.least
        if idle and too_many > 0:
            self._remove(sorted(idle, key=lambda one: one.idle_since)[:too_many], _END_WITHIN)

    def _patience(self, timeout: float) -> float:
        """As long as the caller waits, but never beyond the next deadline."""
        deadlines = [
            worker.deadline for worker in self._workers if worker.number is not None or not worker.ready
        ]
        return max(0.0, min([timeout, *(deadline - time.monotonic() for deadline in deadlines)]))
