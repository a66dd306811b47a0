"""The thread that owns the replication connection: reads frames into a bounded queue and keeps the server informed.

Enters: a started replication connection and a side connection. Leaves: `Segment`s, in order. Status updates go out on
time even while nobody takes from the queue, so a stalled publisher never lets the walsender time out; when the side
connection is told that the server shuts down, the stream is closed so that it can (Invariant 8). Never decodes rows.
"""

from __future__ import annotations

import logging
import select
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from liberator.errors import LiberatorError, SourceError
from liberator.postgres.replication import ReplicationConnection
from liberator.source.pace import REST, Pace

log = logging.getLogger(__name__)

_U64 = struct.Struct(">Q").unpack_from
_COMMIT_END = 25 + 1 + 1 + 8
"""Offset of the end LSN in an XLogData payload with a Commit message."""
_SEGMENT_FRAMES = 1000
_SEGMENT_BYTES = 512 * 1024
_WAKE = 0.2
_ACK_EVERY = 0.5

_UNANSWERED = 3
_LEAST_SILENCE, _LONGEST_SILENCE = 10.0, 60.0


def patience(interval: float, server_timeout: float, silences: int) -> float:
    """Seconds without an answer after which a server counts as lost, when it is asked every `interval`.

    A server can be too busy to answer: with a huge transaction of tables that are not captured, for one. Had it to begin
    again each time, it would never come to the end. So patience doubles with every of `silences`, those since there was
    progress, up to a minute, or to the `server_timeout` after which the server itself gives up.
    """
    first = max(_LEAST_SILENCE, _UNANSWERED * interval)
    return min(first * 2.0**silences, max(_LONGEST_SILENCE, server_timeout))


@dataclass(slots=True)
class Segment:
    """A stretch of the stream. lsn: safe to resume from once all of it is published, and behind all of it (0: it ends
    inside a transaction). No frames: an idle keepalive."""

    frames: list[bytes]
    lsn: int
    size: int
    server_lsn: int


class StreamReader:
    """Reads until closed. `get` and `acknowledge` may be called from another thread; errors come out of `get`.

    start: where the stream begins. flushed: what the server may forget everything before; never later than start.
    status_interval: seconds between status updates, each of which asks for an answer. silence: seconds without any
    after which the server counts as lost; longer than a few intervals. silent: called then, in the reader's thread.
    """

    def __init__(
        self,
        connection: ReplicationConnection,
        side: psycopg.Connection[Any],
        start: int,
        *,
        flushed: int,
        queue_bytes: int,
        status_interval: float,
        silence: float,
        silent: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._side = side
        self._queue: deque[Segment] = deque()
        self._queued = 0
        self._limit = queue_bytes
        self._changed = threading.Condition()
        self._error: LiberatorError | None = None
        self._closing = False
        self._flushed = flushed
        self._received = start
        self._in_transaction = False
        self._interval = status_interval
        self._silence = silence
        self._silent = silent
        self._alive = _now()
        self._stood_still = 0.0
        self._heard = 0.0
        self._status_due = 0.0
        self._status_flushed = -1
        self._pace = Pace()
        self._ask = False
        self._thread = threading.Thread(target=self._run, name="replication", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def get(self, timeout: float) -> Segment | None:
        """The next segment; None after `timeout` seconds. Raises what ended the stream once all before it is taken."""
        with self._changed:
            if not self._queue and self._error is None:
                self._changed.wait(timeout)
            if self._queue:
                segment = self._queue.popleft()
                self._queued -= segment.size
                self._changed.notify_all()
                return segment
            if self._error is not None:
                raise self._error
            return None

    def stood_still(self) -> float:
        """For how many seconds at most this thread gave no sign of life since the last call; it gives five a second.

        More means that the process was frozen (stopped, paused, asleep with its machine): the slot may be another's by now,
        and what was read before may be old. A process wakes up in any thread, so this is asked before more is taken.
        """
        with self._changed:
            if self._error is None:
                self._live()
            seconds, self._stood_still = self._stood_still, 0.0
            return seconds

    def acknowledge(self, lsn: int) -> None:
        """The server may forget what is before `lsn`."""
        with self._changed:
            self._flushed = max(self._flushed, lsn)

    def ask_position(self) -> None:
        """Ask the server for a keepalive soon: how far it has decoded."""
        self._ask = True

    @property
    def queued(self) -> int:
        """Bytes in the queue."""
        return self._queued

    def close(self, timeout: float = 5.0) -> None:
        """Send a last status update and leave. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._read()
            self._send_status(time.monotonic())
        except LiberatorError as error:
            self._fail(error)
        except Exception as error:  # the thread's last stand: whatever it is must reach the loop
            log.debug("the replication thread failed", exc_info=True)
            self._fail(SourceError(f"reading the replication stream failed: {error!r}", code="source.reader"))
        finally:
            self._connection.close()

    def _fail(self, error: LiberatorError) -> None:
        with self._changed:
            self._live()
            self._error = error
            self._changed.notify_all()

    def _read(self) -> None:
        receive = self._connection.receive
        sockets = [self._connection.fileno(), self._side.fileno()]
        frames: list[bytes] = []
        size = lsn = 0
        self._heard = time.monotonic()
        while not self._closing:
            data = receive()
            if data is not None:
                kind = data[0]
                if kind == 119:  # w: XLogData
                    frames.append(data)
                    size += len(data)
                    message = data[25] if len(data) > 25 else 0
                    if message == 67:  # C: commit
                        if len(data) < _COMMIT_END + 8:
                            raise SourceError("the server sent a commit cut short", code="source.protocol")
                        lsn = _U64(data, _COMMIT_END)[0]
                        self._in_transaction = False
                    elif message == 66:  # B: begin
                        self._in_transaction = True
                    if len(frames) < _SEGMENT_FRAMES and size < _SEGMENT_BYTES:
                        continue
                elif kind == 107:  # k: keepalive
                    while frames:
                        frames, size, lsn = self._put(frames, size, lsn)
                    self._keepalive(data)
                    continue
                else:
                    raise SourceError(
                        f"the server sent an unknown message 0x{kind:02x}", code="source.protocol"
                    )
            if frames:
                # libpq takes in sixteen kilobytes at once; segments as small as that would cost more than their rows.
                if data is None:
                    if self._pace.rest(time.monotonic()):
                        time.sleep(REST)
                    if self._wait(sockets, 0):
                        continue
                frames, size, lsn = self._put(frames, size, lsn)
                if data is not None or frames:
                    self._housekeeping()
                    continue
            self._wait(sockets, _WAKE)

    def _wait(self, sockets: list[int], timeout: float) -> bool:
        """Until something arrives, with housekeeping and a look at the side connection; True: it has, and is taken in."""
        ready, _, _ = select.select(sockets, [], [], timeout)
        if sockets[1] in ready:
            self._check_side()
        if sockets[0] in ready:
            self._connection.consume()
            self._heard = time.monotonic()
        self._housekeeping()
        if time.monotonic() - self._heard > self._silence:
            self._silent()
            raise SourceError(
                f"the server has answered nothing for {self._silence:g} s",
                code="postgres.silent",
                retryable=True,
            )
        return sockets[0] in ready

    def _put(self, frames: list[bytes], size: int, lsn: int) -> tuple[list[bytes], int, int]:
        """Queue what was gathered, waiting for room; status updates and shutdown go on meanwhile. What follows the last
        commit is given back: a position is safe behind the last message of its segment, not somewhere inside of it."""
        rest: list[bytes] = []
        if lsn and (end := _end_of_commits(frames)) < len(frames):
            frames, rest = frames[:end], frames[end:]
            size -= sum(map(len, rest))
        self._received = max(self._received, _U64(frames[-1], 1)[0])
        self._pace.count(len(frames))
        segment = Segment(frames, lsn, size, _U64(frames[-1], 9)[0])
        with self._changed:
            while self._queued >= self._limit and not self._closing:
                self._changed.wait(_WAKE)
                self._changed.release()
                try:
                    self._housekeeping()
                    self._check_side()
                finally:
                    self._changed.acquire()
            if not (self._queue and _joined(self._queue[-1], segment)):
                self._queue.append(segment)
            self._queued += size
            self._changed.notify_all()
        self._heard = time.monotonic()  # whatever has arrived meanwhile is still to be taken in
        return rest, sum(map(len, rest)), 0

    def _keepalive(self, data: bytes) -> None:
        if len(data) < 18:
            raise SourceError("the server sent a keepalive cut short", code="source.protocol")
        server_lsn = _U64(data, 1)[0]
        if not self._in_transaction:
            self._received = max(self._received, server_lsn)
            self._queue_idle(server_lsn)
        if data[17]:
            self._status_due = 0.0
            self._housekeeping()

    def _queue_idle(self, server_lsn: int) -> None:
        """Idle positions coalesce: only the newest at the queue's end is kept."""
        with self._changed:
            if self._queue and not self._queue[-1].frames:
                self._queue[-1].lsn = self._queue[-1].server_lsn = server_lsn
            else:
                self._queue.append(Segment([], server_lsn, 0, server_lsn))
            self._changed.notify_all()

    def _housekeeping(self) -> None:
        now = time.monotonic()
        self._live()
        fresh = (
            self._flushed != self._status_flushed and now >= self._status_due - self._interval + _ACK_EVERY
        )
        if now >= self._status_due or fresh or self._ask:
            self._send_status(now)

    def _send_status(self, now: float) -> None:
        """Every interval with a request for a reply, so that the position of an idle database is known."""
        flushed = self._flushed
        ask = self._ask or now >= self._status_due
        self._ask = False
        self._connection.send_status(self._received, flushed, reply=ask)
        self._status_flushed = flushed
        self._status_due = now + self._interval

    def _live(self) -> None:
        """A sign of life."""
        with self._changed:
            now = _now()
            self._stood_still = max(self._stood_still, now - self._alive)
            self._alive = now

    def _check_side(self) -> None:
        """Has the side connection been told that the server shuts down, or is it gone?"""
        ready, _, _ = select.select([self._side.fileno()], [], [], 0)
        if not ready:
            return
        pgconn = self._side.pgconn
        try:
            pgconn.consume_input()
            pgconn.is_busy()
            alive = pgconn.status == psycopg.pq.ConnStatus.OK and not _at_end(self._side.fileno())
        except psycopg.Error:
            alive = False
        if not alive:
            raise SourceError(
                "the server is shutting down or ended our session; the stream was closed so that it can",
                code="postgres.57P01",
                retryable=True,
            )


def _now() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def _at_end(fileno: int) -> bool:
    """After all input was taken in: does the socket still report something, that is, its end?"""
    ready, _, _ = select.select([fileno], [], [], 0)
    return bool(ready)


def _joined(last: Segment, following: Segment) -> bool:
    """Put `following` behind what nobody has taken yet, if there is room in one segment, and no place that is safe would be
    forgotten or stand inside of it."""
    frames, size = len(last.frames) + len(following.frames), last.size + following.size
    fits = frames <= _SEGMENT_FRAMES and size <= _SEGMENT_BYTES
    if not last.frames or not fits or (last.lsn and not following.lsn):
        return False
    last.frames += following.frames
    last.lsn, last.size, last.server_lsn = following.lsn, size, following.server_lsn
    return True


def _end_of_commits(frames: list[bytes]) -> int:
    """Where the messages behind the last commit begin; there is one."""
    end = len(frames)
    while frames[end - 1][25:26] != b"C":
        end -= 1
    return end
