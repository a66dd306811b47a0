"""COPY out of the database, line by line, as libpq hands them out."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import pq


def copy_lines(connection: psycopg.Connection[Any], command: bytes, stop: threading.Event) -> Iterator[bytes]:
    """The lines of a COPY TO STDOUT, each with its newline: libpq's own calls, because psycopg's copy object costs
    more per row than all else here together.

    The connection is closed when the reading ends before the lines do, by `stop` or because nobody takes them any more.
    Raises `psycopg.Error`.
    """
    pgconn = connection.pgconn
    result = pgconn.exec_(command)
    if result.status != pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    get, socket = pgconn.get_copy_data, [pgconn.socket]
    ended = False
    try:
        while not stop.is_set():
            size, data = get(1)
            if size > 0:
                yield bytes(data)
            elif size == 0:
                if select.select(socket, [], [], 0.2)[0]:
                    pgconn.consume_input()
            else:
                ended = True
                break
    finally:
        if not ended:
            connection.close()
    if ended:
        _finish(pgconn)


def _finish(pgconn: pq.abc.PGconn) -> None:
    """To the end: what is left would be the next command's."""
    failed: pq.abc.PGresult | None = None
    while (result := pgconn.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            failed = failed or result
    if failed is not None:
        raise psycopg.errors.error_from_result(failed)
