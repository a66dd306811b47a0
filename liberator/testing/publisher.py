"""An in-memory publisher: the destination of a connector under test.

Enters: encoded batches. Leaves: a list of events that a test can look at, and the states that became durable. Passes
the same conformance suite as the real ones.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from liberator.change import EncodedBatch, State, TopicPartition
from liberator.errors import PublishError


@dataclass(frozen=True, slots=True)
class Published:
    """One event as its reader sees it. headers: with ``id``. timestamp: milliseconds since the Unix epoch; 0: not known."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    partition: int = 0
    timestamp: int = 0

    @property
    def id(self) -> bytes:
        """The event id."""
        return self.headers["id"]


class MemoryPublisher:
    """Keeps everything in `events`; control records apart in `control`.

    memory: bytes that may be accepted while the publisher is stalled. `stall` makes it accept without delivering, as
    a broker that does not answer; `go_on` delivers, from any thread. `fail` makes the next call of `publish` raise.
    """

    owns_state = False

    def __init__(self, memory: int = 1 << 20) -> None:
        self.events: list[Published] = []
        self.control: list[Published] = []
        self.closed = False
        self._memory = memory
        self._stalled = False
        self._failure: PublishError | None = None
        self._accepted: deque[tuple[EncodedBatch, State | None]] = deque()
        self._weight = 0
        self._durable: dict[str, bytes] = {}
        self._lock = threading.RLock()

    def ready(self, timeout: float) -> bool:
        """Is there room? Does not wait: nothing happens here by itself."""
        return self._weight < self._memory

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        """Accept a batch; unless stalled it is delivered at once."""
        if self._failure is not None:
            failure = self._failure
            if failure.retryable:
                self._failure = None
            raise failure
        with self._lock:
            self._accepted.append((batch, state))
            self._weight += batch.size()
            if not self._stalled:
                self.go_on()

    def durable(self) -> State | None:
        """The merged states delivered since the last call."""
        with self._lock:
            durable, self._durable = self._durable, {}
        return durable or None

    def flush(self, timeout: float) -> bool:
        """Is everything delivered? Does not wait."""
        return not self._accepted

    def close(self) -> None:
        """Forget what was not delivered."""
        self.closed = True
        self._accepted.clear()

    def stall(self) -> None:
        """From now on accept, but deliver nothing."""
        self._stalled = True

    def go_on(self) -> None:
        """Deliver what waits, and from now on everything at once."""
        with self._lock:
            self._stalled = False
            while self._accepted:
                batch, state = self._accepted.popleft()
                self._weight -= batch.size()
                self._deliver(batch)
                self._durable.update(state or {})

    def fail(self, error: PublishError) -> None:
        """Raise `error` from the next `publish`; from every later one too unless it is retryable."""
        self._failure = error

    def _deliver(self, batch: EncodedBatch) -> None:
        now = time.time_ns() // 1_000_000
        for topic, key, value, id, headers, timestamp in zip(
            batch.topics, batch.keys, batch.values, batch.ids, batch.headers, batch.times(), strict=True
        ):
            named = {"id": id, **dict(headers or ())}
            self.events.append(Published(topic, key, value, named, timestamp=timestamp or now))
        for record in batch.control:
            headers_of = {"id": record.id, **dict(record.headers)}
            self.control.append(Published(record.topic, record.key, record.value, headers_of))


class MemoryResults:
    """Publishes with offsets: `transactions` has what was in each. commit: saves the offsets. `fail` makes the next one
    raise, with nothing of it published."""

    def __init__(self, commit: Callable[[Mapping[TopicPartition, int]], None]) -> None:
        self.transactions: list[tuple[list[Published], dict[TopicPartition, int]]] = []
        self.closed = False
        self._commit = commit
        self._failure: PublishError | None = None

    def fail(self, error: PublishError) -> None:
        """The next call raises this."""
        self._failure = error

    def publish(self, batches: Sequence[EncodedBatch], offsets: Mapping[TopicPartition, int]) -> None:
        """Both, or neither."""
        if self._failure is not None:
            raise self._failure
        events = [
            Published(topic, key, value, {"id": id})
            for batch in batches
            for topic, key, value, id in zip(batch.topics, batch.keys, batch.values, batch.ids, strict=True)
        ]
        self.transactions.append((events, dict(offsets)))
        self._commit(offsets)

    def close(self) -> None:
        """Remember it."""
        self.closed = True
