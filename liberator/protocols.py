"""What the capture loop knows of its parts. Every protocol here has at least two implementations (a twin counts).

One owner per part: none of these are called from two threads unless a method says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from liberator.change import Batch, EncodedBatch, State


LoopState = Literal[
    "starting",
    "snapshot",
    "streaming",
    "reconnecting",
    "waiting",
    "standby",
    "draining",
    "stopped",
    "failed",
]
"""What a connector can be doing."""


class Source(Protocol):
    """Where batches come from."""

    def open(self, resume: State) -> None:
        """Connect and stand ready to yield what follows `resume` (empty: a first start).

        Refuses with `CheckpointError` or `PreconditionError` what does not fit, changing nothing. May be called
        again after a retryable error, with the newest state that was handed to the publisher.
        """

    def poll(self, limit: int, timeout: float) -> Batch:
        """The next batch: at most about `limit` bytes of frames; after `timeout` seconds an empty one.

        Raises `SourceError`; when it is retryable the source may be opened again.
        """

    def ack(self, state: State) -> None:
        """Everything up to `state` is durable and saved: the server may forget it. Cumulative."""

    def close(self) -> None:
        """Leave without acknowledging anything more. Idempotent."""


class Encoder(Protocol):
    """What turns batches into events: the plan's executor."""

    committed_us: int
    """Commit time of the newest transaction, microseconds since the Unix epoch; 0: none yet."""

    def encode(self, batch: Batch) -> EncodedBatch:
        """The events of one batch, in order. Raises `LiberatorError`."""

    def history(self) -> State:
        """A delta to be saved with the next state: what is needed to encode the same again after a restart."""


class Publisher(Protocol):
    """Where events go. Accepted and durable are different words; only durable moves progress."""

    owns_state: bool
    """True: the publisher writes the states itself, in the transaction of their events (exactly once)."""

    def ready(self, timeout: float) -> bool:
        """Is there room for one more batch? Waits at most `timeout` seconds for room, serving callbacks."""

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        """Accept a batch, whole; it may be buffered. `state` becomes durable with its last event.

        Order: events of one key leave in the order they were accepted, through retries. Raises `PublishError`,
        retryable or not; after a not retryable one nothing is accepted any more.
        """

    def durable(self) -> State | None:
        """The merged delta of states that became durable since the last call, in order; None: nothing new."""

    def flush(self, timeout: float) -> bool:
        """Wait until all that was accepted is durable, at most `timeout` seconds; False: it is not."""

    def close(self) -> None:
        """Give back connections and threads; does not wait for what is not durable. Idempotent."""


class Checkpoint(Protocol):
    """Where positions are kept."""

    def acquire(self) -> int:
        """Become the writer: returns a new epoch, greater than all before. Older epochs can no longer save."""

    def load(self) -> State:
        """All partitions of this connector, as last saved. Raises `CheckpointError` when they can't be trusted."""

    def save(self, delta: State, epoch: int) -> None:
        """Merge `delta` durably and atomically. `CheckpointError` (code checkpoint.fenced) for an older epoch."""

    def describe(self) -> Sequence[tuple[str, bytes, str]]:
        """(partition, value, when it was saved) of all partitions; takes no epoch, disturbs nobody."""

    def reset(self) -> None:
        """Forget all partitions of this connector (the epoch lives on)."""

    def close(self) -> None:
        """Give back the connection. Idempotent."""


class Watch(Protocol):
    """Who watches the loop: called once per batch or less. One implementation shows it to people, a twin to tests."""

    def beat(self) -> None:
        """The loop turns."""

    def state(self, name: LoopState) -> None:
        """What the loop does from now on."""

    def received(self, batch: Batch, committed_us: int) -> None:
        """The source gave a batch; the newest transaction encoded before it committed at `committed_us`."""

    def published(self, topics: Mapping[str, int], size: int) -> None:
        """Events by topic, and their bytes, were handed to the publisher."""

    def durable(self, count: int) -> None:
        """`count` more events became durable."""

    def checkpoint_saved(self) -> None:
        """A position was saved."""

    def error(self, code: str) -> None:
        """Something failed; it may be tried again."""

    def reconnect(self) -> None:
        """The source was lost and is opened again."""


class SnapshotProgress(Protocol):
    """Who wants to know how a snapshot goes. Called from several threads."""

    def snapshot_started(self, table: str, estimated_rows: int) -> None:
        """`table` is being read; -1: nobody knows how many rows it has."""

    def snapshot_rows(self, table: str, rows: int) -> None:
        """`rows` more rows were read."""

    def snapshot_done(self, table: str) -> None:
        """All of it was read."""
