"""One pass of the query source to /dev/null, beside the plain driver's own fetch of the same rows.

    python -m tests.benchmark.query [--rows 1000000] [--rounds 3] [--least 0.5] [--most-memory 200]

The table has 8 columns. Both sides read it from the same server, in turn: psycopg with a server-side cursor, into Python
values that it throws away, and `liberate --mode query --once`. With ``--least`` the exit code is 1 when the median ratio of
the rates is below it, with ``--most-memory`` when the peak is above so many MiB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from liberator.testing.servers import PostgresServer, postgres_bin

TABLE = """
CREATE TABLE bench (
    id bigint PRIMARY KEY, customer integer NOT NULL, status text NOT NULL, amount numeric(10,2),
    name text, created timestamptz NOT NULL, active boolean, note text)
"""
ROWS = """
INSERT INTO bench SELECT g, g % 1000, (ARRAY['new', 'paid', 'sent'])[1 + g % 3], g * 0.01, 'customer ' || g,
    now(), g % 2 = 0, repeat('note ', 8) FROM generate_series(1, {rows}) g
"""
DRIVER = """
import sys, psycopg
with psycopg.connect(sys.argv[1]) as connection, connection.cursor("bench") as cursor:
    cursor.itersize = 10000
    cursor.execute("SELECT * FROM bench ORDER BY id")
    rows = 0
    while page := cursor.fetchmany(10000):
        rows += len(page)
    assert rows == int(sys.argv[2]), rows
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One finished process. wall, cpu: seconds; peak: MiB of resident memory."""

    wall: float
    cpu: float
    peak: float


def main() -> int:
    """Measure and print; the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--least", type=float, default=None)
    arguments.add_argument("--most-memory", type=float, default=None)
    given = arguments.parse_args()
    with PostgresServer(postgres_bin(18)) as server, tempfile.TemporaryDirectory() as folder:
        dsn = server.database()
        server.execute(TABLE, dsn)
        server.execute(ROWS.format(rows=given.rows), dsn)
        server.execute("VACUUM ANALYZE bench", dsn)
        driver, ours = [], []
        for _ in range(given.rounds):
            driver.append(run([sys.executable, "-c", DRIVER, dsn, str(given.rows)], Path(folder)))
            ours.append(run(_liberate(dsn), Path(folder)))
    report("psycopg", driver, given.rows)
    report("liberate", ours, given.rows)
    ratio = median(side.wall for side in driver) / median(side.wall for side in ours)
    print(f"rate of liberate / rate of the plain driver: {ratio:.2f}")
    too_slow = given.least is not None and ratio < given.least
    too_large = given.most_memory is not None and max(side.peak for side in ours) > given.most_memory
    return 1 if too_slow or too_large else 0


def _liberate(dsn: str) -> list[str]:
    return [sys.executable, "-m", "liberator", "--source", dsn, "--mode", "query", "--name", "bench", "--once",
            "--set", "source.query.strategy=bulk"]  # fmt: skip


def run(command: Sequence[str], folder: Path) -> Side:
    """Run a command with its output thrown away. Raises `RuntimeError` when it fails."""
    started = time.monotonic()
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, env=environ
    ) as process:
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} failed with {process.returncode}:\n{errors.decode()[-2000:]}")
    return Side(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def report(name: str, sides: Sequence[Side], rows: int) -> None:
    """One line of the table: medians, but the greatest peak."""
    rate = rows / median(side.wall for side in sides)
    cpu = median(side.cpu for side in sides) / rows * 1_000_000
    peak = max(side.peak for side in sides)
    print(f"{name:10} {rate:10,.0f} rows/s   {cpu:6.2f} CPU-s per million   {peak:6.0f} MiB at the peak")


if __name__ == "__main__":
    sys.exit(main())
