"""The stream to /dev/null, beside pg_recvlogical, which does nothing but receive.

    python -m tests.benchmark.stream [--rows 1000000] [--rounds 3] [--least 0.4]

The table has 8 columns and a stored contract that is stricter than the table (enum, pattern, range, required). Both sides
read the same WAL of the same server from slots of their own, in turn. With ``--least`` the exit code is 1 when the median
ratio of the rates is below it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from liberator.testing.servers import PostgresServer, postgres_bin
from tests.benchmark.measure import LIBERATE, Run, middle, run

TABLE = """
CREATE TABLE bench (
    id bigint PRIMARY KEY, customer integer NOT NULL, status text NOT NULL, amount numeric(10,2),
    name text, created timestamptz NOT NULL, active boolean, note text)
"""
ROWS = """
INSERT INTO bench SELECT g, g % 1000, (ARRAY['new', 'paid', 'sent'])[1 + g % 3], g * 0.01, 'customer ' || g,
    now(), g % 2 = 0, repeat('note ', 8) FROM generate_series(1, {rows}) g
"""
CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id", "customer", "status", "amount"],
    "properties": {
        "customer": {"type": "integer", "minimum": 0, "maximum": 999},
        "status": {"enum": ["new", "paid", "sent"]},
        "amount": {"type": "string", "pattern": "^[0-9]+[.][0-9]{2}$"},
    },
}


def main() -> int:
    """Measure and print; the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--least", type=float, default=None)
    given = arguments.parse_args()
    with PostgresServer(postgres_bin(18)) as server, tempfile.TemporaryDirectory() as folder:
        peer, ours = compare(server, Path(folder), given.rows, given.rounds)
    report("pg_recvlogical", peer, given.rows)
    report("liberate", ours, given.rows)
    ratio = middle(peer).wall / middle(ours).wall
    print(f"rate of liberate / rate of pg_recvlogical: {ratio:.2f}")
    return 1 if given.least is not None and ratio < given.least else 0


def compare(server: PostgresServer, folder: Path, rows: int, rounds: int) -> tuple[list[Run], list[Run]]:
    """Runs of both sides, in turn, over the same WAL."""
    dsn = server.database()
    server.execute(TABLE, dsn)
    for version in range(rounds):
        contract = folder / "schemas" / f"bench{version}.public.bench" / "1.json"
        contract.parent.mkdir(parents=True)
        contract.write_text(json.dumps(CONTRACT))
        run([*LIBERATE, "slot", "create", *_options(dsn, version)], folder)
        server.execute(f"SELECT pg_create_logical_replication_slot('peer{version}', 'pgoutput')", dsn)
    server.execute(ROWS.format(rows=rows), dsn)
    [[end]] = server.execute("SELECT pg_current_wal_flush_lsn()::text", dsn)
    peer, ours = [], []
    for version in range(rounds):
        peer.append(run(_recvlogical(server, dsn, version, end)))
        ours.append(run([*LIBERATE, *_options(dsn, version), "--once"], folder))
    return peer, ours


def report(name: str, runs: list[Run], rows: int) -> None:
    """One line of the table."""
    it = middle(runs)
    rate, cpu = rows / it.wall, it.cpu / rows * 1_000_000
    print(f"{name:15} {rate:10,.0f} events/s   {cpu:6.2f} CPU-s per million   {it.peak:6.0f} MiB at the peak")


def _options(dsn: str, version: int) -> list[str]:
    return ["--source", dsn, "--mode", "log", "--name", f"bench{version}", "--snapshot", "never"]


def _recvlogical(server: PostgresServer, dsn: str, version: int, end: str) -> list[str]:
    return [
        str(server.bin / "pg_recvlogical"), "-d", dsn, "--slot", f"peer{version}", "--start", "-f", "/dev/null",
        "--endpos", end, "--no-loop", "-F", "0", "-o", "proto_version=1", "-o", f"publication_names=bench{version}",
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
