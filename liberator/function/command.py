"""A program: events as lines of JSON on its standard input, what it publishes as lines of JSON on its standard output.

Enters: events. Leaves: an `Outcome`. Called in a thread, for each invocation a process of its own. It has ended well when
it ends with 0; 65 (sysexits' EX_DATAERR) means that these events will never work. What it says on standard error goes to
ours, and its last lines into the error.

A line in: ``{"topic", "partition", "offset", "timestamp", "id", "key", "value", "headers"}``; key and value as JSON, or as
``key_base64`` and ``value_base64`` when they are none. A line out: ``{"value"}`` with ``key``, ``topic``, ``headers`` and
``cause`` (the id of the event that it comes of) if they are to be set, or ``{"failed": [ids]}``.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liberator.change import Event, of_streams
from liberator.errors import FunctionError
from liberator.function.cloudevent import is_json
from liberator.function.context import Context
from liberator.function.conversation import TooLate, TooMuch, converse
from liberator.function.environment import clean_environment
from liberator.function.leash import Leash
from liberator.protocols import Outcome

_NEVER = os.EX_DATAERR
MOST_OUTPUT = 16 << 20
"""Bytes that a program may write in an invocation."""

_TAIL = 500
"""Characters of standard error in an error."""


class CommandFunction:
    """See `liberator.function.threads.Callee`. command: program and arguments. folder: where it is run, and looked for.
    environment: the variables that it has; None: what programs need. most: bytes that it may write."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        most: int = MOST_OUTPUT,
    ) -> None:
        self.name = Path(command[0]).name
        self._command = list(command)
        self._folder = folder
        self._environment = clean_environment() if environment is None else environment
        self._most = most
        self._leash = Leash()

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Run it once."""
        try:
            process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self._environment, "LIBERATOR_ATTEMPT": str(context.attempt)},
                start_new_session=True,
            )
        except OSError as error:
            what = f"{self.name} can't be run: {error.strerror or error}"
            fix = "check that the program is there and executable; paths are relative to the connector's file"
            return _all_failed(events, what, "function.command", fix=fix)
        with process, self._leash.hold(process.pid):
            try:
                lines = b"".join(map(_line, of_streams(events)))
                said = converse(process, lines, most=self._most, timeout=context.remaining)
            except (TooLate, TooMuch) as error:
                os.killpg(process.pid, signal.SIGKILL)  # whatever it has started ends with it
                return self._ended(events, error)
        context.log.debug("ended with %d", process.returncode)
        words = said.errors.decode("utf-8", "replace").strip()
        if words:
            context.log.info("%s", words[-_TAIL:])
        if process.returncode != 0:
            what = _how_it_ended(self.name, process.returncode, words)
            return _all_failed(events, what, "function.command", retryable=process.returncode != _NEVER)
        try:
            return _outcome(said.output, events, context)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"{self.name} wrote what is no event: {error}"
            return _all_failed(events, what, "function.result", fix='write lines like {"value": ...}')

    def _ended(self, events: Sequence[Event], error: TooLate | TooMuch) -> Outcome:
        """It was killed."""
        if isinstance(error, TooLate):
            return _all_failed(events, f"{self.name} did not end in time", "function.timeout")
        what = f"{self.name} wrote more than {self._most} bytes"
        fix = "let it write less for an event, or give it fewer at a time (trigger.batch_size)"
        return _all_failed(events, what, "function.output_too_large", fix=fix, retryable=False)

    def close(self) -> None:
        """A program that is still under way is killed."""
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
        b',"%b":%b' % part for part in (*_json("key", event.raw_key), *_json("value", event.raw_value))
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
