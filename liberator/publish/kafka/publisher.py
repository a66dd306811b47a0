"""The publisher for Kafka: order, memory and durability, whatever the client.

Enters: encoded batches with their states. Leaves: the states whose events are all acknowledged. Called by the
capture loop, in one thread. Never gives up on an event, and never lets a later one overtake it.

Theory of operation: accepted batches wait in a queue until every event of theirs, and of all before, is
acknowledged. The client sends them from there. When it breaks (an error it can't retry, a topic that went
away, a limit that was lowered) it is thrown away, and a new one sends everything that still waits, from the
oldest on: a reader may see events twice, with the same ids, but never out of order and never with a gap.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from liberator.change import EncodedBatch, State
from liberator.errors import PublishError
from liberator.kafka.client import Cluster, Driver, Producer, Tally
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.size import fits, too_large
from liberator.kafka.topics import Topics
from liberator.publish.kafka.preparing import BATCH_BYTES, LEAST_BATCH_BYTES, weight_of
from liberator.publish.kafka.too_large import DeadLetters, divert

log = logging.getLogger(__name__)

_SERVE = 0.1
"""Seconds between two looks at the client while waiting."""

_QUIET = 4.0
"""Seconds without any acknowledgement after which a new connection is tried, to learn why."""

_ASK = 2.0
"""Seconds for that attempt."""

_UNKNOWN_TOPIC = 3

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a broken client is replaced: longer each time that brings no progress."""


class _Waiting:
    """An accepted batch. ready: as it is sent (control records, dead letters for too large events); None: not yet."""

    __slots__ = ("batch", "ready", "sent", "state", "tally", "weight")

    def __init__(self, batch: EncodedBatch, state: State | None) -> None:
        self.batch = batch
        self.state = state
        self.weight = weight_of(batch)
        self.start_over()

    def start_over(self) -> None:
        self.ready: EncodedBatch | None = None
        self.sent = 0
        # Threads of an abandoned client may still count its tally down: it is never used again.
        self.tally = Tally(len(self.batch) + len(self.batch.control))


class KafkaPublisher:
    """Publishes at least once, in order. Made by `liberator.publish.kafka.kafka_publisher`.

    memory: bytes that accepted and not yet acknowledged events may take, here and in the client. Every method
    but `close` raises `PublishError` once a person has to act; `durable` then still tells what had become durable.
    """

    owns_state = False

    def __init__(
        self, driver: Driver, cluster: Cluster, topics: Topics, memory: int, dead_letters: DeadLetters | None
    ) -> None:
        self._driver = driver
        self._cluster = cluster
        self._topics = topics
        self._memory = memory
        self._dead_letters = dead_letters
        self._waiting: deque[_Waiting] = deque()
        self._unsent: deque[_Waiting] = deque()
        self._weight = 0
        self._durable: dict[str, bytes] = {}
        self._stopped: PublishError | None = None
        self._client: Producer | None = None
        self._batch_bytes = BATCH_BYTES
        self._pause = _FIRST_PAUSE
        self._connect_at = 0.0
        self._ask_at = 0.0
        self._complained = False
        self._connect()  # early: librdkafka needs half a second until it may send

    def ready(self, timeout: float) -> bool:
        """Is there room for one more batch? Waits at most `timeout` seconds, counting acknowledgements."""
        deadline = time.monotonic() + timeout
        self._advance(0)
        while self._weight >= self._memory:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._advance(min(left, _SERVE))
        return True

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        """Accept a batch and send what the client takes of it."""
        self._raise_if_stopped()
        if not self._waiting:
            self._ask_at = time.monotonic() + _QUIET
        waiting = _Waiting(batch, state)
        self._waiting.append(waiting)
        self._unsent.append(waiting)
        self._weight += waiting.weight
        self._advance(0)

    def durable(self) -> State | None:
        """The merged states whose events became durable since the last call."""
        if self._stopped is None:
            self._advance(0)
        durable, self._durable = self._durable, {}
        return durable or None

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until everything accepted is durable."""
        deadline = time.monotonic() + timeout
        self._advance(0)
        while self._waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._advance(min(left, _SERVE), hurry=True)
        return True

    def close(self) -> None:
        """Give back connections and threads; what is not durable is left to its fate."""
        self._drop_client()
        self._cluster.close()

    def _raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    def _advance(self, wait: float, hurry: bool = False) -> None:
        """One step: count, take off what is durable, replace a broken client, send."""
        self._raise_if_stopped()
        try:
            self._serve(wait, hurry)
            self._take_durable()
            if self._waiting and time.monotonic() > self._ask_at:
                self._ask_why()
            self._send()
        except PublishError as error:
            self._stopped = error
            self._drop_client()
            raise

    def _serve(self, wait: float, hurry: bool) -> None:
        if self._client is None:
            time.sleep(min(wait, max(0.0, self._connect_at - time.monotonic())))
            return
        self._client.serve(wait, hurry)
        if self._client.failure is not None:
            # More reports of the same request may be on their way: the first cause is what counts.
            self._client.serve(_SERVE)
            self._recover(self._client.failure)

    def _take_durable(self) -> None:
        while self._waiting and self._waiting[0].tally.left == 0:
            done = self._waiting.popleft()
            self._weight -= done.weight
            if done.state:
                self._durable.update(done.state)
            self._note_progress()

    def _ask_why(self) -> None:
        """Nothing is acknowledged for a while: are we still let in, are the topics still there, is it an outage?"""
        self._ask_at = time.monotonic() + _QUIET
        if not self._complained:
            log.warning("Kafka acknowledges nothing: waiting with %d batches", len(self._waiting))
            self._complained = True
        try:
            self._cluster.check(_ASK)
            gone = self._topics.gone(set(self._waiting[0].batch.topics))
        except KafkaFailure as failure:
            if failure.verdict.action == "stop":
                raise failure.publish_error() from failure
        else:
            if gone is not None:
                self._recover(KafkaFailure(_UNKNOWN_TOPIC, topic=gone))

    def _note_progress(self) -> None:
        self._ask_at = time.monotonic() + _QUIET
        self._pause = _FIRST_PAUSE
        if self._complained:
            log.info("Kafka acknowledges again")
            self._complained = False

    # Sending: from the oldest unsent batch on, as far as the client takes it.

    def _send(self) -> None:
        while self._unsent and self._send_batch(self._unsent[0]):
            self._unsent.popleft()

    def _send_batch(self, waiting: _Waiting) -> bool:
        if waiting.ready is None:
            waiting.ready = self._make_ready(waiting)
        client = self._client or self._connect()
        if waiting.ready is None or client is None:
            return False
        waiting.sent = client.send(waiting.ready, waiting.sent, waiting.tally)
        return waiting.sent == len(waiting.ready)

    def _make_ready(self, waiting: _Waiting) -> EncodedBatch | None:
        """The batch as it is sent; None: no broker answers, or earlier batches must be durable first."""
        batch = waiting.batch.with_control()
        names = set(batch.topics)
        if not self._topics.ensure(names):
            return None
        smallest = min(map(self._limit, names), default=self._batch_bytes)
        if smallest < self._batch_bytes and not self._send_less_at_once(smallest, waiting):
            return None
        if fits(batch, smallest) or not too_large(batch, self._fresh_limit):
            return batch
        if self._dead_letters is not None and not self._topics.ensure([self._dead_letters.topic]):
            return None
        return divert(batch, self._limit, self._dead_letters)

    def _limit(self, topic: str) -> int:
        return min(self._topics.limit(topic), self._driver.largest)

    def _fresh_limit(self, topic: str) -> int:
        return min(self._topics.fresh_limit(topic), self._driver.largest)

    def _send_less_at_once(self, limit: int, waiting: _Waiting) -> bool:
        """A broker refuses a whole request above the topic's limit: make the client's requests smaller.

        False while earlier batches are under way: only a client without work can be replaced without sending twice.
        """
        if self._waiting[0] is not waiting:
            return False
        self._batch_bytes = limit
        self._drop_client()
        return True

    # Recovery: a broken client is replaced, and what waits is sent again in its order.

    def _connect(self) -> Producer | None:
        if time.monotonic() < self._connect_at:
            return None
        try:
            self._client = self._driver.producer(self._batch_bytes, self._topics.partitions)
        except KafkaFailure as failure:
            if failure.verdict.action != "wait":
                raise failure.publish_error() from failure
            self._put_off()
        return self._client

    def _put_off(self) -> None:
        self._connect_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _recover(self, failure: KafkaFailure) -> None:
        action = failure.verdict.action
        if action == "stop":
            raise failure.publish_error()
        self._take_durable()
        self._drop_client()
        log.warning("sending %d batches again: %s", len(self._waiting), failure.publish_error())
        if action == "dead_letter" and failure.topic is not None:
            self._learn_limit(failure.topic, failure)
        elif action == "create":
            self._topics.forget(failure.topic)
        for waiting in self._waiting:
            waiting.start_over()
        self._unsent = deque(self._waiting)
        if action != "dead_letter":
            self._put_off()

    def _learn_limit(self, topic: str, failure: KafkaFailure) -> None:
        known = self._topics.limit(topic)
        self._topics.reread(topic)
        if self._topics.limit(topic) < known:
            return
        if failure.alone:
            self._topics.learn_limit(topic, failure.size - 1)
        elif self._batch_bytes > LEAST_BATCH_BYTES:
            self._batch_bytes //= 8
        else:
            raise failure.publish_error()

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.abandon()
            self._client = None
