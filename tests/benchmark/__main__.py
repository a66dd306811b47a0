"""The command: `python -m tests.benchmark`, which is `make bench`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from liberator.testing.servers import KafkaServer, PostgresServer, postgres_bin
from tests.benchmark.comparison import all_sides, compare
from tests.benchmark.ground import Ground
from tests.benchmark.rehearsal import rehearse
from tests.benchmark.report import as_json, table


def main() -> int:
    """Measure and print. The exit code: 1 when a row got lost."""
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument("--rows", type=int, default=500_000, help="rows of a round (500000)")
    arguments.add_argument("--rounds", type=int, default=3, help="rounds; figures are their medians (3)")
    arguments.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where all figures go")
    given = arguments.parse_args()
    programs = postgres_bin(18)
    with (
        PostgresServer(programs, conf={"autovacuum": "off"}) as postgres,
        KafkaServer() as kafka,
        tempfile.TemporaryDirectory(prefix="liberator-bench-") as folder,
    ):
        ground = Ground(postgres, kafka, programs, Path(folder), given.rows)
        tell("rehearsal, not measured")
        comparison = compare(ground, all_sides(rehearse(ground)), given.rounds, tell)
    loads = comparison.loads
    print(
        f"{given.rows:,} inserts into a table of 8 columns, {ground.transaction:,} a transaction; rounds: {given.rounds};"
        f" {os.cpu_count()} CPUs under a load of {min(loads):.1f} to {max(loads):.1f}\n"
    )
    print(table(comparison))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(as_json(comparison), indent=2) + "\n")
    print(f"all figures: {given.json}")
    return 0 if comparison.complete else 1


def tell(text: str) -> None:
    """On standard error: standard output is for the figures."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
