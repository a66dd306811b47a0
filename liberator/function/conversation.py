"""What a program is told and what it says, at the same time and within bounds.

Enters: a process with pipes, bytes for its standard input. Leaves: what it wrote, and the end of what it wrote as errors.
Called by `command`. Memory: the output's bound, and the little that is kept of errors, whatever a program writes.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from dataclasses import dataclass

_PART = 1 << 16
"""Bytes read at a time."""

_KEPT = 1 << 13
"""Bytes of standard error that are kept: the last ones."""


class TooLate(Exception):
    """It did not end in time."""


class TooMuch(Exception):
    """It wrote more than it may."""


@dataclass(slots=True)
class Said:
    """output: all of it. errors: the last of them."""

    output: bytes
    errors: bytes


def converse(
    process: subprocess.Popen[bytes], told: bytes, *, most: int, timeout: float | None, goes_on: bool = False
) -> Said:
    """Until it closes both of its outputs, and ends; goes_on: or until an empty line, after which it waits to be told more.
    most: bytes of output. timeout: seconds, None: it has all the time. Raises `TooLate`, `TooMuch`; the process lives on
    then."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    end = None if timeout is None else time.monotonic() + timeout
    rest = memoryview(told)
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        ready.register(process.stdout, selectors.EVENT_READ)
        ready.register(process.stderr, selectors.EVENT_READ)
        ready.register(process.stdin, selectors.EVENT_WRITE)
        while ready.get_map():
            found = ready.select(_left(end))
            if not found and _left(end) == 0:
                raise TooLate
            for key, _ in found:
                if key.fileobj is process.stdin:
                    rest = _tell(process, rest)
                    open_still = bool(rest)
                else:
                    kept = output if key.fileobj is process.stdout else errors
                    part = os.read(key.fd, _PART)
                    kept += part
                    open_still = bool(part)
                if not open_still:
                    ready.unregister(key.fileobj)
                    if key.fileobj is process.stdin and not goes_on:
                        process.stdin.close()  # it hears that this is all
            if len(output) > most:
                raise TooMuch
            del errors[:-_KEPT]
            if goes_on and (output.endswith(b"\n\n") or output == b"\n"):
                return Said(bytes(output), bytes(errors))
    try:
        process.wait(_left(end))
    except subprocess.TimeoutExpired:
        raise TooLate from None
    return Said(bytes(output), bytes(errors))


def _tell(process: subprocess.Popen[bytes], rest: memoryview) -> memoryview:
    """What is left to tell; nothing, when it does not listen any more."""
    assert process.stdin is not None
    try:
        return rest[os.write(process.stdin.fileno(), rest[:_PART]) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())
