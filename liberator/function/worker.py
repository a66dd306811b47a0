"""A worker process: one function, called for whatever comes over a connection. The other end is `process`.

Enters: events in memory that is shared with the connector, and over the connection word that they are there. Leaves: pickled
outcomes. Started as ``python -m liberator.function.worker FD AREA TARGET FOLDER MEMORY PARENT CALLS LOG LEVEL``; ends when
the connection does, and with the process PARENT, whatever the function does.
"""

from __future__ import annotations

import gc
import pickle
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from liberator.change import ConsumedBatch, Event, events_of
from liberator.errors import LiberatorError
from liberator.function.area import Area
from liberator.function.calls_over import CallsOver
from liberator.function.context import Context
from liberator.function.logs_over import log_in_worker
from liberator.function.python import PythonFunction
from liberator.function.state import Reader, State, StateSettings, open_store
from liberator.orphan import end_with_parent

Call = tuple[int, int, "float | None", "StateSettings | None"]
"""Bytes of the events in the area, which attempt it is, seconds left, where the function remembers things."""

_COLLECT_AFTER = 20_000
"""Objects that are new before the garbage collector looks for cycles among them: more than some batches have."""


def main(
    descriptor: int,
    area: int,
    target: str,
    folder: str,
    memory: int,
    parent: int,
    calls: int,
    logs: int,
    level: int,
) -> None:
    """Serve until the connection ends. descriptor, area: of the connection, and of the `Area` with the events. memory: bytes
    that the function may take once it is ready, 0: no limit. parent: id of the connector's process. calls: descriptor of the
    connection that calls of other functions go over, -1: there is none. logs, level: see `log_in_worker`."""
    end_with_parent(parent, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the connector ends its workers itself
    log_in_worker(logs, level)
    connection: Connection[Any, Call] = Connection(descriptor)
    batches = Area(area)
    try:
        function = PythonFunction(target, Path(folder), None if calls < 0 else CallsOver(calls))
    except LiberatorError as error:
        connection.send(error)
        return
    if memory:
        limit = _taken() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    connection.send(None)
    reader: Reader | None = None
    try:
        while True:
            size, attempt, left, settings = connection.recv()
            events = _events(batches, size)
            deadline = None if left is None else time.monotonic() + left
            reader = reader or (None if settings is None else open_store(settings))
            state = None if reader is None else State(reader)
            connection.send(function.call(events, Context(target, attempt, deadline, state)))
    except (EOFError, ConnectionError):
        pass
    finally:
        function.close()
        if reader is not None:
            reader.close()


def _events(batches: Area, size: int) -> list[Event]:
    with batches.read(size) as data:
        columns: ConsumedBatch = pickle.loads(data)  # of the connector itself, in memory that only we share
    return events_of(columns)


def _taken() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], *map(int, sys.argv[5:]))
