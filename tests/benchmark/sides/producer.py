"""A bare producer: ready bytes into Kafka, and nothing else. No connector that keeps Kafka's promises is faster.

The bytes are our own events', with their keys and headers, in our order; topic, compression and acks are ours too.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from tests.benchmark import topic
from tests.benchmark.ground import Lap
from tests.benchmark.processes import start
from tests.benchmark.sides import Measured, Side


class Producer(Side):
    """ready: the file of events that the rehearsal has kept."""

    name = "bare producer"

    def __init__(self, ready: Path) -> None:
        self._ready = ready
        self._topic = ""

    def prepare(self, lap: Lap) -> None:
        """A topic of its own."""
        self._topic = lap.topic(f"producer-{lap.name}")

    def measure(self, lap: Lap) -> Measured:
        """Run it from the moment that it has the bytes in its memory; what that takes is not told."""
        readable = topic.progress(lap.bootstrap, self._topic)
        folder = lap.place("producer")
        command = [sys.executable, "-m", "tests.benchmark.ready_bytes", lap.bootstrap, self._topic]
        process = start([*command, str(self._ready)], folder, lap.environ(), stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()  # ready
            process.stdin.write(b"go\n")
            process.stdin.flush()
            it = lap.watch(process, folder, readable)
        arrived = topic.read_back(lap.bootstrap, self._topic)
        return replace(Measured.of(it, lap.events, arrived.events, arrived.repeated), peak=None)
