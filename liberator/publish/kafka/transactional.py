"""The publisher for Kafka that writes events and positions in one transaction: exactly once for readers of committed events.

Enters: encoded batches with their states. Leaves: the states that are committed. Called by the capture loop, in one thread;
commits are waited for in another. Never publishes an event without the position that covers it, unless the loop says that
the event may come again.

Theory of operation: batches are sent as they come, into a Kafka transaction that is committed the earlier, the less there
is to do: by then all of its events have a state, or the transaction of the source is too large to wait for and is cut
(`Encoder.inside`). When it is time the transaction is sealed, with the position; its last events arrive while the next
batches are encoded; then it is committed, and the batches of the next one wait here. Nothing is ever sent again from here:
whatever fails ends this publisher, the next one fences it, reads what was committed and goes on from there.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Protocol

from liberator.change import EncodedBatch, State
from liberator.errors import CheckpointError, PublishError
from liberator.kafka.client import Cluster, Driver, Tally, Transactions, TransactionTimeouts
from liberator.kafka.errors import KafkaFailure
from liberator.publish.kafka.preparing import Preparing, weight_of

log = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
"""Seconds between two commits: each costs the brokers a marker in every partition that took part."""

_FULL_SPEED = 200 << 20
"""Bytes a second, as `weight_of` counts them, from which on the pause is the longest."""

_CUT_AFTER = 5.0
"""Seconds after which a transaction of the source is no longer waited for: well below the brokers' time-out."""

_CUT_SHARE = 2
"""As many times the memory: what a transaction of the source may be before it is no longer waited for either."""

_FEW = 64
"""So few events may still be under way when the commit is handed to the other thread. It hears of each one's arrival, and
holds the interpreter for that: among thousands each of them would wait for the thread that encodes."""

_SOON = 0.002
"""Seconds that the loop waits for the source while it could do something here."""

_SLICE = 0.5
"""Seconds after which a commit that is waited for is asked whether it is still wanted."""

_SERVE = 0.05

_UNKNOWN_TOPIC = 3

_QUIET = 4.0
"""Seconds without an answer to a commit after which a new connection is tried, to learn why."""

_ASK = 2.0
"""Seconds for that attempt."""

_ABORT_WITHIN = 2.0

_TIMEOUTS = TransactionTimeouts()


class Positions(Protocol):
    """Where states are kept in the same cluster: what makes records of them."""

    @property
    def topic(self) -> str:
        """Where the records go: partition 0."""

    @property
    def transactional_id(self) -> str:
        """Whose transactions may write them."""

    def make_topic(self) -> None:
        """See to it that the topic exists."""

    def begin(self) -> tuple[State, dict[bytes, bytes | None]]:
        """What is saved, and the record of a new epoch, to be written by whoever has just started the producer."""

    def records(self, delta: State) -> dict[bytes, bytes | None]:
        """What saves `delta`."""

    def is_ours(self, *, complete: bool) -> bool:
        """Has nobody else begun since? complete: what is under way is waited for, our own transaction among it."""


class _Part:
    """Batches that are committed together, from one place of the source where that can be done to the next."""

    __slots__ = ("batches", "begun", "delta", "events", "sent", "weight", "whole")

    def __init__(self) -> None:
        self.batches: list[EncodedBatch] = []
        self.delta: dict[str, bytes] = {}
        self.events = 0
        self.weight = 0
        self.whole = False
        self.begun = False
        self.sent = 0
        """Events of the first batch that were handed to the client."""


class _Transaction:
    """What the open Kafka transaction holds. delta: to be saved with it. whole: does it end with a state of the source?
    sealed: the position is in it, and nothing more comes."""

    __slots__ = ("began", "delta", "events", "sealed", "topics", "weight", "whole")

    def __init__(self, began: float) -> None:
        self.began = began
        self.topics: set[str] = set()
        self.delta: dict[str, bytes] = {}
        self.events = 0
        self.weight = 0
        self.whole = True
        self.sealed = False


class TransactionalPublisher:
    """Publishes exactly once, in order. Made by `liberator.publish.kafka.kafka_publisher`.

    memory: bytes that accepted events may take, here and in the client, until they are in their partitions. Every method
    but `close` raises `PublishError` once it has failed; `durable` then still tells what had been committed.
    """

    owns_state = True

    def __init__(
        self,
        driver: Driver,
        cluster: Cluster,
        preparing: Preparing,
        positions: Positions,
        memory: int,
        *,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._cluster = cluster
        self._preparing = preparing
        self._positions = positions
        self._memory = memory
        self._tick = tick
        self._client: Transactions | None = None
        self._coming = _Part()
        self._waiting: deque[_Part] = deque()
        self._open: _Transaction | None = None
        self._committing: _Transaction | None = None
        self._answer: Future[None] | None = None
        self._wanted = True
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-commit")
        self._weight = 0
        self._under_way: deque[tuple[int, int]] = deque()
        """Of each part that was sent: which of all events that were sent is its last, and its weight."""
        self._sent = 0
        self._committed_at = -_LONGEST_PAUSE
        self._ask_at = 0.0
        self._durable: dict[str, bytes] = {}
        self._durable_events = 0
        self._stopped: PublishError | None = None

    def take_over(self) -> State:
        """Fence all others of this connector, end what they left open, and tell what is saved."""
        self._positions.make_topic()
        try:
            self._client = self._driver.transactions(
                self._positions.transactional_id,
                self._preparing.batch_bytes,
                self._preparing.partitions,
                _TIMEOUTS,
            )
            state, epoch = self._positions.begin()
            self._client.begin()
            self._client.write(self._positions.topic, epoch)
            if not self._client.commit(_TIMEOUTS.start):
                raise KafkaFailure("timeout", "no broker has committed the first transaction")
        except KafkaFailure as failure:
            self._stop(failure)
        return state

    def ready(self, timeout: float) -> bool:
        """Is there room for one more batch? Waits at most `timeout` seconds, sending and committing."""
        deadline = self._tick() + timeout
        self._advance(0)
        while self._weight - self._coming.weight >= self._memory:
            left = deadline - self._tick()
            if left <= 0:
                return False
            self._advance(min(left, _SERVE))
        return True

    def publish(self, batch: EncodedBatch, state: State | None, inside: State | None = None) -> None:
        """Accept a batch and send what the client takes of it."""
        self._raise_if_stopped()
        coming = self._coming
        weight = weight_of(batch)
        if len(batch) or batch.control:
            coming.batches.append(batch)
        coming.events += len(batch)
        coming.weight += weight
        self._weight += weight
        delta = inside if state is None else state
        if delta is None:
            return
        coming.delta = dict(delta)
        coming.whole = state is not None
        self._waiting.append(coming)
        self._coming = _Part()
        self._advance(0)

    def soon(self, most: float) -> float:
        """See `OwningPublisher.soon`."""
        opened = self._open
        if opened is not None and opened.whole and not opened.sealed:
            return min(most, max(_SOON, self._due_at(opened) - self._tick()))
        waits = opened.sealed if opened is not None else self._committing is not None and bool(self._waiting)
        return min(most, _SOON) if waits else most

    def durable(self) -> State | None:
        """The merged states that were committed since the last call."""
        if self._stopped is None:
            self._advance(0)
        durable, self._durable = self._durable, {}
        return durable or None

    def durable_events(self) -> int:
        """How many more events were committed since the last call."""
        count, self._durable_events = self._durable_events, 0
        return count

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until everything accepted is committed, a source transaction under way cut. What
        can't be cut is not waited for: it comes again."""
        deadline = self._tick() + timeout
        self._advance(0, hurry=True)
        while self._waiting or self._open or self._committing:
            left = deadline - self._tick()
            if left <= 0:
                return False
            self._advance(min(left, _SERVE), hurry=True)
        return True

    def close(self) -> None:
        """Give back connections and threads; what is not committed is aborted."""
        self._wanted = False
        if self._answer is not None:
            self._answer.exception()  # at most a slice
        self._thread.shutdown()
        client, self._client = self._client, None
        if client is not None:
            if self._open is not None and client.failure is None:
                client.abort(_ABORT_WITHIN)
            client.abandon()
        self._cluster.close()

    def _advance(self, wait: float, hurry: bool = False) -> None:
        """One step: hear what became of a commit or of events, send, commit when it is time."""
        self._raise_if_stopped()
        if self._client is None:
            return
        try:
            if self._committing is not None:
                self._settle(self._committing, wait)
            else:
                self._hear(self._client, wait)
            if self._committing is None:
                self._send(self._client)
                self._commit_when_due(self._client, hurry)
        except KafkaFailure as failure:
            self._stop(failure)
        except PublishError as error:
            self._stopped = error
            raise

    # Sending

    def _hear(self, client: Transactions, wait: float) -> None:
        """What has arrived takes no memory any more. Events of several partitions overtake each other: it is about right."""
        client.serve(wait, hurry=self._open is not None and self._open.sealed)
        self._raise_failure(client)
        arrived = self._sent - client.pending()
        while self._under_way and self._under_way[0][0] <= arrived:
            self._weight -= self._under_way.popleft()[1]

    def _send(self, client: Transactions) -> None:
        while self._waiting and not (self._open is not None and self._open.sealed):
            if not self._send_part(client, self._waiting[0]):
                return
            part = self._waiting.popleft()
            self._under_way.append((self._sent, part.weight))
            opened = self._open = self._open or _Transaction(self._tick())
            opened.delta.update(part.delta)
            opened.events += part.events
            opened.weight += part.weight
            opened.whole = part.whole

    def _send_part(self, client: Transactions, part: _Part) -> bool:
        if self._open is None:
            client.begin()
            self._open = _Transaction(self._tick())
        part.begun = bool(part.batches)
        while part.batches:
            ready = self._preparing.prepare(part.batches[0])
            if ready is None:
                return False  # no broker answers for now
            self._open.topics.update(ready.topics)
            part.sent = client.send(ready, part.sent, Tally(len(ready)))
            self._raise_failure(client)
            if part.sent < len(ready):
                part.batches[0] = ready
                return False
            del part.batches[0]
            part.sent = 0
            self._sent += len(ready)
        return True

    def _raise_failure(self, client: Transactions) -> None:
        if client.failure is not None:
            client.serve(_SERVE)  # more reports may be on their way: the first cause is what counts
            raise client.failure

    # Committing

    def _commit_when_due(self, client: Transactions, hurry: bool) -> None:
        opened = self._open
        if opened is None or not (opened.sealed or self._is_due(opened, hurry)):
            return
        if not opened.sealed:
            client.write(self._positions.topic, self._positions.records(opened.delta))
            opened.sealed = True
            self._ask_at = self._tick() + _QUIET
        if client.pending() > _FEW:
            self._ask_why_when_quiet(opened)
            return
        self._committing, self._open = opened, None
        self._answer = self._thread.submit(self._commit, client)

    def _is_due(self, opened: _Transaction, hurry: bool) -> bool:
        if self._waiting and self._waiting[0].begun:
            return False
        now = self._tick()
        if opened.whole:
            return hurry or now >= self._due_at(opened)
        is_large = opened.weight >= _CUT_SHARE * self._memory
        return (hurry and not self._waiting) or is_large or now - opened.began >= _CUT_AFTER

    def _due_at(self, opened: _Transaction) -> float:
        """The pause since the last commit grows with what came in it by the second: p = L * (weight / p) / F. Positions
        alone are nothing that anybody waits for."""
        if not opened.events:
            return self._committed_at + _LONGEST_PAUSE
        pause = math.sqrt(opened.weight * _LONGEST_PAUSE / _FULL_SPEED)
        return self._committed_at + min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, pause))

    def _commit(self, client: Transactions) -> None:
        """In the other thread."""
        while not client.commit(_SLICE):
            if not self._wanted:
                raise KafkaFailure("timeout", "no broker has committed")

    def _settle(self, committing: _Transaction, wait: float) -> None:
        """See what became of the transaction that is being committed."""
        assert self._answer is not None
        try:
            self._answer.result(wait)
        except FutureTimeout:
            self._ask_why_when_quiet(committing)
            return
        self._committing = self._answer = None
        self._weight -= sum(weight for _, weight in self._under_way)
        self._under_way.clear()
        self._durable.update(committing.delta)
        self._durable_events += committing.events
        self._committed_at = self._tick()

    def _ask_why_when_quiet(self, committing: _Transaction) -> None:
        if self._tick() >= self._ask_at:
            self._ask_why(committing)

    def _ask_why(self, committing: _Transaction) -> None:
        """No answer for a while: are we still let in, are the topics still there, did somebody take over, is it an
        outage?"""
        log.warning("Kafka does not commit: waiting with %d events", committing.events)
        self._ask_at = self._tick() + _QUIET
        try:
            self._cluster.check(_ASK)
            gone = self._preparing.gone(committing.topics)
        except KafkaFailure as failure:
            if failure.verdict.action == "stop":
                raise
            return
        if gone is not None:
            raise KafkaFailure(_UNKNOWN_TOPIC, topic=gone)
        if self._is_superseded(complete=False):  # ours is open, and this thread has to commit it
            raise KafkaFailure("fenced")

    # Failing

    def _raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    def _stop(self, failure: KafkaFailure) -> None:
        """This publisher is done for; the next one reads what was committed and goes on from there."""
        error = self._preparing.refused(failure)
        if error.code == "publish.sequence" and self._is_superseded(complete=False):
            error = self._preparing.refused(KafkaFailure("fenced", failure.detail))
        elif error.code == "publish.fenced" and not self._is_superseded(complete=True):
            # Brokers bump a producer's epoch also when its transaction was open for too long.
            error = PublishError(
                "Kafka: the transaction was open for too long, brokers have aborted it",
                code="publish.transaction_timeout",
                fix="nothing to do: its events are sent again; look at the brokers if it lasts",
                retryable=True,
            )
        self._stopped = error
        raise error from failure

    def _is_superseded(self, *, complete: bool) -> bool:
        try:
            return not self._positions.is_ours(complete=complete)
        except CheckpointError as error:
            if error.retryable:
                return False  # whoever it may be: only who has the source goes on
            raise
