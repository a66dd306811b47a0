"""The command: `python -m tests.benchmark.latency`, a part of `make bench`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from liberator.testing.servers import KafkaServer, PostgresServer, postgres_bin
from tests.benchmark.ground import Ground
from tests.benchmark.latency.journey import Heard, Pace, runners, travel
from tests.benchmark.latency.view import as_json, table


def main() -> int:
    """Measure and print. The exit code: 1 when a row got lost."""
    arguments = argparse.ArgumentParser(prog="python -m tests.benchmark.latency", description=__doc__)
    arguments.add_argument("--rate", type=float, default=Pace.rate, help="transactions a second (500)")
    arguments.add_argument("--count", type=int, default=Pace.count, help="how many are timed (10000)")
    arguments.add_argument("--warm", type=int, default=Pace.warm, help="how many come before those (5000)")
    arguments.add_argument(
        "--idle", type=float, default=Pace.idle, help="seconds of idleness to look at (10)"
    )
    arguments.add_argument("--only", default="", help="sides whose name begins like this")
    arguments.add_argument(
        "--json", type=Path, default=Path("build/latency.json"), help="where all figures go"
    )
    given = arguments.parse_args()
    programs = postgres_bin(18)
    with (
        PostgresServer(programs, conf={"autovacuum": "off"}) as postgres,
        KafkaServer() as kafka,
        tempfile.TemporaryDirectory(prefix="liberator-bench-") as folder,
    ):
        ground = Ground(postgres, kafka, programs, Path(folder), 0)
        pace = Pace(given.rate, given.warm, given.count, given.idle)
        sides, refused = hear(ground, pace, lambda name: name.startswith(given.only), tell)
    print(table(sides, refused))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(as_json(sides, refused), indent=2) + "\n")
    return int(any(side.lost for side in sides))


def hear(
    ground: Ground, pace: Pace, wanted: Callable[[str], bool], tell: Callable[[str], None]
) -> tuple[list[Heard], dict[str, str]]:
    """Every side that can run, and why the others can't."""
    sides, refused = [], {}
    for number, runner in enumerate(runner for runner in runners() if wanted(runner.name)):
        if (why := runner.refusal()) is not None:
            refused[runner.name] = why
            continue
        tell(f"latency: {runner.name}")
        with ground.lap(f"pace{number}") as lap:
            sides.append(travel(lap, runner, pace))
    return sides, refused


def tell(text: str) -> None:
    """On standard error: standard output is for the figures."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
