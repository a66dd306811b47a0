"""Log records of a function in a worker process: written there, shown here.

Enters: records, over a connection of their own. Leaves: the same in the connector's log, at its level, in its form and
without its secrets, of which the worker knows nothing. What a function prints does not come this way.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

Said = tuple[str, int, str, float, dict[str, Any]]
"""Logger, level, message, seconds since the Unix epoch, further fields."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogsOver(logging.Handler):
    """In the worker. descriptor: of the connection. tracebacks: are they wanted?"""

    def __init__(self, descriptor: int, *, tracebacks: bool) -> None:
        super().__init__()
        self._connection: Connection[Said, Any] = Connection(descriptor)
        self._tracebacks = tracebacks

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            said = self._said(record)
        except Exception as error:  # its arguments are the function's: the caller is not to fail for them
            what = f"a record (line {record.lineno}) can't be shown: {type(error).__name__}"
            said = (record.name, record.levelno, what, record.created, {})
        with contextlib.suppress(OSError):  # the connector is gone
            self._connection.send(said)

    def _said(self, record: logging.LogRecord) -> Said:
        message = record.getMessage()
        fields = {
            name: value if value is None or type(value) in (bool, int, float) else str(value)
            for name, value in vars(record).items()
            if name not in _STANDARD
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and self._tracebacks:
            message += "\n" + "".join(traceback.format_exception(error)).rstrip()
        elif error is not None:
            fields["error"] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return record.name, record.levelno, message, record.created, fields


def log_in_worker(descriptor: int, level: int) -> None:
    """Send what is logged in this process to the connector. level: of liberator's own loggers, which the function's is one
    of; others speak from info on."""
    root = logging.getLogger()
    root.addHandler(LogsOver(descriptor, tracebacks=level <= logging.DEBUG))
    root.setLevel(max(level, logging.INFO))
    logging.getLogger("liberator").setLevel(level)


def level_for_worker() -> int:
    """The level of liberator's own loggers here."""
    return logging.getLogger("liberator").getEffectiveLevel()


def show(connection: Connection[Any, Said]) -> threading.Thread:
    """In the connector: log what a worker says, in a thread that ends when the worker does."""

    def follow() -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                name, level, message, created, fields = connection.recv()
                logger = logging.getLogger(name)
                record = logger.makeRecord(name, level, "", 0, message, (), None, extra=fields)
                record.created = created
                logger.handle(record)

    thread = threading.Thread(target=follow, name="worker's log", daemon=True)
    thread.start()
    return thread
