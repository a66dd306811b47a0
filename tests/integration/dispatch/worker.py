"""One member of a group that dispatches, as a process of its own: `python worker.py URL GROUP TOPIC OUT SECONDS`.

Its function writes what it was given to a file, a line an event, and takes its time. Ends by SIGTERM, or by kill -9.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from liberator.change import EncodedBatch, Event
from liberator.consume.kafka import kafka_consumer
from liberator.consume.local import LocalConsumer
from liberator.dispatch.loop import Dispatch, DispatchSettings
from liberator.dispatch.settle import GivenUp
from liberator.dispatch.trigger import OnStream, Trigger
from liberator.function.context import Context
from liberator.function.threads import ThreadInvocations
from liberator.protocols import Consumer, Outcome, Output
from liberator.testing.publisher import MemoryPublisher
from liberator.testing.watch import MemoryDispatchWatch


class Writing:
    """Appends its events to a file: what is there was done."""

    name = "writing"

    def __init__(self, path: str, seconds: float) -> None:
        self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115  # as long as the process
        self._seconds = seconds

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        time.sleep(self._seconds)
        lines = [b"%b %d\n" % (event.raw_key or b"-", event.value["n"]) for event in events]
        self._file.write(b"".join(lines))
        return Outcome()

    def close(self) -> None:
        self._file.close()


def consumer(url: str, group: str) -> Consumer:
    if url.startswith("local:"):
        return LocalConsumer(url.removeprefix("local:"), group, session_timeout=2.0)
    options = {"session.timeout.ms": "2000", "heartbeat.interval.ms": "200"}
    kind, _, address = url.partition("+")
    return kafka_consumer(
        address, group, options=options, client="confluent" if kind == "c" else "kafka-python"
    )


def main(url: str, group: str, topic: str, out: str, seconds: str) -> None:
    def nothing(outputs: Sequence[Output], events: Sequence[Event]) -> EncodedBatch:
        raise AssertionError("this function gives nothing")

    def dead(entry: GivenUp, topic: str) -> EncodedBatch:
        raise AssertionError(f"this function never fails: {entry.error}")

    it = Dispatch(
        consumer(url, group),
        [topic],
        Trigger(20, 1 << 20, [OnStream(20, 0.02, 1 << 20)]),
        ThreadInvocations(Writing(out, float(seconds)), most=4),
        MemoryPublisher(),
        DispatchSettings(commit_interval=0.1),
        output=nothing,
        given_up=dead,
        watch=MemoryDispatchWatch(),
    )
    signal.signal(signal.SIGTERM, lambda *_: it.stop())
    it.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
