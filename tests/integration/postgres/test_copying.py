"""COPY out of a real server, and what it leaves of its connection."""

from __future__ import annotations

import threading

import psycopg

from liberator.postgres.copying import copy_chunks


def test_who_wants_no_more_than_the_last_chunk_leaves_the_connection_free(database: str) -> None:
    with psycopg.connect(database) as connection:
        chunks = copy_chunks(
            connection,
            b"COPY (SELECT generate_series(1, 3)) TO STDOUT",
            threading.Event(),
            lines=10,
            size=1000,
        )
        assert list(next(chunks)) == [b"1\n", b"2\n", b"3\n"]
        del chunks
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_who_wants_no_more_of_many_leaves_a_closed_connection(database: str) -> None:
    with psycopg.connect(database) as connection:
        chunks = copy_chunks(
            connection,
            b"COPY (SELECT generate_series(1, 3)) TO STDOUT",
            threading.Event(),
            lines=1,
            size=1000,
        )
        assert list(next(chunks)) == [b"1\n"]
        del chunks
        assert connection.closed
