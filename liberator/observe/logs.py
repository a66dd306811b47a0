"""Logging for people and for machines: one line a record, on standard error, with every secret struck out.

Enters: log records with `extra` fields. Leaves: text or JSON lines on standard error. Called once by the
command; the library itself only ever asks for loggers. Never writes to standard output, never lets a client
library's debug records through, because those hold keys and values of events.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Literal

from liberator.errors import ConfigError

Redact = Callable[[str], str]
Format = Literal["text", "json"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_PACKAGE = "liberator"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PRINTS_PARAMETERS = ("sqlalchemy.engine",)
"""Loggers that show parameters of statements, so values of rows, at info already."""


def configure(level: str = "info", format: str = "text", redact: Redact | None = None) -> None:
    """Send all logging to standard error. Calling it again replaces what the earlier call set up.

    level: debug, info, warning or error, for liberator's own loggers; other libraries speak from warning
    on, from info on when it is debug. format: text or json. redact: strikes secrets out of a text. Raises
    `ConfigError`.
    """
    if level not in _LEVELS:
        fix = f"use one of {', '.join(_LEVELS)}"
        raise ConfigError(f"unknown log level {level!r}", code="logs.level", fix=fix)
    if format not in ("text", "json"):
        raise ConfigError(f"unknown log format {format!r}", code="logs.format", fix="use text or json")
    make = JsonFormatter if format == "json" else TextFormatter
    handler = _StderrHandler()
    handler.setFormatter(make(redact or _unchanged, tracebacks=level == "debug"))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    others = logging.INFO if level == "debug" else max(logging.WARNING, _LEVELS[level])
    root.setLevel(others)
    # It sets a level of its own when it is imported without one.
    logging.getLogger("sqlalchemy").setLevel(others)
    logging.getLogger(_PACKAGE).setLevel(_LEVELS[level])
    for name in _PRINTS_PARAMETERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


class _StderrHandler(logging.Handler):
    """Looks standard error up at every record: progress bars replace it, to show records above themselves."""

    def emit(self, record: logging.LogRecord) -> None:
        # What fails here must neither stop the caller nor be shown raw, as logging's own handler would.
        try:
            text = self.format(record)
        except Exception as error:
            text = f"a record of {record.name} (line {record.lineno}) can't be shown: {type(error).__name__}"
        with contextlib.suppress(OSError, ValueError, AttributeError):  # gone, closed, or never there
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


class _Formatter(logging.Formatter):
    def __init__(self, redact: Redact, *, tracebacks: bool) -> None:
        super().__init__()
        self._redact = redact
        self._tracebacks = tracebacks

    def _extras(self, record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
        """The fields given as `extra`, redacted one by one: quoting could hide a secret from a later look."""
        for name, value in vars(record).items():
            if name not in _STANDARD:
                plain = value is None or isinstance(value, bool | int | float)
                yield name, value if plain else self._redact(str(value))
        if record.exc_info and record.exc_info[1] is not None and not self._tracebacks:
            yield "error", self._redact(_one_line(record.exc_info[1]))

    def _traceback(self, record: logging.LogRecord) -> str | None:
        if not (record.exc_info and self._tracebacks):
            return None
        return self._redact(_trace(record.exc_info))


class TextFormatter(_Formatter):
    """``2026-11-22T11:12:22.123Z INFO    capture  streaming  table=public.orders``."""

    def format(self, record: logging.LogRecord) -> str:
        message = self._redact(record.getMessage()).replace("\n", "\n  ")
        parts = [f"{_utc(record)} {record.levelname:<7} {_short(record.name)}  {message}"]
        fields = " ".join(f"{name}={_field(value)}" for name, value in self._extras(record))
        if fields:
            parts.append(f"  {fields}")
        trace = self._traceback(record)
        if trace:
            parts.append(f"\n{trace}")
        return self._redact("".join(parts))


class JsonFormatter(_Formatter):
    """One JSON object a line: time, level, logger, message, then the extras under their own names."""

    def format(self, record: logging.LogRecord) -> str:
        report: dict[str, Any] = dict(self._extras(record))
        trace = self._traceback(record)
        if trace:
            report["traceback"] = trace
        fixed = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        report = {**fixed, **{name: value for name, value in report.items() if name not in fixed}}
        return self._redact(json.dumps(report, ensure_ascii=False))


def json_line(
    level: str, logger: str, message: str, redact: Redact, *, cause: Exception | None = None, **fields: str
) -> str:
    """What no log record was made for, in the form that records have. cause: shown with its traceback."""
    record = logging.makeLogRecord({"name": logger, "levelname": level, "msg": message, **fields})
    if cause is not None:
        record.exc_info = (type(cause), cause, cause.__traceback__)
    return JsonFormatter(redact, tracebacks=True).format(record)


def _utc(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _short(name: str) -> str:
    return name.removeprefix(f"{_PACKAGE}.")


def _field(value: object) -> str:
    text = str(value)
    bare = text and not any(character.isspace() or character in "\"'=" for character in text)
    return text if bare and text.isprintable() else json.dumps(text, ensure_ascii=False)


def _one_line(error: BaseException) -> str:
    # Servers put values of rows into the lines that follow the first (DETAIL: Key (id)=(7) ...).
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _trace(
    info: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
) -> str:
    return "".join(traceback.format_exception(*info)).rstrip("\n")


def _unchanged(text: str) -> str:
    return text
