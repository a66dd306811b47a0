"""What the two loops know of their parts. Every protocol here has at least two implementations (a twin counts).

One owner per part: none of these are called from two threads unless a method says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from liberator.change import (
    Batch,
    ConsumedBatch,
    EncodedBatch,
    Event,
    Headers,
    State,
    TopicPartition,
)
from liberator.errors import FunctionError

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

    def inside(self) -> State | None:
        """A delta that may be saved with what was encoded so far of a transaction under way: after a restart the rest of it
        comes, and no more. Empty: what came so far comes again, with the same ids. None: it can't be cut here.
        """


class Publisher(Protocol):
    """Where events go. Accepted and durable are different words; only durable moves progress."""

    owns_state: bool
    """True: it is an `OwningPublisher`, which writes the states itself."""

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


class OwningPublisher(Publisher, Protocol):
    """Writes the states itself, in the transaction of their events: exactly once for those who read committed events."""

    def take_over(self) -> State:
        """Fence all others of this connector, and tell what is saved by now. Called when the source is ours, before anything
        is published. Raises `PublishError`, `CheckpointError`.
        """

    def publish(self, batch: EncodedBatch, state: State | None, inside: State | None = None) -> None:
        """As `Publisher.publish`. inside: what may be saved in place of a state that does not come soon (`Encoder.inside`).
        With neither, the batch waits for one that has one of them."""

    def durable_events(self) -> int:
        """How many more events became durable since the last call."""

    def soon(self, most: float) -> float:
        """Seconds after which something can be done for what waits here, by any call; `most` when nothing waits."""


class ResultsPublisher(Protocol):
    """Publishes what came of events together with their offsets: both, or neither. Readers of committed
    events see it once."""

    def publish(self, batches: Sequence[EncodedBatch], offsets: Mapping[TopicPartition, int]) -> None:
        """Durable when it returns. Raises `PublishError`, after which it may have happened or not, and only
        `close` is left."""

    def close(self) -> None:
        """Give back connections and threads. Idempotent."""


class Checkpoint(Protocol):
    """Where positions are kept."""

    def acquire(self) -> int:
        """Become the writer: returns a new epoch, greater than all before. Older epochs can no longer save."""

    def load(self) -> State:
        """All partitions of this connector, as last saved. Raises `CheckpointError` when they can't be trusted."""

    def glance(self) -> State:
        """As `load`, without waiting for what a writer has under way or has left open: it may be older than what is
        saved."""

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


class DispatchWatch(Protocol):
    """Who watches the loop of a sink: called once per batch or invocation. One implementation shows it to people, a twin to
    tests."""

    def beat(self) -> None:
        """The loop turns."""

    def state(self, name: LoopState) -> None:
        """What the loop does from now on."""

    def received(self, batch: ConsumedBatch) -> None:
        """Events were read."""

    def begun(self, events: int, attempt: int) -> None:
        """An invocation began."""

    def ended(self, seconds: float, failures: Mapping[int, FunctionError]) -> None:
        """An invocation ended after `seconds`. failures: see `Outcome`."""

    def done(self, count: int) -> None:
        """`count` more events are done, or durably given up."""

    def given_up(self, topic: str) -> None:
        """An event of `topic` is not tried any more."""

    def forgotten(self, count: int) -> None:
        """`count` events that were read are not this member's to do any more: they come again, here or elsewhere."""

    def lag(self, events: int, ours: int) -> None:
        """So many events of the stream are not done, whoever reads them; `ours` of them in partitions of this member."""

    def committed(self) -> None:
        """Offsets were committed."""

    def error(self, code: str) -> None:
        """Something failed; it may be tried again."""


class SnapshotProgress(Protocol):
    """Who wants to know how a snapshot goes. Called from several threads."""

    def snapshot_started(self, table: str, estimated_rows: int) -> None:
        """`table` is being read; -1: nobody knows how many rows it has."""

    def snapshot_rows(self, table: str, rows: int) -> None:
        """`rows` more rows were read."""

    def snapshot_done(self, table: str) -> None:
        """All of it was read."""


class PassProgress(SnapshotProgress, Protocol):
    """Who wants to know how the looks at tables go, too."""

    def pass_started(self, table: str) -> None:
        """A look at `table` begins."""

    def pass_rows(self, table: str, rows: int) -> None:
        """It has found `rows` more rows."""

    def pass_done(self, table: str) -> None:
        """It has come to its end."""


Start = Literal["earliest", "latest"] | datetime
"""Where reading begins: at the oldest event there is, with what comes from now on, or with the first event of that time or
later."""


class Rebalance(Protocol):
    """Who wants to know which partitions a consumer reads. Called inside `Consumer.poll` and nowhere else."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """These are read from now on: each from its group's last commit, else from the start."""

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """These go to another member when this returns: the last chance to commit what is done of them."""

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """These have gone already, without a last chance: what is not committed of them comes again, elsewhere."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a function gives to be published. topic: None: the one that is configured. key, value: as a record carries
    them. event: index of the event it came of; None: nobody says."""

    topic: str | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    event: int | None = None


@dataclass(frozen=True, slots=True)
class StateChanges:
    """What an invocation did with `context.state`. read: by key the number of the value, None: there was none. written: by
    key the value as JSON, None: it is forgotten."""

    read: Mapping[str, int | None]
    written: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events of one invocation. failures: by index, of those that were not done; the very same error
    for all of them means that nobody knows whose it is. outputs: to be published before the events count as done. state:
    to be saved then; None: the function has none."""

    failures: Mapping[int, FunctionError] = field(default_factory=dict)
    outputs: Sequence[Output] = ()
    state: StateChanges | None = None


class Invocations(Protocol):
    """Runs a function, several invocations at a time. Called by one thread."""

    def free(self) -> int:
        """How many invocations could begin now."""

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Start an invocation, and return at once. number: what `finished` calls it."""

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that have ended since the last call; waits at most `timeout` seconds for one. Whatever a function does, its
        invocation ends."""

    def close(self, timeout: float) -> None:
        """Give the function's resources back; what still runs after `timeout` seconds is left behind or killed."""


class Consumer(Protocol):
    """One member of a consumer group: a partition is read by one member at a time, in order, committed events only.

    A member that dies or does not poll loses its partitions to the others. Every method raises `ConsumeError`; after a
    retryable one the same call may succeed later.
    """

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """Read these topics, or those whose name the function accepts; topics may appear later.

        Called once. The group is joined by the first `poll`.
        """

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """At most `limit` events that come next, waiting at most `timeout` seconds for the first. They are given once: what
        fails behind events is raised by the next call.

        Must be called all the time, also while everything is paused, or the partitions go to others.
        """

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """The first offsets that are not done yet, of assigned partitions; durable when this returns.

        Raises `ConsumeError` (consume.lost) when one of them is not ours any more; `poll` then says which.
        """

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Give no events of these until `resume`. A partition that is assigned anew is not paused."""

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Go on with these where they were paused."""

    def assigned(self) -> frozenset[TopicPartition]:
        """What this member reads, as the last `poll` told it."""

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """Go on elsewhere in an assigned partition, or at that offset. Commits nothing."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Offsets between the group's commits and the ends of all partitions of the subscribed topics, whoever reads them.

        Where nothing is committed, they count from the start. Asked before the first `poll`, it does not join the group.
        """

    def ends(self) -> Mapping[TopicPartition, int]:
        """The offsets behind the last events of all partitions of the subscribed topics. Does not join the group."""

    def close(self) -> None:
        """Leave the group at once; what is not committed comes again. Tells nobody. Idempotent."""
