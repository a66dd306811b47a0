"""A lap that is not measured: it warms the servers, and tells what the measured ones must bring.

Enters: a `Ground`. Leaves: `Rehearsed`. Called once, before the first lap. Here every line and every event is looked at.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.benchmark import topic
from tests.benchmark.ground import Ground, Lap
from tests.benchmark.ready_bytes import keep
from tests.benchmark.sides.liberate import Connector, SnapshotToDevNull
from tests.benchmark.sides.recvlogical import SLOT, bytes_to_come


@dataclass(frozen=True)
class Rehearsed:
    """line_bytes: of the connector's lines, all together. message_bytes: of the server's messages. ready: the file with our
    events, as Kafka has them."""

    line_bytes: int
    message_bytes: int
    ready: Path


def rehearse(ground: Ground) -> Rehearsed:
    """Run ours once to a pipe and once to Kafka. Raises `RuntimeError` when something is lost already here.

    Names are as long as in the measured laps, so that lines are never shorter there.
    """
    with ground.lap(f"{ground.workload.key}0") as lap:
        lines = Connector(lap, "stdout", {"url": "-"})
        events = Connector(
            lap, "kafka", {"url": f"kafka://{lap.bootstrap}", "options": {"compression.type": "lz4"}}
        )
        name = lap.topic(events.name)
        lap.slot(SLOT)
        lap.write()
        rehearsed = Rehearsed(_read_lines(lap, lines), bytes_to_come(lap), ground.folder / "ready")
        lap.watch(events.start(), events.folder, topic.progress(lap.bootstrap, name))
        records = topic.records(lap.bootstrap, name)
        keep(((record.key(), record.value(), record.headers() or []) for record in records), rehearsed.ready)
    return rehearsed


def rehearse_snapshot(ground: Ground) -> int:
    """Read the table once to a pipe: the size of our lines."""
    with ground.lap(f"{ground.workload.key}0") as lap:
        lines = SnapshotToDevNull(0, "python").connector(lap)
        lap.write()
        return _read_lines(lap, lines)


def _read_lines(lap: Lap, connector: Connector) -> int:
    """The size of the connector's lines, of which there must be one for each event."""
    process = connector.start(stdout=subprocess.PIPE)
    size, seen = 0, set()
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdout, process.stdin:
        for line in process.stdout:
            size += len(line)
            event = json.loads(line)
            seen.add(topic.identity(event["key"], event["value"]))
    if process.wait() or len(seen) != lap.events:
        raise RuntimeError(
            f"liberate wrote {len(seen)} of {lap.events} events, and ended with {process.returncode}"
        )
    return size
