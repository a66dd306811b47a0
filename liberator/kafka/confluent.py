"""Kafka through confluent-kafka (librdkafka): the fast client.

Enters: encoded batches and librdkafka's options. Leaves: acknowledgements and failures. Called through
`liberator.kafka.client`. Imported only when this client is used, because importing it takes a while.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicCollection
from confluent_kafka import Producer as _LibraryProducer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AdminClient,
    ConfigResource,
    NewTopic,
)

from liberator.change import EncodedBatch, Headers, PlacedRecord, TopicPartition
from liberator.errors import ConfigError
from liberator.kafka.client import Tally, TopicSettings, TransactionTimeouts
from liberator.kafka.errors import KafkaFailure, Key
from liberator.kafka.first import First, Lane
from liberator.kafka.options import Installed, for_confluent, largest_event
from liberator.kafka.partition import partition_of
from liberator.kafka.size import record_batch_bytes

log = logging.getLogger(__name__)

_ASK_TIMEOUT = 2.0
"""Seconds that a question about topics may take."""

_CREATE_TIMEOUT = 10.0
"""Seconds that making a topic may take."""

_ARRIVES = 0.1
"""Seconds that `send` waits for first requests; then the publisher looks after other things, and calls again."""

_FIRST_WITHIN = 4.0
"""Seconds for first requests of records that are handed over in one go."""

_LARGEST = 1_000_000_000
"""librdkafka's own upper bound for message.max.bytes."""

_DEFAULTS = {
    # In bulk it makes no difference to two milliseconds; a single change is not kept waiting.
    "linger.ms": "0.5",
    "reconnect.backoff.max.ms": "1000",
    # How much is queued is decided by the publisher's memory budget, not here.
    "queue.buffering.max.messages": "0",
    "queue.buffering.max.kbytes": "2147483647",
}
_PROMISES = {
    "acks": "all",
    "enable.idempotence": "true",
    # After an event has failed for good, librdkafka would go on with the next one of its partition.
    "enable.gapless.guarantee": "true",
    "message.timeout.ms": "0",
    "message.max.bytes": str(_LARGEST),
    "partitioner": "murmur2_random",
}

_TRANSACTIONAL: dict[str, Any] = {
    **{name: value for name, value in _PROMISES.items() if name != "message.timeout.ms"},
    # A commit tells of them all.
    "delivery.report.only.error": True,
}

# librdkafka's own errors that the table knows; brokers' errors go by their number.
_LOCAL: dict[int, Key] = {
    KafkaError._AUTHENTICATION: "login",
    KafkaError._SSL: "tls",
    KafkaError._TRANSPORT: "unreachable",
    KafkaError._ALL_BROKERS_DOWN: "unreachable",
    KafkaError._RESOLVE: "resolve",
    KafkaError._TIMED_OUT: "timeout",
    KafkaError._TIMED_OUT_QUEUE: "timeout",
    KafkaError._MSG_TIMED_OUT: "timeout",
    KafkaError._ISR_INSUFF: 19,
    KafkaError._UNKNOWN_TOPIC: 3,
    KafkaError._UNKNOWN_PARTITION: 3,
    KafkaError._FENCED: "fenced",
    KafkaError._GAPLESS_GUARANTEE: "sequence",
    KafkaError._FATAL: "sequence",
    KafkaError._PURGE_QUEUE: "sequence",
    KafkaError._PURGE_INFLIGHT: "sequence",
    KafkaError._STATE: "sequence",
    KafkaError._INCONSISTENT: "sequence",  # events of a transaction failed: their reports say why
    KafkaError._RETRY: "timeout",
    KafkaError._DESTROY: "sequence",
}


_Row = tuple[str, bytes | None, bytes | None, bytes, Headers | None, int | None]
_Report = Callable[[KafkaError | None, Message], None]


def _rows(batch: EncodedBatch) -> Iterator[_Row]:
    return zip(batch.topics, batch.keys, batch.values, batch.ids, batch.headers, batch.times(), strict=True)


def failure_of(error: KafkaError) -> KafkaFailure:
    """A librdkafka error as a key of the table."""
    key: Key = _LOCAL.get(error.code(), error.code() if error.code() >= 0 else error.name())
    if key == "tls" and "Disconnected" in error.str():
        key = "listener"  # hung up in the middle: a restart, or a listener that speaks no TLS
    return KafkaFailure(key, error.str())


class LibraryLog:
    """Takes librdkafka's log lines: to people they are noise, the errors themselves come another way."""

    def log(self, level: int, message: str, *arguments: object) -> None:
        """As `logging.Logger.log`, whatever the level: for debugging."""
        log.debug(message, *arguments)


class ConfluentDriver:
    """confluent-kafka with a cluster's address and options. Raises `ConfigError` for an option it does not take."""

    name: Installed = "confluent"

    def __init__(self, servers: str, options: Mapping[str, str], client_id: str) -> None:
        self.base: dict[str, Any] = {
            "bootstrap.servers": servers,
            "client.id": client_id,
            **_DEFAULTS,
            **for_confluent(options),
        }
        self.largest = largest_event(options, _LARGEST)
        # Without an address it connects to nothing, and still refuses what is wrong.
        offline = {name: value for name, value in self.base.items() if name != "bootstrap.servers"}
        library(_LibraryProducer, {**offline, **_PROMISES}).close()
        self._batch_size = int(options.get("batch.size", _LARGEST))

    def cluster(self) -> ConfluentCluster:
        """For asking about topics."""
        return ConfluentCluster(self.base)

    def producer(self, batch_bytes: int, partitions: Callable[[str], int]) -> ConfluentProducer:
        """A new idempotent producer."""
        batch_size = min(batch_bytes, self._batch_size)
        settings = {**self.base, **_PROMISES, "batch.size": str(batch_size)}
        return ConfluentProducer(settings, partitions)

    def transactions(
        self, id: str, batch_bytes: int, partitions: Callable[[str], int], timeouts: TransactionTimeouts
    ) -> ConfluentTransactions:
        """A started transactional producer."""
        settings = {
            "transaction.timeout.ms": str(int(timeouts.open * 1000)),
            **self.base,
            **_TRANSACTIONAL,
            "batch.size": str(min(batch_bytes, self._batch_size)),
            "transactional.id": id,
        }
        return ConfluentTransactions(settings, partitions, timeouts.start)


def library(kind: Callable[..., Any], settings: dict[str, Any]) -> Any:
    """A client of the library. Raises `ConfigError` for settings that it refuses."""
    try:
        return kind(settings, logger=LibraryLog())
    except KafkaException as error:
        raise ConfigError(
            f"an option of the Kafka client is refused: {error.args[0].str()}",
            code="publish.option",
            where="publish.options",
            fix="correct it; the names are librdkafka's",
        ) from error


class ConfluentProducer:
    """See `liberator.kafka.client.Producer`."""

    def __init__(self, settings: dict[str, Any], partitions: Callable[[str], int]) -> None:
        self._partitions = partitions
        self._batch_size = int(settings["batch.size"])
        self._failure: KafkaFailure | None = None
        self._first = First(partitions)
        self._ahead: set[int] = set()
        """Events of the batch that is being sent which went before it."""
        self._client: Any = library(_LibraryProducer, {**settings, "error_cb": self._noticed})

    @property
    def failure(self) -> KafkaFailure | None:
        """What has broken this producer."""
        return self._failure

    def send(self, batch: EncodedBatch, start: int, tally: Tally) -> int:
        """Hand over events from index `start`; returns the index of the first there is no room for, or that has to wait
        until what goes first to its partition has arrived."""
        report = _Reports(tally, self._refused).report
        if self._ahead or not self._first.complete(batch.topics):
            return self._send_first(batch, start, report)
        return len(batch) - self._send_rows(batch, islice(_rows(batch), start, None), report)

    def _send_first(self, batch: EncodedBatch, start: int, report: _Report) -> int:
        """As `send`, while there are partitions that do not know us: see `liberator.kafka.first`."""
        if self._first.waits and not self._first_arrived(_ARRIVES):
            return start
        rows = list(_rows(batch))
        for index, partition in self._first.of_batch(batch, start, self._ahead).items():
            if self._send_rows(batch, iter(rows[index : index + 1]), report, partition):
                return start
            self._first.went((batch.topics[index], partition))
            self._ahead.add(index)
        rest = [index for index in range(start, len(batch)) if index not in self._ahead]
        if rest and self._first.waits and not self._first_arrived(_ARRIVES):
            return start
        left = self._send_rows(batch, iter([rows[index] for index in rest]), report)
        if left:
            return rest[-left]
        self._ahead.clear()
        return len(batch)

    def _first_arrived(self, within: float) -> bool:
        self.serve(within, hurry=True)
        if len(self._client) or self._failure is not None:
            return False
        self._first.arrived()
        return True

    def _send_rows(
        self, batch: EncodedBatch, waiting: Iterator[_Row], report: _Report, partition: int = -1
    ) -> int:
        """Rows of a batch; how many of them there is no room for."""
        plain = batch.headers.count(None) == len(batch) and batch.timestamps is None and b"" not in batch.keys
        try:
            if partition >= 0 or not plain:
                self._send_any(waiting, report, partition)
            else:
                produce = self._client.produce
                for topic, key, value, id, _, _ in waiting:
                    produce(topic, value, key, -1, report, None, 0, [("id", id)])
        except BufferError:
            return 1 + len(list(waiting))
        except KafkaException as error:
            self._broken(failure_of(error.args[0]))
            return 1 + len(list(waiting))
        return 0

    def _send_any(self, rows: Iterable[_Row], report: _Report, partition: int) -> None:
        """Events with more headers than the id, with a time of their own, with a key of no bytes, or for a given partition
        (-1: as the key says)."""
        for topic, key, value, id, more, timestamp in rows:
            place = partition
            if key == b"" and partition < 0:
                # librdkafka takes any partition for a key without bytes; Java hashes it like every other.
                place = partition_of(b"", self._partitions(topic))
            headers = [("id", id), *(more or ())]
            # To the library 0 is the time at which it is given the event.
            self._client.produce(topic, value, key, place, report, None, timestamp or 0, headers)

    def serve(self, timeout: float, hurry: bool = False) -> None:
        """Count acknowledgements, waiting at most `timeout` seconds for one."""
        try:
            if hurry:
                self._client.flush(timeout)
            else:
                self._client.poll(timeout)
        except KafkaException as error:
            self._broken(failure_of(error.args[0]))
        except SystemError:
            # A fatal error that is raised while reports are being handed out reaches us garbled.
            self._broken(KafkaFailure("sequence", "librdkafka stopped after a fatal error"))

    def abandon(self) -> None:
        """End it now."""
        client, self._client = self._client, None
        if client is not None:
            # What is purged breaks the promise of no gaps, which librdkafka raises as a fatal error here.
            with suppress(KafkaException, SystemError):
                client.purge(in_queue=True, in_flight=True, blocking=False)
                client.close()

    def _refused(self, error: KafkaError, message: Message) -> None:
        failure = failure_of(error)
        failure.topic = message.topic()
        if failure.verdict.action == "dead_letter":
            failure.size = record_batch_bytes(message.key(), message.value(), b"", None)
            # librdkafka puts nothing else into a request with an event that is larger than batch.size.
            failure.alone = failure.size > self._batch_size
        self._broken(failure)

    def _broken(self, failure: KafkaFailure) -> None:
        # The first cause counts; what follows (purged, fatal state) is its consequence.
        if self._failure is None or self._failure.key == "sequence":
            self._failure = failure

    def _noticed(self, error: KafkaError) -> None:
        failure = failure_of(error)
        if failure.verdict.action == "stop":
            self._broken(failure)
        else:
            log.debug("%s", failure.publish_error())


class ConfluentTransactions(ConfluentProducer):
    """See `liberator.kafka.client.Transactions`."""

    def __init__(
        self, settings: dict[str, Any], partitions: Callable[[str], int], start_within: float
    ) -> None:
        super().__init__(settings, partitions)
        try:
            self._call(lambda: self._client.init_transactions(start_within))
        except KafkaFailure:
            self.abandon()
            raise

    def begin(self) -> None:
        """What is sent from now on belongs together."""
        self._call(self._client.begin_transaction)

    def write(self, topic: str, records: Mapping[bytes, bytes | None]) -> None:
        """Hand over records for partition 0 of `topic`."""
        calls = [partial(self._client.produce, topic, value, key, 0) for key, value in records.items()]
        self._hand_over([(topic, 0)] * len(records), calls)

    def place(self, records: Sequence[PlacedRecord]) -> None:
        """Hand over records as they are."""
        calls = [
            partial(self._client.produce, it.topic, it.value, it.key, it.partition, headers=list(it.headers))
            for it in records
        ]
        self._hand_over([(it.topic, it.partition) for it in records], calls)

    def _hand_over(self, lanes: Sequence[Lane], calls: Sequence[Callable[[], None]]) -> None:
        """Each produces a record for its partition. See `liberator.kafka.first`."""
        if self._first.waits:
            self._await_first()
        first = self._first.of_lanes(lanes)
        for index in sorted(first):
            self._call(calls[index])
            self._first.went(lanes[index])
        if 0 < len(first) < len(calls):
            self._await_first()
        for index, call in enumerate(calls):
            if index not in first:
                self._call(call)

    def _await_first(self) -> None:
        if not self._first_arrived(_FIRST_WITHIN):
            self._broken(
                KafkaFailure("timeout", f"no broker takes the first records within {_FIRST_WITHIN:.0f} s")
            )
            assert self._failure is not None
            raise self._failure

    def pending(self) -> int:
        """What is in the library's queues, reports that nobody has heard yet among it."""
        return len(self._client)

    def arrived(self, timeout: float) -> bool:
        """Are they in their partitions?"""
        left = self._call(lambda: self._client.flush(timeout))
        if self._failure is not None:
            raise self._failure
        return bool(left == 0)

    def commit_offsets(self, offsets: Mapping[TopicPartition, int], member: object, timeout: float) -> None:
        """Offsets of a group."""
        places = [Place(*partition, offset) for partition, offset in offsets.items()]
        self._call(lambda: self._client.send_offsets_to_transaction(places, member, timeout))

    def commit(self, timeout: float) -> bool:
        """All or nothing; False: not known yet."""
        try:
            self._client.commit_transaction(timeout)
        except KafkaException as error:
            if error.args[0].retriable():
                return False
            self.serve(0.0)  # events that failed say why
            raise self._first_cause(error) from error
        return True

    def abort(self, timeout: float) -> None:
        """Nothing of it."""
        with suppress(KafkaException):
            self._client.purge(in_queue=True, in_flight=True, blocking=False)
            self._client.abort_transaction(timeout)

    def abandon(self) -> None:
        """End it now; what is open, brokers abort."""
        # Without the library's `close`, which would first try to abort by itself, and wait for that.
        self._client = None

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except KafkaException as error:
            raise self._first_cause(error) from error

    def _first_cause(self, error: KafkaException) -> KafkaFailure:
        self._broken(failure_of(error.args[0]))
        assert self._failure is not None
        return self._failure


class _Reports:
    """Delivery reports of one batch: one bound method for all its events, nothing made for each."""

    __slots__ = ("_refused", "_tally")

    def __init__(self, tally: Tally, refused: Callable[[KafkaError, Message], None]) -> None:
        self._tally = tally
        self._refused = refused

    def report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused(error, message)
        elif message.offset() is None:
            # librdkafka concludes from a later acknowledgement that it must have arrived, which no broker has said.
            self._refused(KafkaError(KafkaError._GAPLESS_GUARANTEE), message)
        else:
            self._tally.left -= 1


class ConfluentCluster:
    """See `liberator.kafka.client.Cluster`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = {**settings, "error_cb": self._noticed}
        self._refusal: KafkaFailure | None = None
        self._client: Any = None

    def check(self, timeout: float) -> None:
        """Does a broker answer, and let us in?"""
        deadline = time.monotonic() + timeout
        failure = KafkaFailure("unreachable")
        while time.monotonic() < deadline:
            try:
                self._admin().list_topics("", timeout=0.5)
                return
            except KafkaException as error:
                failure = failure_of(error.args[0])
            self._admin().poll(0)  # `_noticed` is called from here only
            if self._refusal is not None:
                raise self._refusal
        raise failure

    def describe(self, topics: Collection[str]) -> dict[str, int]:
        """The number of partitions of those topics that exist."""
        asked = self._admin().describe_topics(TopicCollection(list(topics)), request_timeout=_ASK_TIMEOUT)
        found = {}
        for name, future in asked.items():
            try:
                found[name] = len(self._answer(future, name).partitions)
            except KafkaFailure as failure:
                if failure.verdict.action != "create":
                    raise
        return found

    def create(self, topic: str, settings: TopicSettings) -> None:
        """Ask for the topic to be made."""
        new = NewTopic(topic, settings.partitions, settings.replication, config=dict(settings.config))
        made = self._admin().create_topics([new], request_timeout=_CREATE_TIMEOUT)
        try:
            self._answer(made[topic], topic)
        except KafkaFailure as failure:
            if failure.key != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def settings(self, topics: Collection[str], name: str) -> dict[str, str]:
        """Setting `name` of those topics whose settings we may read."""
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        found = {}
        for resource, future in (
            self._admin().describe_configs(resources, request_timeout=_ASK_TIMEOUT).items()
        ):
            try:
                found[resource.name] = str(self._answer(future, resource.name)[name].value)
            except KafkaFailure as failure:
                if failure.verdict.action == "wait":
                    raise
        return found

    def close(self) -> None:
        """Give back connections and threads."""
        self._client = None

    def _admin(self) -> Any:
        if self._client is None:
            self._client = library(AdminClient, self._settings)
        return self._client

    def _answer(self, future: Future[Any], topic: str) -> Any:
        try:
            return future.result(_CREATE_TIMEOUT + 1)
        except KafkaException as error:
            failure = self._refusal or failure_of(error.args[0])
            failure.topic = topic
            if failure.verdict.action == "wait":
                # It may wait for a controller that is gone: without topics of its own it hears of no other one for long.
                self._client = None
            raise failure from error
        except FutureTimeout as error:
            self._client = None
            raise KafkaFailure("timeout", topic=topic) from error

    def _noticed(self, error: KafkaError) -> None:
        failure = failure_of(error)
        if failure.verdict.action == "stop":
            self._refusal = failure
