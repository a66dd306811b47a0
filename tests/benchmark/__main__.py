"""The command: `python -m tests.benchmark`, which is `make bench`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from liberator.testing.servers import KafkaServer, PostgresServer, postgres_bin
from tests.benchmark import goals, report
from tests.benchmark.chart import Bar, svg
from tests.benchmark.comparison import Comparison, all_sides, compare, snapshot_sides
from tests.benchmark.ground import Ground
from tests.benchmark.latency import view
from tests.benchmark.latency.__main__ import hear
from tests.benchmark.latency.journey import Pace
from tests.benchmark.rehearsal import rehearse, rehearse_snapshot
from tests.benchmark.workload import WORKLOADS

PARTS = (*WORKLOADS, "snapshot", "latency", "goals")
"""What is measured, in this order."""

_CURVE = (10_000, 100_000, 1_000_000, 10_000_000)


class Run:
    """One run of the command. out: the folder for the figures. What is done is in the files, even if a later part fails."""

    def __init__(self, ground: Ground, rounds: int, pace: Pace, curve: Sequence[int], out: Path) -> None:
        self.ground = ground
        self.rounds = rounds
        self.pace = pace
        self.curve = curve
        self.out = out
        self.complete = True
        self._groups: list[tuple[str, list[Bar]]] = []
        self._text: list[str] = []
        self._figures: dict[str, Any] = {
            **report.ground_of(),
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "rounds": rounds,
        }

    def part(self, name: str) -> None:
        """Measure one of `PARTS`, print it and write it down."""
        if name == "latency":
            sides, refused = hear(self.ground, self.pace, lambda _: True, tell)
            self.complete &= not any(side.lost for side in sides)
            self._done(name, view.table(sides, refused), view.as_json(sides, refused))
        elif name == "goals":
            figures = goals.measure(self.ground, self.curve, tell)
            self._done(name, goals.table(figures), goals.as_json(figures))
        elif name == "snapshot":
            self._compared(name, f"a table of {self.ground.changes:,} rows, read whole", self._snapshot())
        else:
            ground = replace(self.ground, workload=WORKLOADS[name])
            title = f"{ground.workload.name}: {ground.changes:,} changes, {ground.transaction:,} at a time"
            tell(f"{ground.workload.name}: rehearsal, not measured")
            self._compared(name, title, compare(ground, all_sides(rehearse(ground)), self.rounds, tell))

    def _snapshot(self) -> Comparison:
        tell("snapshot: rehearsal, not measured")
        return compare(self.ground, snapshot_sides(rehearse_snapshot(self.ground)), self.rounds, tell)

    def _compared(self, name: str, title: str, comparison: Comparison) -> None:
        self.complete &= comparison.complete
        load = f"load {min(comparison.loads):.1f} to {max(comparison.loads):.1f}"
        bars = [Bar(it.name, median(lap.rate for lap in it.laps)) for it in comparison.results if it.laps]
        self._groups.append((title, bars))
        self._done(name, f"{title}; {load}\n\n{report.table(comparison)}", report.as_json(comparison))

    def _done(self, name: str, text: str, figures: dict[str, Any]) -> None:
        print(f"\n{text}", flush=True)
        self._text.append(text)
        self._figures[name] = figures
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "results.json").write_text(json.dumps(self._figures, indent=2) + "\n")
        (self.out / "results.txt").write_text("\n\n\n".join(self._text) + "\n")
        if self._groups:
            (self.out / "rates.svg").write_text(svg("Events a second, while they flow", self._groups))


def main() -> int:
    """Measure and print. The exit code: 1 when an event got lost."""
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000, help="changes of a round (1000000)")
    arguments.add_argument("--rounds", type=int, default=1, help="rounds; figures are their medians (1)")
    arguments.add_argument("--only", default=",".join(PARTS), help=f"parts, with commas: {','.join(PARTS)}")
    arguments.add_argument(
        "--most", type=int, default=1_000_000, help="events of the cost curve's end (1000000)"
    )
    arguments.add_argument(
        "--paced", type=int, default=Pace.count, help="transactions timed for latency (10000)"
    )
    arguments.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="where all figures go")
    given = arguments.parse_args()
    wanted = given.only.split(",")
    if not set(wanted) <= set(PARTS):
        arguments.error(f"--only takes {', '.join(PARTS)}")
    programs = postgres_bin(18)
    with (
        PostgresServer(
            programs, conf={"autovacuum": "off", "max_wal_size": "16GB", "max_replication_slots": 20}
        ) as postgres,
        KafkaServer() as kafka,
        tempfile.TemporaryDirectory(prefix="liberator-bench-") as folder,
    ):
        ground = Ground(postgres, kafka, programs, Path(folder), given.rows)
        pace = replace(Pace(), count=given.paced, warm=given.paced // 2)
        run = Run(ground, given.rounds, pace, [size for size in _CURVE if size <= given.most], given.out)
        for part in PARTS:
            if part in wanted:
                run.part(part)
    print(f"\nall figures: {given.out}")
    return 0 if run.complete else 1


def tell(text: str) -> None:
    """On standard error: standard output is for the figures."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
