"""What a function gave and the offsets of its events, in one transaction of Kafka: both, or neither.

Enters: encoded batches, offsets, and who the member of the group is. Leaves: a transaction that is committed. Called by the
dispatch loop, in its thread, which waits for it. Never sends anything again: whatever fails ends this publisher, and the
next session begins from the offsets that were committed.

Not obvious: a producer's id is its own and lasts as long as it does. A member that the group goes on without is not fenced
by another producer, but by the group: brokers refuse offsets of an older generation, and with them the transaction
(KIP-447).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

from liberator.change import EncodedBatch, TopicPartition
from liberator.errors import PublishError
from liberator.kafka.client import Cluster, Driver, Tally, Transactions, TransactionTimeouts
from liberator.kafka.errors import KafkaFailure
from liberator.publish.kafka.preparing import Preparing

_TIMEOUTS = TransactionTimeouts(open=10.0)
"""Short, since a transaction is: readers wait for what a killed member has left open, and so do those who go on for it."""

_WITHIN = 8.0
"""Seconds for one transaction, from its begin to the answer to its commit."""

_SLICE = 0.5
_SERVE = 0.01

_REARRANGED = (22, 25, 27, 82, "lost")
"""What a group answers a member that it goes on without, or that has to join it again."""


class OffsetsPublisher:
    """See `liberator.protocols.ResultsPublisher`. member: tells who we are in the group, as the client knows it.
    committed: called with offsets that are."""

    def __init__(
        self,
        driver: Driver,
        cluster: Cluster,
        preparing: Preparing,
        name: str,
        member: Callable[[], object],
        committed: Callable[[Mapping[TopicPartition, int]], None],
    ) -> None:
        self._driver = driver
        self._cluster = cluster
        self._preparing = preparing
        self._id = f"{name}.{uuid4().hex}"
        self._member = member
        self._committed = committed
        self._client: Transactions | None = None

    def publish(self, batches: Sequence[EncodedBatch], offsets: Mapping[TopicPartition, int]) -> None:
        """Publish and commit, or raise `PublishError`."""
        end = time.monotonic() + _WITHIN
        try:
            client = self._client = self._client or self._start()
            client.begin()
            for batch in batches:
                self._send(client, batch, end)
            if offsets:
                client.commit_offsets(offsets, self._member(), max(_SLICE, end - time.monotonic()))
            while not client.commit(_SLICE):
                if time.monotonic() > end:
                    raise KafkaFailure("timeout", "no broker has committed the transaction")
        except KafkaFailure as failure:
            raise self._error(failure) from failure
        self._committed(offsets)

    def close(self) -> None:
        """Give back connections and threads; what is open is left to the brokers' time-out."""
        client, self._client = self._client, None
        if client is not None:
            if client.failure is not None:
                client.abort(_SLICE)
            client.abandon()
        self._cluster.close()

    def _start(self) -> Transactions:
        preparing = self._preparing
        return self._driver.transactions(self._id, preparing.batch_bytes, preparing.partitions, _TIMEOUTS)

    def _send(self, client: Transactions, batch: EncodedBatch, end: float) -> None:
        while (ready := self._preparing.prepare(batch)) is None:
            _in_time(end)
            time.sleep(_SERVE)
        sent, tally = 0, Tally(len(ready))
        while sent < len(ready):
            sent = client.send(ready, sent, tally)
            client.serve(0 if sent == len(ready) else _SERVE)
            if client.failure is not None:
                raise client.failure
            _in_time(end)

    def _error(self, failure: KafkaFailure) -> PublishError:
        if failure.key in _REARRANGED:
            return PublishError(
                "Kafka: the group goes on without this member",
                code="publish.rearranged",
                fix="nothing to do: it joins again, and begins behind what was committed",
                retryable=True,
            )
        error = self._preparing.refused(failure)
        if error.code != "publish.fenced":
            return error
        # Nobody else has this id: brokers do this to a producer whose transaction was open for too long.
        return PublishError(error.what, code="publish.transaction_timeout", fix=error.fix, retryable=True)


def _in_time(end: float) -> None:
    if time.monotonic() > end:
        raise KafkaFailure("timeout", "no broker takes the events of a transaction")
