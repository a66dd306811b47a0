"""A process that commits one row at a time, at a steady pace: ``python -m tests.benchmark.latency.writer DSN PACE COUNT``.

Enters: transactions a second, and how many. Leaves: the rows, in the table of the benchmark; on standard output how many
transactions a second it really was. It never waits for a slow commit to make up for it: the next ones follow at once.
"""

from __future__ import annotations

import sys
import time

import psycopg

_INSERT = """
INSERT INTO bench SELECT g, g %% 1000, 'new', g * 0.01, 'customer ' || g, clock_timestamp(), true, repeat('note ', 8)
    FROM (VALUES (%s::bigint)) row (g)
"""


def main(dsn: str, pace: str, count: str) -> None:
    """Write rows 1 to `count`."""
    step = 1 / float(pace)
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("SET application_name = 'bench writer'")
        began = due = time.monotonic()
        for number in range(1, int(count) + 1):
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            connection.execute(_INSERT, (number,))
            due += step
        print(int(count) / (time.monotonic() - began))


if __name__ == "__main__":
    main(*sys.argv[1:])
