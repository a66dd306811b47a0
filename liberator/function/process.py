"""Invocations in worker processes: a function that hangs is killed, one that crashes takes nobody with it.

Enters: events. Leaves: outcomes; a worker that is killed or dies fails all events of its invocation. Called by the
dispatch loop. Workers start when there is work (cold start) up to `most`, and end when they were idle for a while, down to
`least`.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from liberator.change import Event
from liberator.errors import FunctionError, LiberatorError
from liberator.protocols import Outcome

log = logging.getLogger(__name__)

_START_WITHIN = 60.0
"""Seconds for a worker to import the function and run its ``init``."""

_END_WITHIN = 1.0
"""Seconds between asking a worker to end and killing it."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """timeout: seconds of an invocation. least, most: workers; least 0: none while nothing comes. idle: seconds after
    which a worker above the least ends. memory: bytes that each may take beyond what it has when it is
    ready, 0: no limit."""

    timeout: float = 30.0
    least: int = 0
    most: int = 8
    idle: float = 300.0
    memory: int = 0


class _Worker:
    """One process. ready: it has said that the function can be called. number: of its invocation; None: it is idle."""

    def __init__(self, target: str, folder: Path, memory: int, now: float) -> None:
        ours, theirs = socket.socketpair()
        # The child dies with us: its end of the connection does.
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "liberator.function.worker",
                str(theirs.fileno()),
                target,
                str(folder),
                str(memory),
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a function prints is for people
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path]))},
        )
        theirs.close()
        self.connection: Connection[object, object] = Connection(ours.detach())
        self.ready = False
        self.number: int | None = None
        self.events: Sequence[Event] = ()
        self.attempt = 0
        self.deadline = now + _START_WITHIN
        self.idle_since = now

    def end(self, patience: float) -> None:
        """Ask it to end; kill it when it does not."""
        self.connection.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class ProcessInvocations:
    """See `liberator.protocols.Invocations`. started: called for each worker that is started. Raises what a worker says that
    can't start: `ConfigError`, `FunctionError`."""

    def __init__(
        self,
        target: str,
        folder: Path,
        settings: WorkerSettings,
        started: Callable[[], None] = lambda: None,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._folder = folder
        self._settings = settings
        self._started = started
        self._tick = tick
        self._workers: list[_Worker] = []
        self._lost: list[tuple[int, Outcome]] = []
        self.cold_starts = 0
        """Workers that were started so far."""
        for _ in range(settings.least):
            self._start()

    def free(self) -> int:
        """How many invocations could begin now."""
        return self._settings.most - sum(worker.number is not None for worker in self._workers)

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Give events to an idle worker, or to a new one."""
        idle = [worker for worker in self._workers if worker.number is None]
        worker = max(idle, key=lambda one: one.ready, default=None) or self._start()
        worker.number, worker.events, worker.attempt = number, events, attempt
        if worker.ready:
            self._send(worker)

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """What has ended; workers that take too long are killed."""
        self._keep_time()
        if not self._lost:
            busy = {worker.connection: worker for worker in self._workers}
            if busy:
                for connection in wait(list(busy), self._patience(timeout)):
                    self._hear(busy[connection])  # type: ignore[index]  # what was waited for
            elif timeout:
                time.sleep(timeout)
            self._keep_time()
        ended, self._lost = self._lost, []
        return ended

    def close(self, timeout: float) -> None:
        """End all workers; what still runs is killed."""
        for worker in self._workers:
            worker.end(_END_WITHIN if worker.number is None else 0.0)
        self._workers.clear()

    def _start(self) -> _Worker:
        self.cold_starts += 1
        self._started()
        worker = _Worker(self._target, self._folder, self._settings.memory, self._tick())
        self._workers.append(worker)
        return worker

    def _send(self, worker: _Worker) -> None:
        worker.deadline = self._tick() + self._settings.timeout
        try:
            worker.connection.send((list(worker.events), worker.attempt, self._settings.timeout))
        except OSError:
            self._lose(worker, "the worker died", "function.crashed")

    def _hear(self, worker: _Worker) -> None:
        try:
            heard = worker.connection.recv()
        except (EOFError, OSError):
            code = worker.process.wait()
            what = f"the worker was ended by signal {-code}" if code < 0 else f"the worker ended with {code}"
            self._lose(worker, what, "function.crashed")
            return
        if isinstance(heard, LiberatorError):
            self._workers.remove(worker)
            worker.end(_END_WITHIN)
            raise heard
        if not worker.ready:
            worker.ready = True
            if worker.number is not None:
                self._send(worker)
            return
        assert isinstance(heard, Outcome)
        assert worker.number is not None
        self._lost.append((worker.number, heard))
        worker.number, worker.events, worker.idle_since = None, (), self._tick()

    def _lose(self, worker: _Worker, what: str, code: str) -> None:
        """A worker is gone, and its invocation with it."""
        self._workers.remove(worker)
        worker.end(0.0)
        if worker.number is not None:
            error = FunctionError(what, code=code, where=self._target, retryable=True)
            self._lost.append((worker.number, Outcome(dict.fromkeys(range(len(worker.events)), error))))
        else:
            log.warning("%s: %s", self._target, what)

    def _keep_time(self) -> None:
        now = self._tick()
        for worker in list(self._workers):
            if now < worker.deadline:
                continue
            if not worker.ready:
                self._lose(
                    worker, f"the function was not ready within {_START_WITHIN:.0f} s", "function.timeout"
                )
            elif worker.number is not None:
                limit = f"{self._settings.timeout:g} s"
                self._lose(worker, f"the function did not end within {limit}", "function.timeout")
        for worker in list(self._workers):
            idle = worker.ready and worker.number is None and now - worker.idle_since >= self._settings.idle
            if idle and len(self._workers) > self._settings.least:
                self._workers.remove(worker)
                worker.end(_END_WITHIN)

    def _patience(self, timeout: float) -> float:
        """As long as the caller waits, but never beyond the next deadline."""
        deadlines = [
            worker.deadline for worker in self._workers if worker.number is not None or not worker.ready
        ]
        return max(0.0, min([timeout, *(deadline - self._tick() for deadline in deadlines)]))
