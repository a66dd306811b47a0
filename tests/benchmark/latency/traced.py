"""Our connector with a clock at each of its steps: ``python -m tests.benchmark.latency.traced FILE liberate's arguments``.

Enters: a file to write to, and a command line. Leaves: what the command does, and in the file a line of JSON for each batch
with rows: its keys, and in microseconds when its last transaction was committed, when the server sent it, when the loop had
it, when it was encoded, when the publisher had taken it, and when it was known to be durable. It puts itself between the
loop and the protocols that the loop knows, so it sees every source, executor and publisher.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from liberator.build import running
from liberator.capture import Capture
from liberator.change import Batch, EncodedBatch, State
from liberator.cli import main as liberate
from liberator.postgres.pgoutput import Commit, decode
from liberator.postgres.replication import POSTGRES_EPOCH
from liberator.protocols import Encoder, Publisher, Source

_HEADER = 25
_SENT = 17
"""Where the server's clock is in a message: see the streaming replication protocol, XLogData."""

_EPOCH = POSTGRES_EPOCH * 1_000_000


def _now() -> int:
    return time.time_ns() // 1000


class Trace:
    """The steps of each batch on its way."""

    def __init__(self) -> None:
        self.done: list[dict[str, Any]] = []
        self._current: dict[str, Any] | None = None
        self._published: deque[tuple[int, dict[str, Any]]] = deque()
        self._count = 0

    def polled(self, batch: Batch) -> None:
        """A batch has come."""
        self._current = None
        if not batch.frames or batch.frames[-1][_HEADER : _HEADER + 1] != b"C":
            return
        last = bytes(batch.frames[-1])
        sent = int.from_bytes(last[_SENT : _SENT + 8], "big") + _EPOCH
        commit = decode(last, _HEADER)
        assert isinstance(commit, Commit)
        committed = commit.committed_us + _EPOCH
        self._current = {"committed": committed, "sent": sent, "read": _now()}

    def encoded(self, events: EncodedBatch) -> None:
        """It became events."""
        if self._current is not None:
            self._current["encoded"] = _now()
            self._current["ids"] = [orjson.loads(key)["id"] for key in events.keys if key]

    def published(self, events: EncodedBatch) -> None:
        """The publisher has it."""
        self._count += len(events)
        if self._current is not None:
            self._current["produced"] = _now()
            self._published.append((self._count, self._current))

    def durable(self, count: int) -> None:
        """So many events are durable."""
        now = _now()
        while self._published and self._published[0][0] <= count:
            _, step = self._published.popleft()
            step["durable"] = now
            self.done.append(step)


class _Between:
    """What is not named here is the original's."""

    def __init__(self, original: Any, trace: Trace) -> None:
        self._original = original
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Source(_Between):
    def poll(self, limit: int, timeout: float) -> Batch:
        batch: Batch = self._original.poll(limit, timeout)
        self._trace.polled(batch)
        return batch


class _Encoder(_Between):
    def encode(self, batch: Batch) -> EncodedBatch:
        events: EncodedBatch = self._original.encode(batch)
        self._trace.encoded(events)
        return events


class _Publisher(_Between):
    def publish(self, events: EncodedBatch, *state: State | None) -> None:
        self._original.publish(events, *state)
        self._trace.published(events)

    def durable(self) -> State | None:
        state: State | None = self._original.durable()
        if state and "events" in state:
            self._trace.durable(int(state["events"]))
        return state


class _Traced(Capture):
    """The loop, with what it knows wrapped."""

    trace = Trace()

    def __init__(
        self,
        source: Source,
        publisher: Callable[[], Publisher],
        ledger: Any,
        opened: Callable[[State], Encoder],
        *others: Any,
        **more: Any,
    ) -> None:
        trace = self.trace
        super().__init__(
            _Source(source, trace),
            lambda: _Publisher(publisher(), trace),
            ledger,
            lambda state: _Encoder(opened(state), trace),
            *others,
            **more,
        )


def main(file: str, *arguments: str) -> int:
    """Run the command, then write what was seen."""
    running.Capture = _Traced  # type: ignore[attr-defined]
    sys.argv[1:] = arguments
    code = liberate()
    Path(file).write_bytes(b"".join(orjson.dumps(step) + b"\n" for step in _Traced.trace.done))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
