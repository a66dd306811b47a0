"""Where the stream is cut into batches: a position never has half a transaction in front of it."""

from __future__ import annotations

import threading
import time

import psycopg

from tests.integration.source.keeping import Keeping, execute


def test_a_batch_with_a_position_ends_with_a_commit(database: str, unique: str) -> None:
    """Whoever saves a position with the events of its batch saves no event of the transaction that follows (Invariant 2)."""
    execute(database, "create table t (id int primary key generated always as identity, filler text)")
    stop = threading.Event()

    def write(rows: int) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("insert into t (filler) select 'x' from generate_series(1, %s)", (rows,))

    with Keeping(database, unique, snapshot="never").opened() as source:
        # One whose transactions have more rows than a batch, so that they are always read in parts.
        writers = [threading.Thread(target=write, args=(rows,)) for rows in (7, 7, 1500)]
        for writer in writers:
            writer.start()
        batches, parts, end = 0, 0, time.monotonic() + 240
        try:
            while time.monotonic() < end and (batches < 200 or not parts):
                batch = source.poll(1 << 20, 0.1)
                if not batch.frames:
                    continue
                last = batch.frames[-1][25:26]
                assert (batch.state is not None) == (last == b"C"), last
                batches += 1
                parts += batch.state is None
        finally:
            stop.set()
            for writer in writers:
                writer.join()
    assert batches > 20
    assert parts > 0, "no transaction was read in parts: nothing was shown"


def test_a_message_outside_of_transactions_is_not_passed_by_an_idle_position(
    database: str, unique: str
) -> None:
    """It stands behind the last commit, alone; the position that comes then is behind it."""
    execute(database, "create table t (id int primary key)")
    with Keeping(database, unique, snapshot="never", messages=True).opened() as source:
        execute(database, "insert into t values (1)", "select pg_logical_emit_message(false, 'note', 'x')")
        seen, end = [], time.monotonic() + 120
        while time.monotonic() < end:
            batch = source.poll(1 << 20, 0.1)
            seen += [(frame[25:26], batch.state is not None) for frame in batch.frames[-1:]]
            if not batch.frames and batch.state is not None and (b"M", False) in seen:
                return
    raise AssertionError(f"no idle position came behind the message: {seen}")
