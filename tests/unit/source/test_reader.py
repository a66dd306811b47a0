"""How much the loop gets at once: what waits for it is one segment, and a place that is safe stays where it was."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

from liberator.source.reader import Segment, StreamReader
from liberator.testing.servers.process import wait_until

HEADER = struct.Struct(">cQQQ")
COMMIT = struct.Struct(">cBQQQ")


def frame(message: bytes, lsn: int) -> bytes:
    return HEADER.pack(b"w", lsn, lsn, 0) + message


def transaction(lsn: int) -> list[bytes]:
    """Begin, one row, Commit, which is safe to resume from at `lsn`."""
    return [frame(b"B", lsn), frame(b"I" + bytes(20), lsn), frame(COMMIT.pack(b"C", 0, lsn, lsn, 0), lsn)]


class Server:
    """A replication connection that gives a chunk for each byte that is to be read from its socket."""

    def __init__(self, chunks: list[list[bytes]]) -> None:
        self.ours, self.theirs = socket.socketpair()
        self._chunks = deque(chunks)
        self._arrived: deque[bytes] = deque()

    def send(self, chunks: int) -> None:
        """Let so many chunks arrive."""
        self.theirs.sendall(bytes(chunks))

    def receive(self) -> bytes | None:
        return self._arrived.popleft() if self._arrived else None

    def consume(self) -> None:
        self.ours.recv(1)
        self._arrived.extend(self._chunks.popleft())

    def send_status(self, received: int, flushed: int, *, reply: bool = False) -> None: ...

    def fileno(self) -> int:
        return self.ours.fileno()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


class Side:
    """A side connection on which nothing is ever said."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()

    def fileno(self) -> int:
        return self._ours.fileno()

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


@contextmanager
def reading(server: Server) -> Iterator[StreamReader]:
    with closing(Side()) as side:
        reader = StreamReader(
            cast(Any, server),
            cast(Any, side),
            0,
            flushed=0,
            queue_bytes=1 << 20,
            status_interval=10.0,
            silence=60.0,
            silent=lambda: None,
        )
        reader.start()
        try:
            yield reader
        finally:
            reader.close()


def size(chunks: list[list[bytes]]) -> int:
    return sum(len(it) for chunk in chunks for it in chunk)


def take(reader: StreamReader, chunks: list[list[bytes]]) -> Segment:
    """The next segment, when all chunks are queued."""
    assert wait_until(lambda: reader.queued == size(chunks), timeout=120)
    segment = reader.get(0)
    assert segment is not None
    return segment


def test_transactions_that_wait_for_the_loop_come_together() -> None:
    chunks = [transaction(10), transaction(20), transaction(30)]
    server = Server(chunks)
    with reading(server) as reader:
        server.send(1)
        assert wait_until(lambda: reader.queued == size(chunks[:1]), timeout=120)
        server.send(2)
        segment = take(reader, chunks)
    assert segment.frames == [it for chunk in chunks for it in chunk]
    assert (segment.lsn, segment.size) == (30, size(chunks))
    assert reader.queued == 0


def test_a_part_of_a_transaction_does_not_join_what_is_safe() -> None:
    """Otherwise nobody could save the position in front of it before it ends."""
    whole, part = transaction(10), transaction(20)[:2]
    server = Server([whole, part])
    with reading(server) as reader:
        server.send(1)
        assert wait_until(lambda: reader.queued == size([whole]), timeout=120)
        server.send(1)
        segment = take(reader, [whole, part])
        following = reader.get(0)
    assert (segment.frames, segment.lsn) == (whole, 10)
    assert following is not None
    assert (following.frames, following.lsn) == (part, 0)


def test_a_segment_has_a_bound() -> None:
    chunks = [[frame(b"B", 1)], *[[frame(b"I" + bytes(20), 1)] for _ in range(3000)], transaction(1)[2:]]
    server = Server(chunks)
    server.send(len(chunks))
    with reading(server) as reader:
        first = take(reader, chunks)
    assert len(first.frames) <= 1000
