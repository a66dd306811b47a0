"""COPY out of the database: its lines, many of them in one piece of memory."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import repeat
from typing import Any, overload

import psycopg
from psycopg import pq


class Lines(Sequence[bytes]):
    """Lines of COPY's text, each with its newline, one behind the other in `data`: it has none inside of a line. They are
    cut apart when somebody asks for one of them. count: how many they are."""

    __slots__ = ("_apart", "_count", "data")

    def __init__(self, data: bytes, count: int) -> None:
        self.data = data
        self._count = count
        self._apart: list[bytes] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        return self._lines()[index]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines())

    def _lines(self) -> list[bytes]:
        if self._apart is None:
            self._apart = BytesIO(self.data).readlines()
        return self._apart


def copy_chunks(
    connection: psycopg.Connection[Any], command: bytes, stop: threading.Event, *, lines: int, size: int
) -> Iterator[Lines]:
    """The lines of a COPY TO STDOUT, many at a time: at most `lines` of them, and as soon as they have `size` bytes together
    no more than have arrived. libpq's own calls, because psycopg's copy object costs more per row than all else here
    together.

    The connection is closed when the reading ends before the lines do, by `stop` or because nobody takes them any more.
    Raises `psycopg.Error`.
    """
    pgconn = connection.pgconn
    result = pgconn.exec_(command)
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    get, socket = pgconn.get_copy_data, [pgconn.socket]
    ended = False
    chunk, room = BytesIO(), lines
    try:
        while not stop.is_set():
            write, got = chunk.write, 0
            for got, data in map(
                get, repeat(1, room)
            ):  # what has arrived; the loop that every row goes through
                if got <= 0:
                    break
                write(data)
                room -= 1
            if got < 0:
                ended = True
                break
            if not room or chunk.tell() >= size:
                yield Lines(chunk.getvalue(), lines - room)
                chunk, room = BytesIO(), lines
            if got == 0 and select.select(socket, [], [], 0.2)[0]:
                pgconn.consume_input()
    finally:
        if not ended:
            connection.close()
    if not ended:
        return
    _finish(pgconn)  # first, since nobody may want more after the last chunk
    if room < lines:
        yield Lines(chunk.getvalue(), lines - room)


def _finish(pgconn: pq.abc.PGconn) -> None:
    """To the end: what is left would be the next command's."""
    failed: pq.abc.PGresult | None = None
    while (result := pgconn.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            failed = failed or result
    if failed is not None:
        raise psycopg.errors.error_from_result(failed)
