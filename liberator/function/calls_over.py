"""Calls of a function in a worker process: asked there, done here.

Enters: a connection beside the one for invocations. Leaves: answers, or why there is none. One call of a worker at a time:
whoever wants several side by side calls steps that are.
"""

from __future__ import annotations

import contextlib
import threading
from multiprocessing.connection import Connection
from typing import Any

from liberator.change import Event
from liberator.errors import FunctionError, LiberatorError
from liberator.function.calls import Answer, Calls

Asked = tuple[str, Event, "float | None"]


class CallsOver:
    """See `liberator.function.calls.Calls`; in the worker, for several threads. descriptor: of the connection."""

    def __init__(self, descriptor: int) -> None:
        self._connection: Connection[Any, Any] = Connection(descriptor)
        self._lock = threading.Lock()

    def call(self, name: str, event: Event, left: float | None) -> Answer:
        """See `Calls`."""
        with self._lock:
            self._connection.send((name, event, left))
            answer = self._connection.recv()
        if isinstance(answer, FunctionError):
            raise answer
        assert isinstance(answer, Answer)
        return answer


def serve(connection: Connection[Any, Any], calls: Calls) -> None:
    """In the connector: do what a worker asks for, in a thread that ends when the worker does."""

    def follow() -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                connection.send(_done(calls, connection.recv()))

    threading.Thread(target=follow, name="calls", daemon=True).start()


def _done(calls: Calls, asked: Asked) -> Answer | FunctionError:
    try:
        return calls.call(*asked)
    except FunctionError as error:
        return error
    except LiberatorError as error:
        return FunctionError(error.what, code=error.code, where=error.where, fix=error.fix)
    except Exception as error:  # a defect in liberator: the worker waits for an answer
        return FunctionError(f"calling failed: {error!r}", code="function.failed", retryable=True)
