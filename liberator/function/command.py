"""A program: events as lines of JSON on its standard input, what it publishes as lines of JSON on its standard output.

Enters: events. Leaves: an `Outcome`. Called in a thread, for each invocation a process of its own, or one that is kept. It
has ended well when it ends with 0, one that is kept when it writes an empty line; 65 (sysexits' EX_DATAERR) means that these
events will never work. What it says on standard error goes to ours, and its last lines into the error.

A line in: ``{"topic", "partition", "offset", "timestamp", "id", "key", "value", "headers"}``; key and value as JSON, or as
``key_base64`` and ``value_base64`` when they are none. A line out: ``{"value"}`` with ``key``, ``topic``, ``headers`` and
``cause`` (the id of the event that it comes of) if they are to be set, or ``{"failed": [ids]}``.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import queue
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liberator.change import Event, of_streams
from liberator.errors import ConfigError, FunctionError
from liberator.function.cloudevent import is_json
from liberator.function.context import Context
from liberator.function.conversation import TooLate, TooMuch, converse
from liberator.function.environment import clean_environment
from liberator.function.leash import Leash
from liberator.protocols import Outcome

_NEVER = os.EX_DATAERR
_NO_PROGRAM = frozenset({errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP})
MOST_OUTPUT = 16 << 20
"""Bytes that a program may write in an invocation."""

_END_WITHIN = 1.0
"""Seconds for a program that waits to end by itself."""

_TAIL = 500
"""Characters of standard error in an error."""


@dataclass(frozen=True, slots=True)
class _Program:
    """ending: gives back what the process holds."""

    process: subprocess.Popen[bytes]
    ending: ExitStack


def _put_out(program: _Program) -> None:
    """Whatever it has started ends with it."""
    if program.process.returncode is None:
        os.killpg(program.process.pid, signal.SIGKILL)
    program.ending.close()


class CommandFunction:
    """See `liberator.function.threads.Callee`. command: program and arguments. folder: where it is run, and looked for.
    environment: the variables that it has; None: what programs need. most: bytes that it may write in an invocation. keep:
    it goes on from one invocation to the next, of which an empty line is the end, both ways."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        most: int = MOST_OUTPUT,
        *,
        keep: bool = False,
    ) -> None:
        self.name = Path(command[0]).name
        self._command = list(command)
        self._folder = folder
        self._environment = clean_environment() if environment is None else environment
        self._keep = keep
        self._most = most
        self._leash = Leash()
        self._idle: queue.LifoQueue[_Program] = queue.LifoQueue()

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Run it once; or give it the next events and an empty line. Raises `ConfigError` where there is no program."""
        try:
            program = self._waiting() or self._started(context.attempt)
        except OSError as error:
            what = f"{self.name} can't be run: {error.strerror or error}"
            fix = "check that the program is there and executable; paths are relative to the connector's file"
            if error.errno in _NO_PROGRAM:  # whatever the events are: none of them is to be given up
                raise ConfigError(what, code="function.program", where=self.name, fix=fix) from None
            return _all_failed(events, what, "function.command", fix=fix)
        process = program.process
        lines = b"".join(map(_line, of_streams(events))) + (b"\n" if self._keep else b"")
        answered = False
        try:
            said = converse(process, lines, most=self._most, timeout=context.remaining, goes_on=self._keep)
            answered = True
        except (TooLate, TooMuch) as error:
            return self._ended(events, error)
        finally:
            if answered and self._keep and process.returncode is None:
                self._idle.put(program)
            else:
                _put_out(program)
        words = said.errors.decode("utf-8", "replace").strip()
        if words:
            context.log.info("%s", words[-_TAIL:])
        if process.returncode is not None:
            context.log.debug("ended with %d", process.returncode)
            if process.returncode != 0 or self._keep:
                what = _how_it_ended(self.name, process.returncode, words)
                return _all_failed(events, what, "function.command", retryable=process.returncode != _NEVER)
        try:
            return _outcome(said.output, events, context)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"{self.name} wrote what is no event: {error}"
            return _all_failed(events, what, "function.result", fix='write lines like {"value": ...}')

    def _started(self, attempt: int) -> _Program:
        process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self._environment, **({} if self._keep else {"LIBERATOR_ATTEMPT": str(attempt)})},
            start_new_session=True,
        )
        ending = ExitStack()
        ending.enter_context(process)
        ending.enter_context(self._leash.hold(process.pid))
        return _Program(process, ending)

    def _waiting(self) -> _Program | None:
        """One that is kept, and has not ended since."""
        while True:
            try:
                program = self._idle.get_nowait()
            except queue.Empty:
                return None
            if program.process.poll() is None:
                return program
            program.ending.close()

    def _ended(self, events: Sequence[Event], error: TooLate | TooMuch) -> Outcome:
        """It was killed."""
        if isinstance(error, TooLate):
            return _all_failed(events, f"{self.name} did not end in time", "function.timeout")
        what = f"{self.name} wrote more than {self._most} bytes"
        fix = "let it write less for an event, or give it fewer at a time (trigger.batch_size)"
        return _all_failed(events, what, "function.output_too_large", fix=fix, retryable=False)

    def close(self) -> None:
        """Those that wait hear that this is all; a program that is still under way is killed."""
        waiting = []
        while (program := self._waiting()) is not None:
            assert program.process.stdin is not None
            program.process.stdin.close()
            waiting.append(program)
        for program in waiting:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.process.wait(_END_WITHIN)
            _put_out(program)
        self._leash.close()


def _how_it_ended(name: str, code: int, words: str) -> str:
    end = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
    return f"{name} {end}" + (f": {words[-_TAIL:]}" if words else "")


def _line(event: Event) -> bytes:
    fields: dict[str, Any] = {
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "timestamp": event.timestamp,
        "id": event.id,
        "headers": dict(event.headers),
    }
    # Spliced in as it is: numbers keep their digits.
    rest = b"".join(
        b',"%b":%b' % part for part in (*_json("key", event.key_payload), *_json("value", event.payload))
    )
    return json.dumps(fields, ensure_ascii=False).encode()[:-1] + rest + b"}\n"


def _json(name: str, data: bytes | None) -> list[tuple[bytes, bytes]]:
    if data is None:
        return [(name.encode(), b"null")]
    if not is_json(data):
        return [(name.encode(), b"null"), (f"{name}_base64".encode(), b'"%b"' % base64.b64encode(data))]
    return [(name.encode(), data.translate(_ONE_LINE))]


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def _outcome(given: bytes, events: Sequence[Event], context: Context) -> Outcome:
    context.given(events)
    failed: set[str] = set()
    for line in given.splitlines():
        if not line.strip():
            continue
        fields = json.loads(line)
        if "failed" in fields:
            failed.update(map(str, fields["failed"]))
        if "value" in fields:
            context.publish(
                fields["value"],
                key=fields.get("key"),
                topic=fields.get("topic"),
                headers=fields.get("headers"),
                cause=fields.get("cause"),
            )
        elif "failed" not in fields:
            raise KeyError("value")
    if unknown := failed - {event.id for event in events}:
        raise ValueError(f"{len(unknown)} events failed that it was not given")
    failures = {
        index: FunctionError("the program says so", code="function.partial", retryable=True)
        for index, event in enumerate(events)
        if event.id in failed
    }
    return Outcome(failures, context.outputs)


def _all_failed(
    events: Sequence[Event], what: str, code: str, *, fix: str | None = None, retryable: bool = True
) -> Outcome:
    error = FunctionError(what, code=code, fix=fix, retryable=retryable)
    return Outcome(dict.fromkeys(range(len(events)), error))
