"""A group's member through kafka-python: the client that is always there. See `liberator.consume.kafka.client`.

Not obvious: the library calls its listener in a thread of its own, in which nothing may be asked of the brokers, and goes on
with the rebalance within the same poll. So our listener keeps what it is told and raises `_Rearranged`: that ends the poll,
with the group at rest, and in our own thread there is time to commit, before the next poll lets partitions go. And a join
that ends between two polls the library forgets: it begins another, which upsets the other members, who begin theirs, for
ever; or none, and gives no more signs of life. It has to be reminded.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import kafka.errors
from kafka import KafkaConsumer
from kafka import TopicPartition as Place
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import OffsetAndMetadata

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.kafka.client import EARLIEST, FETCH_WAIT_MS, LATEST, REQUEST, Hooks
from liberator.consume.kafka.errors import stops
from liberator.consume.kafka.options import for_kafka_python
from liberator.kafka.errors import KafkaFailure
from liberator.kafka.kafkapython_network import connected, failure_of
from liberator.kafka.kafkapython_records import take

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_REQUEST_MS = REQUEST * 1000

_TOPIC_DENIED = 29

_SLICE = 0.2
"""As `client.SLICE`: here every turn goes through two threads and back, so that many of them are what an idle sink costs."""

_QUIET_AFTER = 5.0
"""Seconds with no event after which brokers are asked less often. An event is told at once all the same."""

_QUIET_WAIT_MS = 500
"""How long a broker waits for events then."""


class _Rearranged(Exception):
    """The group was rearranged: look at the listener's news."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no type hints
    """Keeps what the library tells. Called in the library's thread, while ours waits in `poll`."""

    def __init__(self) -> None:
        self.news: deque[tuple[str, list[TopicPartition]]] = deque()
        self.closed = False

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        self._keep("assigned", assigned)

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        self._keep("revoked", revoked)

    def on_partitions_lost(self, lost: Collection[Any]) -> None:
        self._keep("lost", lost)

    def _keep(self, what: str, places: Collection[Any]) -> None:
        if not self.closed:
            self.news.append((what, [TopicPartition(*place) for place in places]))
            raise _Rearranged


class _Joined:
    """A join that has ended well, as the library waits for one that has not ended yet: it knows no other way."""

    is_done = False

    def __init__(self, assignment: Any) -> None:
        self._assignment = assignment

    def add_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self._assignment)

    def add_errback(self, errback: Callable[[BaseException], None]) -> None:
        pass


class KafkaPythonGroupClient:
    """See `liberator.consume.kafka.client.GroupClient`."""

    def __init__(self, base: Mapping[str, Any], own: Mapping[str, str], group: str, memory: int) -> None:
        self._hooks: Hooks | None = None
        self._listener = _Listener()
        self._came_at = time.monotonic()
        self._consumer, self._network = connected(
            KafkaConsumer,
            {
                **base,
                "fetch_max_bytes": memory,
                "fetch_max_wait_ms": FETCH_WAIT_MS,
                **for_kafka_python(own),
                "group_id": group,
                "isolation_level": "read_committed",
                "enable_auto_commit": False,
                "auto_offset_reset": "none",
                "allow_auto_create_topics": False,
                "partition_assignment_strategy": [CooperativeStickyAssignor],
                "metrics_enabled": False,
            },
        )
        self._wait_ms = self._consumer.config["fetch_max_wait_ms"]

    def subscribe(self, topics: Collection[str], hooks: Hooks) -> None:
        """Read these topics."""
        self._hooks = hooks
        self._ask(lambda: self._consumer.subscribe(topics=list(topics), listener=self._listener))

    def poll(self, batch: ConsumedBatch, limit: int, timeout: float) -> None:
        """Add events to a batch."""
        deadline = time.monotonic() + timeout
        while not len(batch):
            self._ask_as_often_as_needed()
            left = max(0.0, deadline - time.monotonic())
            for records in self._poll(limit, min(left, _SLICE)).values():
                take(records, batch)
                self._came_at = time.monotonic()
            if refusal := self._refusal():
                raise refusal
            if time.monotonic() >= deadline:
                return

    def passed(self, partition: TopicPartition) -> int:
        """Before this nothing is left that was not given. Nobody is asked: a poll sees to it that there is a place."""
        known = self._consumer._subscription.assignment.get(Place(*partition))
        return 0 if known is None or known.position is None else int(known.position.offset)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on there."""
        self._consumer.seek(Place(*partition), offset)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Give no events of these."""
        self._consumer.pause(*_places(partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Go on with these."""
        self._consumer.resume(*_places(partitions))

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Save."""
        places = {
            Place(*partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()
        }
        self._ask(lambda: self._consumer.commit(places, timeout_ms=_REQUEST_MS))

    def member(self) -> object:
        """Group, generation and member."""
        return self._consumer.group_metadata()

    def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """What the group has committed."""
        found = {}
        for partition in partitions:
            offset = self._ask(self._committed(partition))
            if offset is not None:
                found[partition] = offset
        return found

    def offsets(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Offsets of times, or of the ends."""
        found: dict[TopicPartition, int] = {}
        for time_, ask in (
            (EARLIEST, self._consumer.beginning_offsets),
            (LATEST, self._consumer.end_offsets),
        ):
            found.update(self._ends([at for at, timestamp in times.items() if timestamp == time_], ask))
        between = {Place(*at): timestamp for at, timestamp in times.items() if timestamp >= 0}
        if between:
            known = self._ask(lambda: self._consumer.offsets_for_times(between, timeout_ms=_REQUEST_MS))
            found.update(
                {TopicPartition(*at): offset.offset for at, offset in known.items() if offset is not None}
            )
            after = [TopicPartition(*at) for at, offset in known.items() if offset is None]
            found.update(self._ends(after, self._consumer.end_offsets))
        return found

    def topics(self) -> dict[str, int]:
        """All topics."""
        names = self._ask(self._consumer.topics)
        return {
            name: len(self._consumer.partitions_for_topic(name))
            for name in names
            if not name.startswith("__")
        }

    def close(self) -> None:
        """Leave the group."""
        self._listener.closed = True
        connections = list(self._network._conns.values())
        try:
            self._consumer.close(timeout_ms=_REQUEST_MS)
        except kafka.errors.KafkaError as error:
            log.debug("leaving the group failed: %s", error)
        for connection in connections:
            # The library lets one that has something left to send finish first, and then ends the thread that would.
            if connection.transport is not None and connection.transport._sock is not None:
                connection.transport._sock.close()

    def _poll(self, limit: int, timeout: float) -> Mapping[Any, list[Any]]:
        self._tell()  # what could not be told after the last poll
        self._remember_joining()
        try:
            records: Mapping[Any, list[Any]] = self._consumer.poll(
                timeout_ms=timeout * 1000, max_records=limit
            )
        except kafka.errors.OffsetOutOfRangeError as error:
            self._fell_behind(error.args[0])
            return {}
        except kafka.errors.KafkaError as error:
            failure = failure_of(error)
            if not isinstance(error.__cause__, _Rearranged) and stops(failure):
                raise self._refusal() or failure from error
            records = {}
        self._tell()
        return records

    def _ask_as_often_as_needed(self) -> None:
        if self._wait_ms == FETCH_WAIT_MS:  # and not what somebody has set
            quiet = time.monotonic() - self._came_at >= _QUIET_AFTER
            self._consumer._fetcher.config["fetch_max_wait_ms"] = _QUIET_WAIT_MS if quiet else FETCH_WAIT_MS

    def _remember_joining(self) -> None:
        coordinator = self._consumer._coordinator
        if coordinator.rejoining:
            coordinator.request_rejoin()
            join = coordinator._join_task
            if join is not None and join.is_done and join.succeeded():
                coordinator._join_task = _Joined(join.value)

    def _tell(self) -> None:
        """Pass on what the listener has kept; what fails is told again at the next poll."""
        assert self._hooks is not None
        news = self._listener.news
        while news:
            what, partitions = news[0]
            if what == "assigned":
                for partition, offset in self._hooks.begin(partitions).items():
                    self._consumer.seek(Place(*partition), offset)
                self._hooks.began(partitions)
            elif what == "revoked":
                self._hooks.revoked(partitions)
            else:
                self._hooks.lost(partitions)
            news.popleft()

    def _fell_behind(self, places: Collection[Any]) -> None:
        assert self._hooks is not None
        for place in places:
            self._consumer.seek(place, self._hooks.fell_behind(TopicPartition(*place)))

    def _committed(self, partition: TopicPartition) -> Callable[[], int | None]:
        return lambda: self._consumer.committed(Place(*partition), timeout_ms=_REQUEST_MS)

    def _ends(
        self, partitions: Collection[TopicPartition], ask: Callable[..., Mapping[Any, int]]
    ) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        found = self._ask(lambda: ask(_places(partitions), timeout_ms=_REQUEST_MS))
        return {TopicPartition(*place): offset for place, offset in found.items()}

    def _ask(self, question: Callable[[], _Answer]) -> _Answer:
        try:
            return question()
        except kafka.errors.CommitFailedError as error:
            raise KafkaFailure("lost") from error
        except (kafka.errors.KafkaError, OSError, RuntimeError) as error:
            raise self._refusal() or failure_of(error) from error

    def _refusal(self) -> KafkaFailure | None:
        """Why the brokers do not let us in, or not see a topic, which the library takes for one that is not there yet."""
        denied = self._consumer._cluster.unauthorized_topics
        if denied and self._network.refusal is None:
            return KafkaFailure(_TOPIC_DENIED, topic=min(denied))
        return self._network.refusal


def _places(partitions: Collection[TopicPartition]) -> list[Any]:
    return [Place(*partition) for partition in partitions]
