"""One worker process as its connector sees it: started, spoken to, ended. What runs in it is `worker`.

Enters: which function. Leaves: a process with a connection to it. It has an environment of its own, no standard input,
prints to our standard error, and logs into our log. It leads a process group, so that what the function has started is
killed with it; and it does not outlive us, however we end.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from liberator.change import Event, columns_of
from liberator.function.area import Area
from liberator.function.calls import Calls
from liberator.function.calls_over import serve
from liberator.function.logs_over import level_for_worker, show
from liberator.function.state import StateSettings

_LAST_WORDS = 1.0
"""Seconds to show what a worker logged before it ended; more only if a process that it left behind holds the connection."""


@functools.cache
def _starter(process: int) -> ThreadPoolExecutor:
    """The one thread of `process` that starts workers: the kernel ends them with the thread that has started them
    (`end_with_parent`), and steps that run beside each other, and calls, come from threads that end."""
    return ThreadPoolExecutor(1, "starter")


def _started(command: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
    return _starter(os.getpid()).submit(lambda: subprocess.Popen(command, **how)).result()


class WorkerProcess:
    """ready: it has said that the function can be called. number: of its invocation; None: it is idle. deadline: monotonic
    seconds at which it is to be ready, or its invocation done. memory: bytes that the function may take, 0: no limit.
    calls: what it may call, None: nothing."""

    def __init__(
        self,
        target: str,
        folder: Path,
        memory: int,
        environment: Mapping[str, str],
        calls: Calls | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._area = Area()
        served, asking = (None, None) if calls is None else socket.socketpair()
        asked_at = -1 if asking is None else asking.fileno()
        heard, saying = socket.socketpair()
        descriptors = [theirs.fileno(), self._area.descriptor]
        command = [sys.executable, "-m", "liberator.function.worker", *map(str, descriptors)]
        self.process = _started(
            [
                *command,
                target,
                *map(str, (folder, memory, os.getpid(), asked_at, saying.fileno(), level_for_worker())),
            ],
            pass_fds=[*descriptors, saying.fileno(), *([] if asking is None else [asked_at])],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a function prints is for people
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
        theirs.close()
        saying.close()
        self._log = show(Connection(heard.detach()))
        if calls is not None and served is not None and asking is not None:
            asking.close()
            serve(Connection(served.detach()), calls)
        self.connection: Connection[object, object] = Connection(ours.detach())
        self.ready = False
        self.number: int | None = None
        self.events: Sequence[Event] = ()
        self.attempt = 0
        self.started = self.idle_since = time.monotonic()
        self.deadline = self.started

    def send(
        self, events: Sequence[Event], attempt: int, timeout: float, state: StateSettings | None
    ) -> None:
        """Have the function called. Raises `OSError` when the worker is gone."""
        columns = pickle.dumps(columns_of(events), pickle.HIGHEST_PROTOCOL)
        self._area.write(columns)
        self.connection.send((len(columns), attempt, timeout, state))

    def hang_up(self) -> None:
        """End the connection: an idle worker runs the function's ``close``, and ends."""
        self.connection.close()
        self._area.close()

    def end(self, patience: float) -> None:
        """Wait for its end; kill it, and what it has started, when it takes longer."""
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.join(_LAST_WORDS)

    def how_it_ended(self) -> str:
        """In words. It has hung up, which means that it ends."""
        self.end(1.0)
        code = self.process.returncode
        return f"the worker was ended by signal {-code}" if code < 0 else f"the worker ended with {code}"
