"""A group's member through confluent-kafka (librdkafka): the fast client. See `liberator.consume.kafka.client`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from sys import intern
from typing import Any, TypeVar

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Place

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.kafka.client import FETCH_WAIT_MS, LATEST, REQUEST, SLICE, Hooks
from liberator.consume.kafka.errors import stops
from liberator.errors import LiberatorError
from liberator.kafka import confluent
from liberator.kafka.confluent import library
from liberator.kafka.errors import KafkaFailure, Key

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_SEEK_WITHIN = 5.0
"""Seconds until a partition that was just assigned can be sought in."""

_LARGEST_QUEUE = 2_097_151
"""librdkafka's own bound, KiB."""

_LOCAL: dict[int, Key] = {
    KafkaError._WAIT_COORD: 15,  # COORDINATOR_NOT_AVAILABLE
    KafkaError._ASSIGNMENT_LOST: "lost",
    KafkaError._MAX_POLL_EXCEEDED: "lost",
}
"""What librdkafka notices by itself about groups, by the table's keys."""


def failure_of(error: KafkaError) -> KafkaFailure:
    """A librdkafka error as a key of the tables."""
    key = _LOCAL.get(error.code())
    return confluent.failure_of(error) if key is None else KafkaFailure(key, error.str())


class ConfluentGroupClient:
    """See `liberator.consume.kafka.client.GroupClient`."""

    def __init__(self, base: Mapping[str, Any], own: Mapping[str, str], group: str, memory: int) -> None:
        self._hooks: Hooks | None = None
        self._closed = False
        self._commit: Future[Any] | None = None
        self._refusal: KafkaFailure | None = None
        self._revoking = False
        self._raised: LiberatorError | None = None
        self._fresh: set[TopicPartition] = set()
        self._stopped: set[TopicPartition] = set()
        self._behind: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._gone: set[TopicPartition] = set()
        self._passed: dict[TopicPartition, int] = {}
        kib = min(max(1, memory >> 10), _LARGEST_QUEUE)
        self._consumer: Any = library(
            Consumer,
            {
                **base,
                "queued.max.messages.kbytes": kib,
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                **own,
                "group.id": group,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "allow.auto.create.topics": False,
                "partition.assignment.strategy": "cooperative-sticky",
                "error_cb": self._noticed,
            },
        )

    def subscribe(self, topics: Collection[str], hooks: Hooks) -> None:
        """Read these topics."""
        self._hooks = hooks
        self._call(
            self._consumer.subscribe,
            list(topics),
            on_assign=self._assign,
            on_revoke=self._revoke,
            on_lost=self._lost,
        )

    def poll(self, batch: ConsumedBatch, limit: int, timeout: float) -> None:
        """Add events to a batch."""
        deadline = time.monotonic() + timeout
        if self._is_stuck(timeout):
            return
        while not len(batch):
            self._catch_up()
            left = max(0.0, deadline - time.monotonic())
            first = self._call(self._consumer.poll, min(left, SLICE))
            if first is not None:
                self._gone.clear()
                # Everything that is here already: asked for one by one, a message costs twice as much.
                more = self._call(self._consumer.consume, limit - 1, 0) if limit > 1 else []
                self._take([first, *more], batch)
            if self._refusal is not None:
                raise self._refusal
            raised, self._raised = self._raised, None
            if raised is not None:
                raise raised
            self._begin()
            if first is None and time.monotonic() >= deadline:
                return

    def passed(self, partition: TopicPartition) -> int:
        """Before this nothing is left that was not given."""
        return self._passed.get(partition, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on there."""
        self._raise_if_stuck()
        self._passed.pop(partition, None)
        deadline = time.monotonic() + _SEEK_WITHIN
        while True:
            try:
                self._consumer.seek(Place(*partition, offset))
                return
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE or time.monotonic() > deadline:
                    raise failure_of(error.args[0]) from error
            time.sleep(0.02)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Give no events of these."""
        self._raise_if_stuck()
        self._call(self._consumer.pause, _places(partitions))
        self._paused.update(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Go on with these."""
        self._raise_if_stuck()
        self._call(self._consumer.resume, _places(partitions))
        self._paused.difference_update(partitions)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Save."""
        places = [Place(*partition, offset) for partition, offset in offsets.items()]
        commit = partial(self._consumer.commit, offsets=places, asynchronous=False)
        if self._revoking:  # then no other thread may: the library would wait for ever
            _offsets(self._call(commit))
            return
        self._raise_if_stuck()
        # The library's commit takes no time-out, and waits for a broker that is away for as long as it is.
        self._commit = _aside(commit)
        try:
            _offsets(self._call(self._commit.result, REQUEST))
        except FutureTimeout:
            raise KafkaFailure("timeout", "the commit was not answered") from None

    def member(self) -> object:
        """Group, generation and member."""
        return self._call(self._consumer.consumer_group_metadata)

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """What the group has committed."""
        found = self._ask(lambda: _offsets(self._consumer.committed(_places(partitions), REQUEST)))
        return {at: offset for at, offset in found.items() if offset != OFFSET_INVALID}

    def offsets(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Offsets of times, or of the ends."""
        places = [Place(*partition, timestamp) for partition, timestamp in times.items()]
        found = self._ask(lambda: _offsets(self._consumer.offsets_for_times(places, REQUEST)))
        after = [
            partition for partition, offset in found.items() if offset < 0 and times[partition] != LATEST
        ]
        if after:
            found.update(self.offsets(dict.fromkeys(after, LATEST)))
        return found

    def topics(self) -> dict[str, int]:
        """All topics."""
        known = self._ask(lambda: self._consumer.list_topics(timeout=REQUEST).topics)
        return {name: len(topic.partitions) for name, topic in known.items() if not name.startswith("__")}

    def close(self) -> None:
        """Leave the group; if the library still waits for a commit, as soon as it does not."""
        if self._closed:
            return
        self._closed = True
        if self._commit is not None and self._is_stuck():
            self._hooks = None
            consumer = self._consumer
            self._commit.add_done_callback(lambda _: consumer.close())
        else:
            self._consumer.close()

    # Called inside of the library's poll, and of its close

    def _assign(self, consumer: Any, places: list[Place]) -> None:
        # Where to begin is asked after the poll: that may fail, and nobody can be told so in here. Until then it is a
        # number: the library would ask for the beginning, and go there whenever that is answered, after a seek too.
        consumer.incremental_assign([Place(*at, 0) for at in _partitions(places)])
        consumer.pause(places)
        self._fresh.update(_partitions(places))
        self._paused.difference_update(_partitions(places))

    def _revoke(self, consumer: Any, places: list[Place]) -> None:
        self._revoking = True
        try:
            self._drop(consumer, places, self._hooks.revoked if self._hooks else None)
        finally:
            self._revoking = False

    def _lost(self, consumer: Any, places: list[Place]) -> None:
        self._drop(consumer, places, self._hooks.lost if self._hooks else None)

    def _drop(
        self, consumer: Any, places: list[Place], tell: Callable[[Collection[TopicPartition]], None] | None
    ) -> None:
        gone = _partitions(places)
        try:
            if tell is not None:  # nobody asks any more when it is closed late
                tell([partition for partition in gone if partition not in self._fresh])
        except LiberatorError as error:
            # Raised in here, the events that the library is about to give would be gone.
            self._raised = self._raised or error
        consumer.incremental_unassign(places)
        self._gone.update(gone)
        for those in (self._fresh, self._stopped, self._behind, self._paused):
            those.difference_update(gone)
        for partition in gone:
            self._passed.pop(partition, None)

    def _begin(self) -> None:
        """Read what was assigned, each from where the group stands; after a failure, again at the next poll."""
        if self._fresh:
            offsets = self._told.begin(self._fresh)
            for partition, offset in offsets.items():
                if partition in self._stopped:
                    self._assign_anew(partition, offset)
                    self._call(self._consumer.pause, [Place(*partition)])
                else:
                    self.seek(partition, offset)
            self._stopped.clear()
            self._told.began(offsets.keys())  # who may have them paused
            self._call(self._consumer.resume, _places(self._fresh - self._paused))
            self._fresh.clear()

    def _catch_up(self) -> None:
        """Go on with what is out of range, behind everything that was given."""
        for partition in tuple(self._behind):
            self._assign_anew(partition, self._told.fell_behind(partition))
            self._behind.discard(partition)

    def _is_stuck(self, timeout: float = 0.0) -> bool:
        """Does the library still wait for a commit, after `timeout` seconds? Then every call would wait for that too."""
        return self._commit is not None and bool(wait([self._commit], timeout).not_done)

    def _raise_if_stuck(self) -> None:
        if self._is_stuck():
            raise KafkaFailure("timeout", "the commit before is not answered yet")

    @property
    def _told(self) -> Hooks:
        assert self._hooks is not None, "subscribe comes first"
        return self._hooks

    def _noticed(self, error: KafkaError) -> None:
        failure = failure_of(error)
        if stops(failure):
            self._refusal = self._refusal or failure
        else:
            log.debug("%s", error.str())

    def _take(self, messages: Sequence[Any], batch: ConsumedBatch) -> None:
        """Column by column. Headers are made when somebody wants them: they cost as much as all the rest."""
        errors = [message for message in messages if message.error() is not None]
        if errors:
            messages = [message for message in messages if message.error() is None]
        if self._gone:  # to another member, after the library had given the first
            messages = [it for it in messages if (it.topic(), it.partition()) not in self._gone]
        batch.topics += [intern(message.topic()) for message in messages]
        batch.partitions += [message.partition() for message in messages]
        batch.offsets += [message.offset() for message in messages]
        batch.timestamps += [message.timestamp()[1] for message in messages]
        batch.keys += [message.key() for message in messages]
        batch.values += [message.value() for message in messages]
        batch.unread += messages
        for message in errors:
            self._not_an_event(message, message.error())

    def _not_an_event(self, message: Message, error: KafkaError) -> None:
        at = TopicPartition(message.topic() or "", message.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:
            self._passed[at] = message.offset() or 0
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            if at in self._fresh:
                self._stopped.add(at)  # at the number that stood for no place yet; see _assign
            elif at not in self._gone:
                self._behind.add(at)
        elif stops(failure := failure_of(error)) and error.code() != KafkaError._MAX_POLL_EXCEEDED:
            failure.topic = message.topic()
            raise failure
        else:
            log.debug("%s", error.str())

    def _assign_anew(self, partition: TopicPartition, offset: int) -> None:
        """Go on there with a partition whose place is out of range: it has stopped, and takes no seek."""
        self._consumer.incremental_unassign([Place(*partition)])
        self._consumer.incremental_assign([Place(*partition, offset)])

    def _ask(self, question: Callable[[], _Answer]) -> _Answer:
        """Ask the brokers; what passes, such as a partition without a leader, is waited for."""
        deadline = time.monotonic() + REQUEST
        while True:
            try:
                self._raise_if_stuck()
                return self._call(question)
            except KafkaFailure as failure:
                if stops(failure) or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _call(self, method: Callable[..., _Answer], *arguments: Any, **named: Any) -> _Answer:
        try:
            return method(*arguments, **named)
        except KafkaException as error:
            raise self._refusal or failure_of(error.args[0]) from error


def _aside(work: Callable[[], _Answer]) -> Future[_Answer]:
    """Do it in a thread that nobody has to wait for, at the end of the process neither."""
    future: Future[_Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="commit", daemon=True).start()
    return future


def _places(partitions: Collection[TopicPartition]) -> list[Place]:
    return [Place(*partition) for partition in partitions]


def _partitions(places: Collection[Place]) -> list[TopicPartition]:
    return [TopicPartition(place.topic, place.partition) for place in places]


def _offsets(places: Collection[Place]) -> dict[TopicPartition, int]:
    offsets = {}
    for place in places:
        if place.error is not None:
            raise failure_of(place.error)
        offsets[TopicPartition(place.topic, place.partition)] = place.offset
    return offsets
