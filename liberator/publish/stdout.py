"""Events to standard output, one JSON object a line.

Enters: encoded batches. Leaves: lines, and the states whose lines the reader's pipe has taken. Called by the
capture loop. Never blocks on a reader that has stopped reading, and never writes anything but data.
"""

from __future__ import annotations

import io
import os
import select
import stat
import time
from collections import deque
from typing import BinaryIO

from liberator.change import EncodedBatch, State
from liberator.errors import PublishError
from liberator.publish.ndjson import encode

# A pipe that polls as writable takes this much without blocking (pipe(7)).
_SAFE_WRITE = select.PIPE_BUF


class StdoutPublisher:
    """Writes to a binary stream. Durable means written: what the reader does with it is the reader's business.

    stream: with a file descriptor, as ``sys.stdout.buffer`` is; anything else that takes bytes will do too. A
    closed pipe raises `PublishError` with code publish.closed_pipe: the events of that batch are not acknowledged.
    """

    owns_state = False

    def __init__(self, stream: BinaryIO) -> None:
        stream.flush()
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._may_stall = self._descriptor is not None and _may_stall(self._descriptor)
        self._unwritten = memoryview(b"")
        self._accepted: deque[State] = deque()
        self._durable: dict[str, bytes] = {}
        self._closed_pipe = False

    def ready(self, timeout: float) -> bool:
        """Is everything written? Waits at most `timeout` seconds for the reader. A pipe whose reader is gone raises, though
        nothing is to be written: an idle database would let nobody see it."""
        self._write(timeout)
        if not self._unwritten and self._is_deserted():
            self._closed_pipe = True
            raise _closed_pipe()
        return not self._unwritten

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        """Take a batch and write as much of it as the reader has room for."""
        if self._closed_pipe:
            raise _closed_pipe()
        lines = encode(batch)
        self._unwritten = memoryview(bytes(self._unwritten) + lines if self._unwritten else lines)
        if state:
            self._accepted.append(state)
        self._write(0)

    def durable(self) -> State | None:
        """The merged states of what was written whole since the last call."""
        self._write(0)
        durable, self._durable = self._durable, {}
        return durable or None

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until the reader has taken everything."""
        self._write(timeout)
        return not self._unwritten

    def close(self) -> None:
        """Forget what was not written; the stream stays open."""
        self._unwritten = memoryview(b"")
        self._accepted.clear()

    def _write(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        try:
            while self._unwritten and self._has_room(max(0.0, deadline - time.monotonic())):
                self._unwritten = self._unwritten[self._write_some() :]
        except BrokenPipeError:
            self._closed_pipe = True
            self.close()
            raise _closed_pipe() from None
        except OSError as error:
            raise PublishError(
                f"standard output could not be written: {error.strerror}",
                code="publish.stdout_failed",
                fix="check where standard output leads (a full disk, a closed terminal)",
            ) from error
        if not self._unwritten:
            while self._accepted:
                self._durable.update(self._accepted.popleft())

    def _has_room(self, timeout: float) -> bool:
        if not self._may_stall or self._descriptor is None:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(timeout * 1000))

    def _is_deserted(self) -> bool:
        if not self._may_stall or self._descriptor is None:
            return False
        poll = select.poll()
        poll.register(self._descriptor, 0)  # a reader that is gone is always reported: poll(2)
        return any(event & select.POLLERR for _, event in poll.poll(0))

    def _write_some(self) -> int:
        if self._descriptor is None:
            self._stream.write(self._unwritten)
            self._stream.flush()
            return len(self._unwritten)
        if self._may_stall:
            return os.write(self._descriptor, self._unwritten[:_SAFE_WRITE])
        return os.write(self._descriptor, self._unwritten)


def _descriptor(stream: BinaryIO) -> int | None:
    try:
        return stream.fileno()
    except io.UnsupportedOperation:
        return None


def _may_stall(descriptor: int) -> bool:
    """Pipes, sockets and terminals wait for a reader; files and /dev/null do not."""
    mode = os.fstat(descriptor).st_mode
    return not stat.S_ISREG(mode) and (not stat.S_ISCHR(mode) or os.isatty(descriptor))


def _closed_pipe() -> PublishError:
    return PublishError(
        "the reader of standard output has closed the pipe",
        code="publish.closed_pipe",
        fix="nothing to do if that was meant (as with head); what was not read is published by the next run",
    )
