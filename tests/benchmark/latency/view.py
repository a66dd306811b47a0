"""What came out of the latency runs, for people and for programs.

Enters: `Heard` of each side. Leaves: tables as text, and a JSON value. Called by the command line. Never measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.benchmark.latency.journey import Heard, Step

WAY = (
    ("server", "committed", "sent", "the server flushes its log, decodes the transaction and sends it"),
    ("read", "sent", "read", "the thread that reads has it, and gives it to the loop"),
    ("transcode", "read", "encoded", "decoded, checked, made an event"),
    ("produce", "encoded", "produced", "given to the Kafka client"),
    ("broker", "produced", "got", "sent, stored, fetched by the consumer"),
    ("ack", "produced", "durable", "the broker's answer is known to the loop (beside the way)"),
)
"""Name, from, to, meaning of each step between two of `Step`'s times."""

Percentiles = tuple[float, float, float]
"""p50, p99 and the largest, in milliseconds."""


def percentiles(times: Sequence[float]) -> Percentiles:
    """By the nearest rank. There must be a time."""
    ordered = sorted(times)
    return tuple(ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99, 1.0))  # type: ignore[return-value]


def spent(steps: Sequence[Step]) -> dict[str, Percentiles]:
    """By name of the step, in the order of the way."""
    return {name: percentiles([(step[to] - step[at]) / 1000 for step in steps]) for name, at, to, _ in WAY}


def table(sides: Sequence[Heard], refused: dict[str, str]) -> str:
    """Every side; then where ours spends its time."""
    lines = [
        f"{'commit to consumer, milliseconds':34}{'p50':>10}{'p99':>10}{'most':>10}{'transactions/s':>17}{'idle CPU':>11}"
    ]
    for side in sides:
        p50, p99, most = percentiles(side.times)
        idle = "-" if side.idle is None else f"{side.idle:.1%}"
        lines.append(f"{side.side:34}{p50:10.1f}{p99:10.1f}{most:10.1f}{side.rate:17.0f}{idle:>11}")
        if side.lost:
            lines.append(f"LOST  {side.side}: {side.lost:,} rows")
    lines += [f"{side:34}  left out: {why}" for side, why in refused.items()]
    for side in sides:
        if side.steps:
            lines += ["", f"{'where it is spent, milliseconds':34}{'p50':>10}{'p99':>10}{'most':>10}"]
            figures = spent(side.steps)
            for name, _, _, meaning in WAY:
                lines.append(
                    f"{name:34}" + "".join(f"{figure:10.2f}" for figure in figures[name]) + f"   {meaning}"
                )
    return "\n".join(lines)


def as_json(sides: Sequence[Heard], refused: dict[str, str]) -> dict[str, Any]:
    """Everything that was measured; times in milliseconds."""
    return {
        "sides": [
            {
                "side": side.side,
                **dict(zip(("p50", "p99", "most"), percentiles(side.times), strict=True)),
                "transactions_per_second": side.rate,
                "lost": side.lost,
                "idle_cpu": side.idle,
                "spent": {
                    name: dict(zip(("p50", "p99", "most"), figures, strict=True))
                    for name, figures in (spent(side.steps) if side.steps else {}).items()
                },
            }
            for side in sides
        ],
        "refused": refused,
    }
