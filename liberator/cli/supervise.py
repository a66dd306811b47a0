"""One process a connector, and one supervisor over them (they would share one GIL otherwise).

Enters: commands. Leaves: their log lines, each with its connector's name, and one exit code. Called by ``liberate
run``. Never restarts a connector: whoever runs the supervisor (systemd, Kubernetes) does that for all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO

from liberator.config.secrets import redact
from liberator.observe.logs import json_line
from liberator.orphan import end_with_parent, stop_signals

_SUPERVISOR = "LIBERATE_SUPERVISOR_PID"
_TICK = 0.5
"""Seconds between two looks at the clock while nothing ends."""

_LAST_LINES = 1.0
"""Seconds that the log lines of a child that ended have to arrive."""

DRAIN = 15.0
"""Seconds that the others have to end after a failure; a connector itself gives up after ten."""


@dataclass(frozen=True)
class Child:
    """A connector's name and the command that runs it."""

    name: str
    command: Sequence[str]


def supervise(children: Sequence[Child], *, as_json: bool = False, drain: float = DRAIN) -> int:
    """Run `children` until all have ended. Returns the exit code of the first that failed, else 0.

    The first SIGTERM, SIGINT or SIGHUP is passed on as SIGTERM, the second one kills. When a child fails, the others get
    SIGTERM, and after `drain` seconds are killed. as_json: log lines are JSON objects and stay so. Main thread only.
    """
    with _Family(children, as_json) as family:
        return family.wait(drain)


def end_with_supervisor() -> None:
    """In a child: ask the kernel to send SIGTERM when the supervisor dies, however it dies."""
    supervisor = os.environ.pop(_SUPERVISOR, None)
    if supervisor is not None:
        end_with_parent(int(supervisor), signal.SIGTERM)


class _Family:
    """Running children. Their ends come through one queue, in the order in which they happen."""

    def __init__(self, children: Sequence[Child], as_json: bool) -> None:
        self._ends: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._signals = 0
        self._stopping = False
        self._before: dict[signal.Signals, signal.Handlers | object] = {}
        self._as_json = as_json
        self._children = children
        self._running: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> _Family:
        for number in stop_signals():
            self._before[number] = signal.signal(number, self._on_signal)
        try:
            for child in self._children:
                self._start(child)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._send(signal.SIGKILL)
        while self._running:
            self._next_end(None)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal itself returned

    def wait(self, drain: float) -> int:
        """Until all have ended."""
        code, patience = 0, float("inf")
        while self._running:
            ended = self._next_end(_TICK)
            if ended is None:
                patience -= _TICK
            elif ended and not code:
                code, patience = ended, drain
                self._send(signal.SIGTERM)
            if patience <= 0:
                self._send(signal.SIGKILL)
        return code

    def _next_end(self, timeout: float | None) -> int | None:
        """The exit code of the next child that ends; None after `timeout` seconds."""
        try:
            name, ended = self._ends.get(timeout=timeout)
        except queue.Empty:
            return None
        del self._running[name]
        if ended == -signal.SIGTERM and self._stopping:
            return 0  # it had not begun: a connector that runs handles the signal
        if ended < 0:
            _say(_named(name, f"was killed by {signal.Signals(-ended).name}", self._as_json))
        return ended if ended >= 0 else 1

    def _start(self, child: Child) -> None:
        process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, _SUPERVISOR: str(os.getpid())},
            # A terminal's Ctrl-C reaches the supervisor alone, so that a child does not count it twice.
            start_new_session=True,
        )
        self._running[child.name] = process
        threading.Thread(
            target=self._attend, args=(child.name, process), name=child.name, daemon=True
        ).start()

    def _attend(self, name: str, process: subprocess.Popen[str]) -> None:
        reader = threading.Thread(target=self._read, args=(name, process), name=f"{name} log", daemon=True)
        reader.start()
        code = process.wait()
        # Whatever the child itself started may keep its end of the pipe open for as long as it likes.
        reader.join(_LAST_LINES)
        self._ends.put((name, code))

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in _named_lines(name, stream, self._as_json):
                _say(line)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signals and number == signal.SIGHUP:
            return  # a terminal that closes sends it twice
        self._signals += 1
        self._send(signal.SIGTERM if self._signals == 1 else signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        self._stopping = True
        for process in self._running.values():
            if number == signal.SIGKILL and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)  # with what it started itself
            else:
                process.send_signal(number)


def _named_lines(name: str, stream: IO[str], as_json: bool) -> Iterator[str]:
    for line in stream:
        if as_json and line.startswith("{"):
            yield f'{{"connector": {json.dumps(name)}, {line[1:]}'
        else:
            yield _named(name, line.rstrip(), as_json)


def _named(name: str, text: str, as_json: bool) -> str:
    """What is no log record: the words of an interpreter or a library that broke, and our own."""
    if not as_json:
        return f"[{name}] {text}\n"
    return json_line("error", __name__, text, redact, connector=name) + "\n"


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # our own standard error may be gone
        sys.stderr.write(line)
        sys.stderr.flush()
