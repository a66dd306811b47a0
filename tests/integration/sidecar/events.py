"""What lies in a local log, past the code under test."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from liberator.change import ConsumedBatch, Event, events_of
from liberator.locallog import LocalLog


def local_events(folder: Path, topic: str) -> list[Event]:
    """Every event of a topic, those of a partition in their order."""
    batch = ConsumedBatch()
    with closing(LocalLog(folder)) as log:
        for partition, (first, end) in log.bounds([topic]).items():
            while first < end:
                first = log.read(partition, first, 1_000, 1 << 20, batch)
    return events_of(batch)
