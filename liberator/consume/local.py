"""The local log as a source of events, for the consumers of a group in any number of processes.

Enters: topics, commits. Leaves: events in batches. Called by the dispatch loop, in one thread. The membership's rules are
`liberator.locallog.group`'s; here is where reading stands in each partition.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path

from liberator.change import ConsumedBatch, TopicPartition
from liberator.errors import ConsumeError
from liberator.locallog import LocalLog
from liberator.locallog.failure import told_as
from liberator.locallog.file import LogFile
from liberator.locallog.group import Claims, Evicted, Heart, Membership
from liberator.protocols import Rebalance, Start

log = logging.getLogger(__name__)

_LOOK, _LOOK_IDLE = 0.005, 0.025
"""Seconds between two looks whether something was written; the longer ones when nothing has been for a while."""

_LOOK_AFTER_OTHERS = 1.0
"""Seconds between two looks whether all other members live."""

_LIVELY = 1.0
"""Seconds after which it is a while."""


class LocalConsumer:
    """A member of `group` on the local log in `folder`.

    start: where the group begins in a partition that it has committed nothing of. memory: bytes that a poll returns, about.
    session_timeout: seconds after which a dead consumer's partitions go to others; poll_interval: the same for one that
    lives and does not poll.

    Raises `ConsumeError`: consume.lost, consume.busy and consume.full (retryable), consume.unavailable, consume.corrupt.
    """

    def __init__(
        self,
        folder: str | Path,
        group: str,
        *,
        start: Start = "earliest",
        memory: int = 16 << 20,
        session_timeout: float = 10.0,
        poll_interval: float = 300.0,
    ) -> None:
        self._where = f"local:{folder}"
        self._folder = folder
        self._group = group
        self._start = start
        self._memory = memory
        self._timeout = session_timeout
        self._poll_interval = poll_interval
        self._made_at = time.time_ns() // 1_000_000
        self._topics: Collection[str] | Callable[[str], object] = ()
        self._rebalance: Rebalance | None = None
        self._wanted: list[str] = []
        self._known_topics = -1
        self._position: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._heart: Heart | None = None
        self._begun = False
        self._turn = 0
        self._version = -1
        self._look_at = 0.0
        self._changed_at = time.monotonic()
        with self._errors():
            self._log = LocalLog(folder)
        self._membership = Membership(self._log.file, group, session_timeout)

    def subscribe(self, topics: Collection[str] | Callable[[str], object], rebalance: Rebalance) -> None:
        """Read these topics, or those whose name the function accepts."""
        self._topics = topics
        self._rebalance = rebalance

    def poll(self, limit: int, timeout: float) -> ConsumedBatch:
        """What comes next, waiting at most `timeout` seconds for the first event."""
        deadline = time.monotonic() + timeout
        batch = ConsumedBatch()
        with self._errors():
            while True:
                self._tend()
                self._read_or_nothing(batch, limit)
                if len(batch) or not self._wait(deadline):
                    return batch

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Save the first offsets that are not done yet."""
        if offsets:
            with self._errors(), self._log.transaction() as transaction:
                transaction.commit_offsets(self._group, offsets, self._membership.member)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Give no events of these until `resume`."""
        self._paused.update(self._position.keys() & set(partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Go on with these."""
        self._paused.difference_update(partitions)

    def assigned(self) -> frozenset[TopicPartition]:
        """What is read here."""
        return frozenset(self._position)

    def seek(self, partition: TopicPartition, to: Start | int) -> None:
        """Go on elsewhere in a partition."""
        if partition not in self._position:
            raise ConsumeError(
                f"partition {partition.partition} of {partition.topic} is not assigned",
                code="consume.lost",
                where=self._where,
            )
        with self._errors():
            self._position[partition] = self._offset(partition, to)

    def lag(self) -> Mapping[TopicPartition, int]:
        """Events that the group has not done, by partition."""
        with self._errors():
            bounds = self._log.bounds(self._matching())
            committed = self._log.committed(self._group)
            return {
                partition: max(0, end - committed.get(partition, self._offset(partition, self._start)))
                for partition, (_, end) in bounds.items()
            }

    def ends(self) -> Mapping[TopicPartition, int]:
        """The offsets behind the last events."""
        with self._errors():
            bounds = self._log.bounds(self._matching())
            return {partition: end for partition, (_, end) in bounds.items()}

    def close(self) -> None:
        """Leave the group."""
        if self._heart is not None:
            self._heart.stop()
            self._heart = None
        self._position.clear()
        try:
            with self._errors():
                self._membership.leave()
        finally:
            self._log.close()

    # The group

    def _tend(self) -> None:
        """Do our part of the group's life: join, follow new topics, bury the dead, take over and hand over."""
        now = time.monotonic()
        if self._heart is not None:
            self._heart.polled = now
        version = self._log.file.version()
        if version == self._version and now < self._look_at:
            return
        self._version = version
        if now >= self._look_at and self._heart is not None:
            self._membership.bury()
            self._look_at = now + min(_LOOK_AFTER_OTHERS, self._timeout / 3)
        if len(self._log.topics()) != self._known_topics or self._heart is None:
            self._join()
        try:
            claims = self._membership.claims()
            if claims is not None:
                self._follow(claims)
        except Evicted:
            self._version = -1
            self._leave_for_dead()
        except BaseException:
            self._membership.look_again()
            raise

    def _join(self) -> None:
        self._known_topics = len(self._log.topics())
        wanted = sorted(self._topics if not callable(self._topics) else self._matching())
        self._membership.declare(wanted)
        if self._heart is None:
            self._heart = Heart(
                LogFile(self._folder), self._membership.member, self._timeout, self._poll_interval
            )

    def _matching(self) -> list[str]:
        """The topics there are that were subscribed to."""
        known = self._log.topics()
        if callable(self._topics):
            return [name for name in known if self._topics(name)]
        return [name for name in self._topics if name in known]

    def _follow(self, claims: Claims) -> None:
        assert self._rebalance is not None
        lost = self._position.keys() - claims.owned
        if lost:
            self._rebalance.lost(lost)
            self._forget(lost)
        leaving = self._position.keys() & claims.leaving
        if leaving:
            self._rebalance.revoked(leaving)
            self._forget(leaving)
        if claims.leaving:
            self._membership.hand_over()
        fresh = claims.owned - claims.leaving - self._position.keys()
        if fresh:
            self._begin(fresh)
            try:
                self._rebalance.assigned(fresh)
            except BaseException:
                self._forget(fresh)  # and told again
                raise

    def _leave_for_dead(self) -> None:
        """We were not heard of for too long: everything is lost, and the next look joins anew."""
        assert self._rebalance is not None
        assert self._heart is not None
        log.warning("group %s took this consumer for dead: joining it again", self._group)
        self._heart.stop()
        self._heart = None
        lost = frozenset(self._position)
        if lost:
            self._rebalance.lost(lost)
        self._forget(lost)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for partition in list(partitions):
            del self._position[partition]
            self._paused.discard(partition)

    # Reading

    def _begin(self, partitions: Collection[TopicPartition]) -> None:
        """Find where to read on; where the group begins now, that is committed, so that nobody begins elsewhere."""
        committed = self._log.committed(self._group)
        begun = {
            partition: self._offset(partition, self._begin_at())
            for partition in partitions
            if partition not in committed
        }
        if self._start != "earliest":
            self.commit(begun)
        self._begun = True
        self._position.update({partition: {**committed, **begun}[partition] for partition in partitions})

    def _offset(self, partition: TopicPartition, to: Start | int) -> int:
        if isinstance(to, int):
            return to
        if isinstance(to, datetime):
            return self._log.offset_at(partition, round(to.timestamp() * 1000))
        bounds = self._log.bounds([partition.topic])[partition]
        return bounds.first if to == "earliest" else bounds.next

    def _begin_at(self) -> Start:
        # "latest" means: what comes after the start. A topic that appears later is read from its first event on.
        if self._start == "latest" and self._begun:
            return datetime.fromtimestamp(self._made_at / 1000, timezone.utc)
        return self._start

    def _read_or_nothing(self, batch: ConsumedBatch, limit: int) -> None:
        """What was read before something failed is read again, because nobody gets it."""
        before = dict(self._position)
        try:
            self._read(batch, limit)
        except BaseException:
            self._position = before
            raise

    def _read(self, batch: ConsumedBatch, limit: int) -> None:
        partitions = sorted(self._position.keys() - self._paused)
        self._turn += 1
        for index in range(len(partitions)):
            if len(batch) >= limit or batch.size() >= self._memory:
                return
            partition = partitions[(self._turn + index) % len(partitions)]
            self._position[partition] = self._log.read(
                partition, self._position[partition], limit - len(batch), self._memory - batch.size(), batch
            )

    def _wait(self, deadline: float) -> bool:
        """Wait until something was written, or the group needs looking after; False: the time is over."""
        while (left := deadline - (now := time.monotonic())) > 0:
            time.sleep(min(left, _LOOK if now - self._changed_at < _LIVELY else _LOOK_IDLE))
            if self._log.file.version() != self._version:
                self._changed_at = time.monotonic()
                return True
            if time.monotonic() >= self._look_at:
                return True
        return False

    def _errors(self) -> AbstractContextManager[None]:
        return told_as(ConsumeError, "consume", self._where)
