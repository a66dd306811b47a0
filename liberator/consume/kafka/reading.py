"""Where reading stands in each partition, and what happens when partitions come and go.

Enters: news of partitions from a client, events that were given, commits. Leaves: offsets to read from, and word to whoever
watches the group. Called by `consumer`, and by the clients inside of their `poll`.

Not obvious: the end of a transaction, and events of an aborted one, take offsets too, and nobody is ever given them. A group
that has done everything would seem to lag behind by them for ever. So when all that was given is committed, and the client
has passed the rest, the commit is moved on to there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from datetime import datetime

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.kafka.client import EARLIEST, LATEST, GroupClient
from liberator.kafka.errors import KafkaFailure
from liberator.protocols import Rebalance, Start

log = logging.getLogger(__name__)

_PATIENCE = 0.5
"""Seconds for which a commit is tried while the group is being rearranged."""

_AGAIN = 0.1

_REBALANCING = 27


class Reading:
    """The partitions that are read now. start: where a group begins that has committed nothing."""

    def __init__(self, client: GroupClient, start: Start, rebalance: Rebalance) -> None:
        self._client = client
        self._start = start
        self._rebalance = rebalance
        self._made_at = time.time_ns() // 1_000_000
        self._begun = False
        self._closed = False
        self._committed: dict[TopicPartition, int] = {}
        self.given: dict[TopicPartition, int] = {}
        """What was given of each assigned partition, and where that ends."""

    def end(self) -> None:
        """The consumer is being closed: nobody wants to know more."""
        self._closed = True
        self.given.clear()

    # Hooks

    def begin(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """See `Hooks.begin`. A start that is not the earliest is committed, so that nobody begins elsewhere."""
        begun = self._client.committed(partitions)
        missing = [partition for partition in partitions if partition not in begun]
        if missing:
            starts = self.offsets(missing, self._begin_at())
            begun.update(starts)
            if self._start != "earliest":
                self._commit(starts)
        self._begun = True
        self._committed.update(begun)
        self.given.update(begun)
        return begun

    def began(self, partitions: Collection[TopicPartition]) -> None:
        """See `Hooks.began`."""
        self._rebalance.assigned(frozenset(partitions))

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """See `Hooks.revoked`."""
        gone = self.given.keys() & set(partitions)
        if gone and not self._closed:
            self._rebalance.revoked(gone)
        self._forget(gone)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """See `Hooks.lost`."""
        gone = self.given.keys() & set(partitions)
        if gone and not self._closed:
            self._rebalance.lost(gone)
        self._forget(gone)

    def fell_behind(self, partition: TopicPartition) -> int:
        """See `Hooks.fell_behind`."""
        given = self.given[partition]
        [first, end] = (self.offsets([partition], place)[partition] for place in ("earliest", "latest"))
        if first <= given <= end:
            return given
        if given < first:
            log.warning("%d events of %s/%d are gone before they were read", first - given, *partition)
        else:
            log.warning(
                "%s/%d ends at %d, before %d, so it was made anew: it is read from its beginning",
                *partition,
                end,
                given,
            )
        self.given[partition] = first
        return first

    # Offsets

    def note(self, batch: ConsumedBatch) -> None:
        """These events were given."""
        for partition, _, end in batch.runs():
            self.given[partition] = batch.offsets[end - 1] + 1

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Save; while the group is being rearranged, try again for some seconds."""
        self._commit(offsets)
        self.was_committed(offsets)

    def was_committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """These are saved, by whom ever."""
        self._committed.update({at: offset for at, offset in offsets.items() if at in self.given})

    def pass_what_nobody_sees(self) -> None:
        """Move commits beyond what follows them and will never be given; some later time, if the group is rearranged now."""
        behind = {
            partition: passed
            for partition, given in self.given.items()
            if self._committed[partition] == given < (passed := self._client.passed(partition))
        }
        if behind:
            try:
                self._client.commit(behind)
            except KafkaFailure as failure:
                if failure.key not in (_REBALANCING, "lost"):
                    raise
                return
            self._committed.update(behind)
            self.given.update(behind)

    def offsets(self, partitions: Collection[TopicPartition], to: Start) -> dict[TopicPartition, int]:
        """The offsets of a place."""
        if isinstance(to, datetime):
            at = round(to.timestamp() * 1000)
        else:
            at = EARLIEST if to == "earliest" else LATEST
        return self._client.offsets(dict.fromkeys(partitions, at)) if partitions else {}

    def _begin_at(self) -> Start:
        # "latest" means: what comes after the start. A topic that appears later is read from its first event on.
        if self._start == "latest" and self._begun:
            return datetime.fromtimestamp(self._made_at / 1000).astimezone()
        return self._start

    def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._client.commit(offsets)
            except KafkaFailure as failure:
                if failure.key != _REBALANCING or time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for partition in list(partitions):
            del self.given[partition]
            del self._committed[partition]
