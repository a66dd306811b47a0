"""COPY out of the database, the lines as libpq hands them out."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import pq


def copy_chunks(
    connection: psycopg.Connection[Any], command: bytes, stop: threading.Event, *, lines: int, size: int
) -> Iterator[tuple[list[bytes], int]]:
    """The lines of a COPY TO STDOUT, each with its newline, many at a time: at most `lines` of them, and no more once they
    have `size` bytes together; with how many bytes they have. libpq's own calls, because psycopg's copy object costs more
    per row than all else here together.

    The connection is closed when the reading ends before the lines do, by `stop` or because nobody takes them any more.
    Raises `psycopg.Error`.
    """
    pgconn = connection.pgconn
    result = pgconn.exec_(command)
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    get, socket = pgconn.get_copy_data, [pgconn.socket]
    ended = False
    chunk: list[bytes] = []
    weight = 0
    try:
        while not stop.is_set():
            got, data = get(1)
            if got > 0:
                chunk.append(bytes(data))
                weight += got
                if weight >= size or len(chunk) >= lines:
                    yield chunk, weight
                    chunk, weight = [], 0
            elif got == 0:
                if select.select(socket, [], [], 0.2)[0]:
                    pgconn.consume_input()
            else:
                ended = True
                break
    finally:
        if not ended:
            connection.close()
    if not ended:
        return
    _finish(pgconn)  # first, since nobody may want more after the last chunk
    if chunk:
        yield chunk, weight


def _finish(pgconn: pq.abc.PGconn) -> None:
    """To the end: what is left would be the next command's."""
    failed: pq.abc.PGresult | None = None
    while (result := pgconn.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            failed = failed or result
    if failed is not None:
        raise psycopg.errors.error_from_result(failed)
