"""A worker process: one function, called for whatever comes over a connection. The other end is `process`.

Enters: pickled (events, attempt, seconds left). Leaves: pickled outcomes. Started as ``python -m liberator.function.worker
FD TARGET FOLDER MEMORY PARENT``; ends when the connection does, and with the process PARENT, whatever the function does.
"""

from __future__ import annotations

import gc
import logging
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from liberator.change import ConsumedBatch, events_of
from liberator.errors import LiberatorError
from liberator.function.context import Context
from liberator.function.python import PythonFunction
from liberator.function.state import Reader, State, StateSettings, open_store
from liberator.orphan import end_with_parent

Call = tuple[ConsumedBatch, int, "float | None", "StateSettings | None"]
"""Events as columns, which attempt it is, seconds left, where the function remembers things."""


def main(descriptor: int, target: str, folder: str, memory: int, parent: int) -> None:
    """Serve until the connection ends. memory: bytes that the function may take once it is ready, 0: no limit. parent: id of
    the connector's process."""
    end_with_parent(parent, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the connector ends its workers itself
    logging.basicConfig(level=logging.INFO, format="%(levelname)-7s %(name)s  %(message)s")
    connection: Connection[Any, Call] = Connection(descriptor)
    try:
        function = PythonFunction(target, Path(folder))
    except LiberatorError as error:
        connection.send(error)
        return
    if memory:
        limit = _taken() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    gc.freeze()
    connection.send(None)
    reader: Reader | None = None
    try:
        while True:
            columns, attempt, left, settings = connection.recv()
            deadline = None if left is None else time.monotonic() + left
            reader = reader or (None if settings is None else open_store(settings))
            state = None if reader is None else State(reader)
            connection.send(function.call(events_of(columns), Context(target, attempt, deadline, state)))
    except (EOFError, ConnectionError):
        pass
    finally:
        function.close()
        if reader is not None:
            reader.close()


def _taken() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
